package tensor

import "math"

// MaxE4M3 is the largest number that E4M3 holds.
const MaxE4M3 = 448

// e4m3 is the value of each code of E4M3 (OCP 8-bit floating point, 1.0): a sign, four bits of exponent with
// a bias of 7, three of mantissa, subnormals, no infinity, and NaN where all bits but the sign are set.
var e4m3 = func() (t [256]float32) {
	for code := range t {
		exponent, mantissa := code>>3&15, float64(code&7)
		v := math.Ldexp(mantissa, -9)
		if exponent > 0 {
			v = math.Ldexp(8+mantissa, exponent-10)
		}
		if code&0x7f == 0x7f {
			v = math.NaN()
		}
		t[code] = float32(math.Copysign(v, float64(0x7f-code)+0.5))
	}
	return t
}()

// E4M3ToFloat32 widens an E4M3; exact.
func E4M3ToFloat32(b uint8) float32 { return e4m3[b] }

// Float32ToE4M3 rounds to the nearest E4M3, ties to even. What is larger than MaxE4M3 becomes MaxE4M3, as with
// CUDA's cvt.rn.satfinite; a NaN stays one.
func Float32ToE4M3(f float32) uint8 {
	b := math.Float32bits(f)
	sign, magnitude := uint8(b>>24&0x80), b&0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7f
	case magnitude >= 0x43e00000: // 448
		return sign | 0x7e
	case magnitude < 0x3c800000: // 2^-6, the smallest normal number
		return sign | uint8(math.RoundToEven(math.Abs(float64(f))*512))
	}
	const biases = (127 - 7) << 3 // float32's exponent is biased by 127
	return sign | uint8((magnitude+0x7ffff+magnitude>>20&1)>>20-biases)
}
