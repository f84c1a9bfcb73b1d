package jpeg

import "encoding/binary"

// converter turns one line of each component into n pixels.
type converter func(dst []byte, in *[maxComponents][]byte, n int)

// chroma holds the parts of YCbCr to RGB that depend on one chroma sample:
//
//	R = Y + 1.40200 Cr    G = Y - 0.34414 Cb - 0.71414 Cr    B = Y + 1.77200 Cb
//
// R and B parts are rounded to whole numbers here; the two G parts have 16 fractional bits and are added
// first. All three lie in one word, R from bit 0, B from bit 16, G from bit 32, so that two look-ups and
// two additions make a pixel; each is 512 too large, which keeps it positive.
var chroma = func() (t struct{ cb, cr [256]uint64 }) {
	const half = 1 << 15
	for i := range int64(256) {
		x := i - 128
		r, b := (91881*x+half)>>16, (116130*x+half)>>16
		t.cr[i] = uint64((256<<16-46802*x)<<32 + r + 512)
		t.cb[i] = uint64((256<<16-22554*x+half)<<32 + (b+512)<<16)
	}
	return t
}()

const (
	lumaLanes   = 1 | 1<<16 | 1<<48 // Y goes into each
	inRange     = 2<<8 | 2<<24 | 2<<56
	rangeBits   = 3<<8 | 3<<24 | 3<<56
	redAndBlue  = 0xFF00FF
	greenInByte = 0xFF00
)

// yccPixel is R, G and B in the low three bytes.
func yccPixel(y, cb, cr byte) uint32 {
	s := uint64(y)*lumaLanes + chroma.cb[cb] + chroma.cr[cr]
	if s&rangeBits != inRange {
		return yccClamped(s)
	}
	return uint32(s)&redAndBlue | uint32(s>>40)&greenInByte
}

// yccClamped is a pixel of which a channel lies outside 0..255.
func yccClamped(s uint64) uint32 {
	r := clamp(int32(s&0x3FF) - 512)
	g := clamp(int32(s>>48&0x3FF) - 512)
	b := clamp(int32(s>>16&0x3FF) - 512)
	return uint32(r) | uint32(g)<<8 | uint32(b)<<16
}

func greyRow(dst []byte, in *[maxComponents][]byte, n int) { copy(dst[:n], in[0]) }

func rgbRow(dst []byte, in *[maxComponents][]byte, n int) {
	r, g, b := in[0][:n], in[1][:n], in[2][:n]
	dst = dst[:3*n]
	for i, v := range r {
		p := (*[3]byte)(dst[3*i:])
		p[0], p[1], p[2] = v, g[i], b[i]
	}
}

func yccRow(dst []byte, in *[maxComponents][]byte, n int) {
	ys, cbs, crs := in[0][:n], in[1][:n], in[2][:n]
	dst = dst[:3*n]
	i := 0
	for ; i+16 <= n; i += 16 {
		yccSixteen((*[48]byte)(dst[3*i:]), (*[16]byte)(ys[i:]), (*[16]byte)(cbs[i:]), (*[16]byte)(crs[i:]))
	}
	for ; i < n; i++ {
		p := yccPixel(ys[i], cbs[i], crs[i])
		dst[3*i], dst[3*i+1], dst[3*i+2] = byte(p), byte(p>>8), byte(p>>16)
	}
}

// yccSixteen is yccPixel by sixteen, in groups of four with one range check and two stores. Arrays of
// fixed size leave the loop without bounds checks and with all its values in registers.
func yccSixteen(dst *[48]byte, y, cb, cr *[16]byte) {
	for i := 0; i < 16; i += 4 {
		s0 := uint64(y[i])*lumaLanes + chroma.cb[cb[i]] + chroma.cr[cr[i]]
		s1 := uint64(y[i+1])*lumaLanes + chroma.cb[cb[i+1]] + chroma.cr[cr[i+1]]
		s2 := uint64(y[i+2])*lumaLanes + chroma.cb[cb[i+2]] + chroma.cr[cr[i+2]]
		s3 := uint64(y[i+3])*lumaLanes + chroma.cb[cb[i+3]] + chroma.cr[cr[i+3]]
		out := (*[12]byte)(dst[3*i:])
		if (s0^inRange|s1^inRange|s2^inRange|s3^inRange)&rangeBits != 0 {
			storeFour(out, yccClamped(s0), yccClamped(s1), yccClamped(s2), yccClamped(s3))
			continue
		}
		p0 := s0&redAndBlue | s0>>40&greenInByte
		p1 := s1&redAndBlue | s1>>40&greenInByte
		p2 := s2&redAndBlue | s2>>40&greenInByte
		p3 := s3&redAndBlue | s3>>40&greenInByte
		binary.LittleEndian.PutUint64(out[:8], p0|p1<<24|p2<<48)
		binary.LittleEndian.PutUint32(out[8:], uint32(p2>>16|p3<<8))
	}
}

// storeFour writes four pixels.
func storeFour(out *[12]byte, p0, p1, p2, p3 uint32) {
	binary.LittleEndian.PutUint32(out[:4], p0|p1<<24)
	binary.LittleEndian.PutUint32(out[4:8], p1>>8|p2<<16)
	binary.LittleEndian.PutUint32(out[8:], p2>>16|p3<<8)
}

// cmykRow writes Pillow's CMYK. Pillow takes every four-component JPEG for Adobe's, whose inks are stored
// inverted, and inverts them.
func cmykRow(dst []byte, in *[maxComponents][]byte, n int) {
	c, m, y, k := in[0][:n], in[1][:n], in[2][:n], in[3][:n]
	dst = dst[:4*n]
	for i, v := range c {
		p := (*[4]byte)(dst[4*i:])
		p[0], p[1], p[2], p[3] = ^v, ^m[i], ^y[i], ^k[i]
	}
}

// ycckRow writes Pillow's CMYK: libjpeg's is 255-R, 255-G, 255-B and K, and the inversion undoes the first
// three.
func ycckRow(dst []byte, in *[maxComponents][]byte, n int) {
	ys, cbs, crs, ks := in[0][:n], in[1][:n], in[2][:n], in[3][:n]
	dst = dst[:4*n]
	for i, y := range ys {
		p := yccPixel(y, cbs[i], crs[i])
		binary.LittleEndian.PutUint32(dst[4*i:], p|uint32(^ks[i])<<24)
	}
}
