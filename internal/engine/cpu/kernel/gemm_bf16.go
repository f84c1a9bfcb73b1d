package kernel

import "math"

// toBF16 rounds to bfloat16 as the processor's conversion does: to nearest even, subnormals to zero
// of the same sign, NaN to a quiet NaN.
func toBF16(x float32) uint16 {
	b := math.Float32bits(x)
	switch exponent := b & 0x7f800000; {
	case exponent == 0:
		return uint16(b >> 16 & 0x8000)
	case exponent == 0x7f800000 && b&0x7fffff != 0:
		return uint16(b>>16 | 0x40)
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func fromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// pairUnits rounds src to bfloat16, two to a unit; a missing last one is zero.
func pairUnits(dst, src []float32) {
	for i := range dst {
		lo := uint32(toBF16(src[2*i]))
		hi := uint32(0)
		if 2*i+1 < len(src) {
			hi = uint32(toBF16(src[2*i+1]))
		}
		dst[i] = math.Float32frombits(hi<<16 | lo)
	}
}
