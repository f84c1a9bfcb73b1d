package jpeg

import "math"

// idctWrapping is idct with the overflows of libjpeg-turbo's vector code: sums of two inputs wrap at 16
// bits, results of the first pass saturate at 16 bits, products and their sums wrap at 32 bits. Only damaged
// or contrived files, and the wildest noise, come here; they too have the same pixels everywhere.
func idctWrapping(in *[64]int16, mask uint32, out []byte, stride int) {
	var ws [64]int16
	if mask&0xFF == 0 { // nothing below the first row
		for i := range ws {
			ws[i] = in[i&7] << pass1Bits
		}
	} else {
		for x := range 8 {
			col := wrapping1D(in[x], in[8+x], in[16+x], in[24+x], in[32+x], in[40+x], in[48+x], in[56+x], pass1Shift)
			for y, v := range col {
				ws[8*y+x] = saturate16(v)
			}
		}
	}
	for y := range 8 {
		w := (*[8]int16)(ws[8*y:])
		row := wrapping1D(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], pass2Shift)
		for x, v := range row {
			out[y*stride+x] = clamp(int32(saturate16(v)) + 128)
		}
	}
}

func saturate16(v int32) int16 { return int16(min(max(v, math.MinInt16), math.MaxInt16)) }

// wrapping1D is one pass over one line.
func wrapping1D(x0, x1, x2, x3, x4, x5, x6, x7 int16, shift uint) [8]int32 {
	round := int32(1) << (shift - 1)
	z := (int32(x2) + int32(x6)) * fix0541
	a, b := z-int32(x6)*fix1847, z+int32(x2)*fix0765
	s, d := int32(x0+x4)<<constBits, int32(x0-x4)<<constBits
	e := [4]int32{s + b + round, d + a + round, d - a + round, s - b + round}

	z3, z4 := int32(x7+x3), int32(x5+x1)
	z5 := (z3 + z4) * fix1175
	z3, z4 = z5-z3*fix1961, z5-z4*fix0390
	z1, z2 := (int32(x7)+int32(x1))*-fix0899, (int32(x5)+int32(x3))*-fix2562
	o := [4]int32{
		int32(x1)*fix1501 + z1 + z4, int32(x3)*fix3072 + z2 + z3,
		int32(x5)*fix2053 + z2 + z4, int32(x7)*fix0298 + z1 + z3,
	}
	var r [8]int32
	for i := range 4 {
		r[i], r[7-i] = (e[i]+o[i])>>shift, (e[i]-o[i])>>shift
	}
	return r
}
