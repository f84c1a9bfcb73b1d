package jpeg

import "encoding/binary"

// Fixed-point constants of the Loeffler, Ligtenberg and Moschytz inverse DCT with 13 fractional bits, as
// libjpeg's "islow" rounds them.
const (
	fix0298 = 2446  // 0.298631336
	fix0390 = 3196  // 0.390180644
	fix0541 = 4433  // 0.541196100
	fix0765 = 6270  // 0.765366865
	fix0899 = 7373  // 0.899976223
	fix1175 = 9633  // 1.175875602
	fix1501 = 12299 // 1.501321110
	fix1847 = 15137 // 1.847759065
	fix1961 = 16069 // 1.961570560
	fix2053 = 16819 // 2.053119869
	fix2562 = 20995 // 2.562915447
	fix3072 = 25172 // 3.072711026

	constBits  = 13
	pass1Bits  = 2                         // extra precision between the passes
	pass1Shift = constBits - pass1Bits     // after columns
	pass2Shift = constBits + pass1Bits + 3 // after rows; 3 for the factor 8 of the transform
)

// Between the passes lines y and 7-y of a column share a word, as y + (7-y)<<32: arithmetic on such pairs is
// arithmetic on both, a borrow being undone when they part. So the second pass does two lines at once.
const (
	pair       = 1 + 1<<32
	round2     = (1<<(pass2Shift-1) + 128<<pass2Shift) * pair // with the level shift of samples
	outOfRange = ^uint64(0xFF<<pass2Shift|(1<<pass2Shift-1)) & (1<<32 - 1) * pair
	pairByte   = 0xFF * pair
)

// idct writes the 8x8 samples of a dequantised block in natural order at out, with the given stride.
// mask is the union of occupied over the block's AC coefficients; it only saves work.
func idct(in *[64]int16, mask uint32, out []byte, stride int) {
	if mask == 0 {
		flat(clamp((int32(in[0])<<pass1Bits+1<<4)>>5+128), out, stride)
		return
	}
	var ws [4][8]int64
	columns(in, mask|1<<8, &ws)
	right := mask>>8&0xFE != 0    // something right of the first column
	farRight := mask>>8&0xF0 != 0 // something in the right half
	for y := range ws {
		upper, lower := (*[8]byte)(out[y*stride:]), (*[8]byte)(out[(7-y)*stride:])
		w := &ws[y]
		var e0, e1, e2, e3, o0, o1, o2, o3 int64
		switch {
		case farRight:
			e0, e1, e2, e3 = even(w[0], w[2], w[4], w[6], round2)
			o0, o1, o2, o3 = odd(w[1], w[3], w[5], w[7])
		case right:
			e0, e1, e2, e3 = even(w[0], w[2], 0, 0, round2)
			o0, o1, o2, o3 = odd(w[1], w[3], 0, 0)
		default:
			e0 = w[0]<<constBits + round2
			e1, e2, e3 = e0, e0, e0
		}
		storePair(upper, lower, &[8]int64{e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0})
	}
}

// storePair scales two lines of sums to samples.
func storePair(upper, lower *[8]byte, v *[8]int64) {
	if uint64(v[0]|v[1]|v[2]|v[3]|v[4]|v[5]|v[6]|v[7])&outOfRange != 0 {
		for x, s := range v {
			u := int32(s)
			upper[x] = clamp(u >> pass2Shift)
			lower[x] = clamp(int32((s-int64(u))>>32) >> pass2Shift)
		}
		return
	}
	left := v[0]>>pass2Shift&pairByte | v[1]>>pass2Shift&pairByte<<8 |
		v[2]>>pass2Shift&pairByte<<16 | v[3]>>pass2Shift&pairByte<<24
	right := v[4]>>pass2Shift&pairByte | v[5]>>pass2Shift&pairByte<<8 |
		v[6]>>pass2Shift&pairByte<<16 | v[7]>>pass2Shift&pairByte<<24
	binary.LittleEndian.PutUint64(upper[:], uint64(uint32(left))|uint64(right)<<32)
	binary.LittleEndian.PutUint64(lower[:], uint64(left)>>32|uint64(right)>>32<<32)
}

// plainSize bounds the sum of magnitudes of a block's coefficients under which no intermediate value of
// the transform needs more than 16 bits where libjpeg-turbo's vector code has no more: a pass grows a
// value by at most 1.39, the first also by 4. Blocks of images stay below, but for extreme noise.
const plainSize = 2900

// transform is the inverse DCT of a dequantised block whose coefficients' magnitudes add up to size.
func transform(in *[64]int16, mask uint32, size int32, out []byte, stride int) {
	if size > plainSize {
		idctWrapping(in, mask, out, stride)
		return
	}
	idct(in, mask, out, stride)
}

// flat fills a block with one value.
func flat(v byte, out []byte, stride int) {
	for y := range 8 {
		*(*[8]byte)(out[y*stride:]) = [8]byte{v, v, v, v, v, v, v, v}
	}
}

// clamp limits a sample to 0..255.
func clamp(v int32) byte {
	if uint32(v) > 255 {
		return byte(^v >> 31)
	}
	return byte(v)
}

// columns is the first pass.
func columns(in *[64]int16, mask uint32, ws *[4][8]int64) {
	lower := mask>>16&0xF0 != 0 // something in the lower half
	for x := range 8 {
		m := mask >> uint(x)
		if m&1 == 0 {
			if m>>8&1 != 0 {
				v := int64(in[x]) << pass1Bits * pair
				ws[0][x], ws[1][x], ws[2][x], ws[3][x] = v, v, v, v
			}
			continue
		}
		const round = 1 << (pass1Shift - 1)
		var e0, e1, e2, e3, o0, o1, o2, o3 int64
		if lower {
			e0, e1, e2, e3 = even(int64(in[x]), int64(in[16+x]), int64(in[32+x]), int64(in[48+x]), round)
			o0, o1, o2, o3 = odd(int64(in[8+x]), int64(in[24+x]), int64(in[40+x]), int64(in[56+x]))
		} else {
			e0, e1, e2, e3 = even(int64(in[x]), int64(in[16+x]), 0, 0, round)
			o0, o1, o2, o3 = odd(int64(in[8+x]), int64(in[24+x]), 0, 0)
		}
		ws[0][x] = (e0+o0)>>pass1Shift + (e0-o0)>>pass1Shift<<32
		ws[1][x] = (e1+o1)>>pass1Shift + (e1-o1)>>pass1Shift<<32
		ws[2][x] = (e2+o2)>>pass1Shift + (e2-o2)>>pass1Shift<<32
		ws[3][x] = (e3+o3)>>pass1Shift + (e3-o3)>>pass1Shift<<32
	}
}

// even is the half of the transform that inputs 0, 2, 4 and 6 make; round is added to each output.
func even(x0, x2, x4, x6, round int64) (e0, e1, e2, e3 int64) {
	z := (x2 + x6) * fix0541
	a, b := z-x6*fix1847, z+x2*fix0765
	s, d := (x0+x4)<<constBits+round, (x0-x4)<<constBits+round
	return s + b, d + a, d - a, s - b
}

// odd is the half that inputs 1, 3, 5 and 7 make.
func odd(x1, x3, x5, x7 int64) (o0, o1, o2, o3 int64) {
	z5 := (x7 + x3 + x5 + x1) * fix1175
	z1, z2 := (x7+x1)*-fix0899, (x5+x3)*-fix2562
	z3, z4 := z5-(x7+x3)*fix1961, z5-(x5+x1)*fix0390
	return x1*fix1501 + z1 + z4, x3*fix3072 + z2 + z3, x5*fix2053 + z2 + z4, x7*fix0298 + z1 + z3
}
