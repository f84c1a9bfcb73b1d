package webp

import (
	"image"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// libwebp's conversion of limited-range BT.601, in 14-bit fixed point:
//
//	R = 1.164 (Y-16) + 1.596 (V-128)
//	G = 1.164 (Y-16) - 0.391 (U-128) - 0.813 (V-128)
//	B = 1.164 (Y-16) + 2.018 (U-128)
//
// Each product loses 8 bits, each sum the last 6.

func product(v, k int32) int32 { return v * k >> 8 }

func clip(v int32) byte {
	if v < 0 {
		return 0
	}
	return byte(min(v>>6, 255))
}

func toRGB(d []byte, luma byte, u, v int32) {
	y := product(int32(luma), 19077)
	d[0] = clip(y + product(v, 26149) - 14234)
	d[1] = clip(y - product(u, 6419) - product(v, 13320) + 8708)
	d[2] = clip(y + product(u, 33050) - 17685)
}

// colours converts a decoded frame to dst's RGB or RGBA (alpha is left as it is). Chroma is upsampled
// by libwebp's "fancy" filter: a row of pixels takes 3/4 of the chroma row that covers it and 1/4 of
// the neighbour on its other side, and columns likewise (9, 3, 3 and 1 sixteenths). Rows beyond the
// edge repeat the edge.
func (c Config) colours(dst *raster.Image, m *image.YCbCr) {
	rows := (c.frame.h + 1) / 2
	for y := range c.frame.h {
		near := y / 2
		far := near - 1 + y&1*2
		far = min(max(far, 0), rows-1)
		l := line{
			y:  m.Y[y*m.YStride:][:c.frame.w],
			nu: m.Cb[near*m.CStride:], nv: m.Cr[near*m.CStride:],
			fu: m.Cb[far*m.CStride:], fv: m.Cr[far*m.CStride:],
			step: c.Mode.Channels(),
		}
		l.convert(c.at(dst, y))
	}
}

// line is one row of luma with the chroma rows near it and farther off.
type line struct {
	y              []byte
	nu, nv, fu, fv []byte
	step           int
}

// convert writes a row of pixels: the first and, of an even width, the last by the edge's chroma,
// all others in pairs between two chroma columns.
func (l *line) convert(dst []byte) {
	n := len(l.y)
	last := (n - 1) / 2
	toRGB(dst, l.y[0], edge(l.nu[0], l.fu[0]), edge(l.nv[0], l.fv[0]))
	for x := 1; x <= last; x++ {
		ul, ur := diagonal(l.nu[x-1], l.nu[x], l.fu[x-1], l.fu[x])
		vl, vr := diagonal(l.nv[x-1], l.nv[x], l.fv[x-1], l.fv[x])
		toRGB(dst[(2*x-1)*l.step:], l.y[2*x-1], ul, vl)
		toRGB(dst[2*x*l.step:], l.y[2*x], ur, vr)
	}
	if n&1 == 0 {
		toRGB(dst[(n-1)*l.step:], l.y[n-1], edge(l.nu[last], l.fu[last]), edge(l.nv[last], l.fv[last]))
	}
}

// edge is the chroma of a column at the edge: (3*near + far) / 4, rounded.
func edge(near, far byte) int32 { return (3*int32(near) + int32(far) + 2) >> 2 }

// diagonal is the chroma of the two pixels between columns a (left) and b (right), of near and far
// chroma rows. With s the sum of all four and 8 for rounding, the pixel next to na is
// ((s + 2*(nb + fa)) >> 3 + na) >> 1: about 9/16 na + 3/16 nb + 3/16 fa + 1/16 fb.
func diagonal(na, nb, fa, fb byte) (left, right int32) {
	a, b, c, d := int32(na), int32(nb), int32(fa), int32(fb)
	s := a + b + c + d + 8
	left = ((s+2*(b+c))>>3 + a) >> 1
	right = ((s+2*(a+d))>>3 + b) >> 1
	return left, right
}
