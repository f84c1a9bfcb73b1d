package resize

import (
	"encoding/binary"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// convolve16 is convolve8 for 16-bit grey, which Pillow sums in double precision.
func convolve16(dst, src *raster.Image, width, height int, r Rect, f Filter, s *Scratch) {
	n := src.Width
	h := tables.get(axis{src.Width, width, r.X, r.W, f, true})
	v := tables.get(axis{src.Height, height, r.Y, r.H, f, true})
	switch {
	case height == src.Height:
		horizontal16(dst.Pix, src.Pix[2*r.Y*n:2*(r.Y+r.H)*n], n, 0, h)
	case width == src.Width:
		vertical16(dst.Pix, src.Pix[2*r.X:], r.W, n, 0, v)
	case verticalFirst(src.Width, src.Height, width, height):
		first, last := h.reads()
		s.mid.Reset(src.Mode, last-first, r.H)
		vertical16(s.mid.Pix, src.Pix[2*first:], last-first, n, 0, v)
		horizontal16(dst.Pix, s.mid.Pix, last-first, first, h)
	default:
		first, last := v.reads()
		s.mid.Reset(src.Mode, r.W, last-first)
		horizontal16(s.mid.Pix, src.Pix[2*first*n:2*last*n], n, 0, h)
		vertical16(dst.Pix, s.mid.Pix, r.W, r.W, first, v)
	}
}

// horizontal16 scales rows of width samples, of which the first is number first of the axis.
func horizontal16(dst, src []byte, width, first int, t *table) {
	for len(src) > 0 {
		for i, s := range t.spans {
			v := dot16(src[2*(int(s.first)-first):], 2, t.exact[s.off:][:s.n])
			binary.LittleEndian.PutUint16(dst[2*i:], v)
		}
		dst, src = dst[2*len(t.spans):], src[2*width:]
	}
}

// vertical16 scales width columns of rows that are step samples long, the first being number first of
// the axis.
func vertical16(dst, src []byte, width, step, first int, t *table) {
	for _, s := range t.spans {
		rows := src[2*step*(int(s.first)-first):]
		for x := range width {
			binary.LittleEndian.PutUint16(dst[2*x:], dot16(rows[2*x:], 2*step, t.exact[s.off:][:s.n]))
		}
		dst = dst[2*width:]
	}
}

// dot16 is the weighted sum of samples that lie step bytes apart, rounded half away from zero.
func dot16(p []byte, step int, k []float64) uint16 {
	sum := 0.0
	for j, w := range k {
		sum += float64(float64(binary.LittleEndian.Uint16(p[j*step:])) * w)
	}
	return uint16(min(max(sum+0.5, 0), 65535))
}
