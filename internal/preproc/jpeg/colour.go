package jpeg

// converter turns one line of each component into n pixels.
type converter func(dst []byte, in *[maxComponents][]byte, n int)

// chroma holds the parts of YCbCr to RGB that depend on one chroma sample, with 16 fractional bits:
//
//	R = Y + 1.40200 Cr    G = Y - 0.34414 Cb - 0.71414 Cr    B = Y + 1.77200 Cb
//
// R and B parts are rounded here; the two G parts are added first.
var chroma = func() (t struct{ crR, cbB, crG, cbG [256]int32 }) {
	const half = 1 << 15
	for i := range int32(256) {
		x := i - 128
		t.crR[i] = (91881*x + half) >> 16
		t.cbB[i] = (116130*x + half) >> 16
		t.crG[i] = -46802 * x
		t.cbG[i] = -22554*x + half
	}
	return t
}()

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
	for i, yy := range ys {
		y, cb, cr := int32(yy), cbs[i], crs[i]
		p := (*[3]byte)(dst[3*i:])
		p[0] = clamp(y + chroma.crR[cr])
		p[1] = clamp(y + (chroma.cbG[cb]+chroma.crG[cr])>>16)
		p[2] = clamp(y + chroma.cbB[cb])
	}
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
	for i, yy := range ys {
		y, cb, cr := int32(yy), cbs[i], crs[i]
		p := (*[4]byte)(dst[4*i:])
		p[0] = clamp(y + chroma.crR[cr])
		p[1] = clamp(y + (chroma.cbG[cb]+chroma.crG[cr])>>16)
		p[2] = clamp(y + chroma.cbB[cb])
		p[3] = ^ks[i]
	}
}
