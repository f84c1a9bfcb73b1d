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

// idct writes the 8x8 samples of a dequantised block in natural order at out, with the given stride.
// mask is the union of occupied over the block's AC coefficients; it only saves work.
func idct(in *[64]int16, mask uint32, out []byte, stride int) {
	if mask == 0 {
		flat(clamp((int32(in[0])<<pass1Bits+1<<4)>>5+128), out, stride)
		return
	}
	var ws [64]int32
	columns(in, mask|1<<8, &ws)
	right := mask>>8&0xFE != 0    // something right of the first column
	farRight := mask>>8&0xF0 != 0 // something in the right half
	for y := range 8 {
		row := (*[8]int32)(ws[8*y:])
		o := (*[8]byte)(out[y*stride:])
		if !right {
			v := clamp((row[0]+1<<4)>>5 + 128)
			*o = [8]byte{v, v, v, v, v, v, v, v}
			continue
		}
		idctRow(row, o, farRight)
	}
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
func columns(in *[64]int16, mask uint32, ws *[64]int32) {
	lower := mask>>16&0xF0 != 0 // something in the lower half
	for x := range 8 {
		m := mask >> uint(x)
		if m&1 == 0 {
			if m>>8&1 != 0 {
				v := int32(in[x]) << pass1Bits
				for y := range 8 {
					ws[8*y+x] = v
				}
			}
			continue
		}
		const round = 1 << (pass1Shift - 1)
		var e0, e1, e2, e3, o0, o1, o2, o3 int32
		if lower {
			e0, e1, e2, e3 = even(int32(in[x]), int32(in[16+x]), int32(in[32+x]), int32(in[48+x]), round)
			o0, o1, o2, o3 = odd(int32(in[8+x]), int32(in[24+x]), int32(in[40+x]), int32(in[56+x]))
		} else {
			e0, e1, e2, e3 = even(int32(in[x]), int32(in[16+x]), 0, 0, round)
			o0, o1, o2, o3 = odd(int32(in[8+x]), int32(in[24+x]), 0, 0)
		}
		ws[x] = (e0 + o0) >> pass1Shift
		ws[56+x] = (e0 - o0) >> pass1Shift
		ws[8+x] = (e1 + o1) >> pass1Shift
		ws[48+x] = (e1 - o1) >> pass1Shift
		ws[16+x] = (e2 + o2) >> pass1Shift
		ws[40+x] = (e2 - o2) >> pass1Shift
		ws[24+x] = (e3 + o3) >> pass1Shift
		ws[32+x] = (e3 - o3) >> pass1Shift
	}
}

// idctRow is the second pass for one row; the level shift of 128 rides on the rounding term. Without
// farRight inputs 4 to 7 are zero.
func idctRow(w *[8]int32, o *[8]byte, farRight bool) {
	const round = 1<<(pass2Shift-1) + 128<<pass2Shift
	var e0, e1, e2, e3, o0, o1, o2, o3 int32
	if farRight {
		e0, e1, e2, e3 = even(w[0], w[2], w[4], w[6], round)
		o0, o1, o2, o3 = odd(w[1], w[3], w[5], w[7])
	} else {
		e0, e1, e2, e3 = even(w[0], w[2], 0, 0, round)
		o0, o1, o2, o3 = odd(w[1], w[3], 0, 0)
	}
	v0, v7 := (e0+o0)>>pass2Shift, (e0-o0)>>pass2Shift
	v1, v6 := (e1+o1)>>pass2Shift, (e1-o1)>>pass2Shift
	v2, v5 := (e2+o2)>>pass2Shift, (e2-o2)>>pass2Shift
	v3, v4 := (e3+o3)>>pass2Shift, (e3-o3)>>pass2Shift
	if uint32(v0|v1|v2|v3|v4|v5|v6|v7) > 255 {
		*o = [8]byte{clamp(v0), clamp(v1), clamp(v2), clamp(v3), clamp(v4), clamp(v5), clamp(v6), clamp(v7)}
		return
	}
	lo := uint32(v0) | uint32(v1)<<8 | uint32(v2)<<16 | uint32(v3)<<24
	hi := uint32(v4) | uint32(v5)<<8 | uint32(v6)<<16 | uint32(v7)<<24
	binary.LittleEndian.PutUint64(o[:], uint64(lo)|uint64(hi)<<32)
}

// even is the half of the transform that inputs 0, 2, 4 and 6 make; round is added to each output.
func even(x0, x2, x4, x6, round int32) (e0, e1, e2, e3 int32) {
	z := (x2 + x6) * fix0541
	a, b := z-x6*fix1847, z+x2*fix0765
	s, d := (x0+x4)<<constBits+round, (x0-x4)<<constBits+round
	return s + b, d + a, d - a, s - b
}

// odd is the half that inputs 1, 3, 5 and 7 make.
func odd(x1, x3, x5, x7 int32) (o0, o1, o2, o3 int32) {
	z5 := (x7 + x3 + x5 + x1) * fix1175
	z1, z2 := (x7+x1)*-fix0899, (x5+x3)*-fix2562
	z3, z4 := z5-(x7+x3)*fix1961, z5-(x5+x1)*fix0390
	return x1*fix1501 + z1 + z4, x3*fix3072 + z2 + z3, x5*fix2053 + z2 + z4, x7*fix0298 + z1 + z3
}
