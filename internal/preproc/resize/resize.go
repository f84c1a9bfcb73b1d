package resize

import (
	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// passes are the two passes over 8-bit samples.
type passes struct {
	// horizontal scales rows of src, n bytes each, by t into dst. A row begins with sample number
	// first of the axis; a pixel has c bytes.
	horizontal func(dst, src []byte, c, n, first int, t *table)
	// vertical scales columns: every row of dst, n bytes, is a weighted sum of rows of src, which lie
	// step bytes apart and of which the first is number first of the axis. sum is scratch memory of n
	// values.
	vertical func(dst, src []byte, n, step, first int, t *table, sum []int32)
}

var variants = cpufeat.New("resize", &passes{horizontal8, vertical8})

// Rect is a part of the resized image.
type Rect struct{ X, Y, W, H int }

// Scratch is memory that calls reuse; one call at a time may use it.
type Scratch struct {
	mid     raster.Image // between the horizontal and the vertical pass
	sum     []int32      // one row of accumulators of the vertical pass
	columns []int        // nearest neighbour: source column of each output column
}

// Bytes is the memory that s holds.
func (s *Scratch) Bytes() int { return cap(s.mid.Pix) + 4*cap(s.sum) + 8*cap(s.columns) }

// Into scales src to width x height and writes the part r of the result, in src's mode, to dst. The
// part must lie within the result and must not be empty. The pixels of an RGBA or LA source are
// overwritten (they are premultiplied in place); those of any other mode are only read.
func Into(dst, src *raster.Image, width, height int, r Rect, f Filter, s *Scratch) {
	s.into(dst, src, width, height, r, f, variants.Best().Impl)
}

func (s *Scratch) into(dst, src *raster.Image, width, height int, r Rect, f Filter, p *passes) {
	dst.Reset(src.Mode, r.W, r.H)
	dst.Palette, dst.PaletteAlpha, dst.Transparent = src.Palette, src.PaletteAlpha, src.Transparent
	switch {
	case width == src.Width && height == src.Height:
		crop(dst, src, r.X, r.Y)
	case src.Mode == raster.P || src.Mode == raster.Bit:
		nearest(dst, src, width, height, r, s)
	case src.Mode == raster.I16:
		convolve16(dst, src, width, height, r, f, s)
	case src.Mode == raster.RGBA || src.Mode == raster.LA:
		premultiply(src)
		s.convolve8(dst, src, width, height, r, f, p)
		unmultiply(dst)
	default:
		s.convolve8(dst, src, width, height, r, f, p)
	}
}

// MidBytes is the memory between the two passes that Into needs at most for a source of this mode and size.
func MidBytes(mode raster.Mode, width, height int, r Rect) int64 {
	return max(int64(height)*int64(r.W), int64(width)*int64(r.H)) * int64(mode.Channels())
}

// crop copies the part of src that begins at x, y.
func crop(dst, src *raster.Image, x, y int) {
	c := src.Mode.Channels()
	n := dst.Width * c
	for j := range dst.Height {
		from := ((y+j)*src.Width + x) * c
		copy(dst.Pix[j*n:(j+1)*n], src.Pix[from:from+n])
	}
}

// nearest samples at pixel centres. Pillow adds up the step instead of multiplying it, and so must this.
func nearest(dst, src *raster.Image, width, height int, r Rect, s *Scratch) {
	s.columns = centres(s.columns[:0], src.Width, width, r.X, r.W)
	step := float64(src.Height) / float64(height)
	yo := step * 0.5
	for range r.Y {
		yo += step
	}
	for j := range r.H {
		row := src.Pix[min(int(yo), src.Height-1)*src.Width:][:src.Width]
		out := dst.Pix[j*r.W:][:r.W]
		for i, x := range s.columns {
			out[i] = row[x]
		}
		yo += step
	}
}

// centres appends the source samples of output samples lo to lo+n-1.
func centres(to []int, in, out, lo, n int) []int {
	step := float64(in) / float64(out)
	x := step * 0.5
	for i := range lo + n {
		if i >= lo {
			to = append(to, min(int(x), in-1))
		}
		x += step
	}
	return to
}

// convolve8 runs both passes on 8-bit samples. The first one rounds to 8 bits too, and covers only what
// the second one reads.
func (s *Scratch) convolve8(dst, src *raster.Image, width, height int, r Rect, f Filter, p *passes) {
	c := src.Mode.Channels()
	n := src.Width * c
	h := tables.get(axis{src.Width, width, r.X, r.W, f, false})
	v := tables.get(axis{src.Height, height, r.Y, r.H, f, false})
	switch {
	case height == src.Height:
		p.horizontal(dst.Pix, src.Pix[r.Y*n:(r.Y+r.H)*n], c, n, 0, h)
	case width == src.Width:
		p.vertical(dst.Pix, src.Pix[r.X*c:], r.W*c, n, 0, v, s.sums(r.W*c))
	case verticalFirst(src.Width, src.Height, width, height):
		first, last := h.reads()
		s.mid.Reset(src.Mode, last-first, r.H)
		p.vertical(s.mid.Pix, src.Pix[first*c:], (last-first)*c, n, 0, v, s.sums((last-first)*c))
		p.horizontal(dst.Pix, s.mid.Pix, c, (last-first)*c, first, h)
	default:
		first, last := v.reads()
		s.mid.Reset(src.Mode, r.W, last-first)
		p.horizontal(s.mid.Pix, src.Pix[first*n:last*n], c, n, 0, h)
		p.vertical(dst.Pix, s.mid.Pix, r.W*c, r.W*c, first, v, s.sums(r.W*c))
	}
}

// sums is memory for n accumulators.
func (s *Scratch) sums(n int) []int32 {
	if cap(s.sum) < n {
		s.sum = make([]int32, n)
	}
	return s.sum[:n]
}

// verticalFirst is the order of the passes: the horizontal one comes first unless the height shrinks,
// and by more than twice as many pixels as the width does. (Pillow before 13 never turned them round;
// since the first pass rounds, the order shows in the pixels.)
func verticalFirst(srcWidth, srcHeight, width, height int) bool {
	less := srcHeight - height
	return less > 0 && less > 2*(srcWidth-width)
}

func horizontal8(dst, src []byte, c, n, first int, t *table) {
	out := c * len(t.spans)
	pass := horizontalPass[c]
	for len(src) > 0 {
		pass(dst[:out], src[:n], first, t)
		dst, src = dst[out:], src[n:]
	}
}

// horizontalPass holds the pass over one row for 1, 2, 3 and 4 bytes a pixel.
var horizontalPass = [5]func(dst, src []byte, first int, t *table){1: row1, 2: row2, 3: row3, 4: row4}

const half = 1 << (precisionBits - 1)

// clip turns a fixed-point sum into a sample.
func clip(sum int32) byte {
	v := sum >> precisionBits
	if uint32(v) > 255 {
		return byte(^v >> 31) // 0 below the range, 255 above it
	}
	return byte(v)
}

func row1(dst, src []byte, first int, t *table) {
	for i, s := range t.spans {
		k := t.fixed[s.off:][:s.n]
		p := src[int(s.first)-first:][:len(k)]
		a := int32(half)
		for j, w := range k {
			a += int32(p[j]) * w
		}
		dst[i] = clip(a)
	}
}

func row2(dst, src []byte, first int, t *table) {
	for i, s := range t.spans {
		p := src[2*(int(s.first)-first):][:2*s.n]
		a, b := int32(half), int32(half)
		for _, w := range t.fixed[s.off:][:s.n] {
			q := p[:2:2]
			a += int32(q[0]) * w
			b += int32(q[1]) * w
			p = p[2:]
		}
		d := dst[2*i:][:2:2]
		d[0], d[1] = clip(a), clip(b)
	}
}

func row3(dst, src []byte, first int, t *table) {
	for i, s := range t.spans {
		p := src[3*(int(s.first)-first):][:3*s.n]
		a, b, c := int32(half), int32(half), int32(half)
		for _, w := range t.fixed[s.off:][:s.n] {
			q := p[:3:3]
			a += int32(q[0]) * w
			b += int32(q[1]) * w
			c += int32(q[2]) * w
			p = p[3:]
		}
		d := dst[3*i:][:3:3]
		d[0], d[1], d[2] = clip(a), clip(b), clip(c)
	}
}

func row4(dst, src []byte, first int, t *table) {
	for i, s := range t.spans {
		p := src[4*(int(s.first)-first):][:4*s.n]
		a, b, c, e := int32(half), int32(half), int32(half), int32(half)
		for _, w := range t.fixed[s.off:][:s.n] {
			q := p[:4:4]
			a += int32(q[0]) * w
			b += int32(q[1]) * w
			c += int32(q[2]) * w
			e += int32(q[3]) * w
			p = p[4:]
		}
		d := dst[4*i:][:4:4]
		d[0], d[1], d[2], d[3] = clip(a), clip(b), clip(c), clip(e)
	}
}

func vertical8(dst, src []byte, n, step, first int, t *table, sum []int32) {
	for i, sp := range t.spans {
		for j := range sum {
			sum[j] = half
		}
		at := (int(sp.first) - first) * step
		k := t.fixed[sp.off:][:sp.n]
		for ; len(k) >= 4; k = k[4:] {
			addRows4(sum, src[at:], step, k)
			at += 4 * step
		}
		for _, w := range k {
			addRow(sum, src[at:], w)
			at += step
		}
		out := dst[i*n:][:n]
		for j, v := range sum {
			out[j] = clip(v)
		}
	}
}

func addRow(sum []int32, row []byte, w int32) {
	row = row[:len(sum)]
	for j := range sum {
		sum[j] += int32(row[j]) * w
	}
}

func addRows4(sum []int32, rows []byte, step int, k []int32) {
	n := len(sum)
	p, q, r, s := rows[:n], rows[step:][:n], rows[2*step:][:n], rows[3*step:][:n]
	a, b, c, d := k[0], k[1], k[2], k[3]
	for j := range sum {
		sum[j] += int32(p[j])*a + int32(q[j])*b + int32(r[j])*c + int32(s[j])*d
	}
}
