// Package tensor holds data types, half-precision conversions and the Row that carries one item's
// input from whoever decodes it to the engine. It imports nothing of Vitrine.
package tensor

import "math"

// DType is the type of one element, named as the Open Inference Protocol names it.
type DType uint8

const (
	Invalid DType = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	FP16
	FP32
	FP64
	BF16
	Bytes
)

var dtypes = [...]struct {
	name string
	size int
}{
	Invalid: {"INVALID", 0}, Bool: {"BOOL", 1},
	Uint8: {"UINT8", 1}, Uint16: {"UINT16", 2}, Uint32: {"UINT32", 4}, Uint64: {"UINT64", 8},
	Int8: {"INT8", 1}, Int16: {"INT16", 2}, Int32: {"INT32", 4}, Int64: {"INT64", 8},
	FP16: {"FP16", 2}, FP32: {"FP32", 4}, FP64: {"FP64", 8}, BF16: {"BF16", 2}, Bytes: {"BYTES", 0},
}

// String is the protocol's name of the type.
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return dtypes[Invalid].name
}

// Size is the number of bytes of one element, 0 for BYTES and for an invalid type.
func (d DType) Size() int {
	if int(d) < len(dtypes) {
		return dtypes[d].size
	}
	return 0
}

// Parse returns the type with the given protocol name, or Invalid.
func Parse(name string) DType {
	for d := Bool; int(d) < len(dtypes); d++ {
		if dtypes[d].name == name {
			return d
		}
	}
	return Invalid
}

// BF16ToFloat32 widens a bfloat16; exact.
func BF16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Float32ToBF16 rounds to the nearest bfloat16, ties to even; a NaN stays a (quiet) NaN.
func Float32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// FP16ToFloat32 widens an IEEE 754 binary16; exact, subnormals included.
func FP16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
	}
	f := float32(man) * 0x1p-24
	return math.Float32frombits(math.Float32bits(f) | sign)
}

// Float32ToFP16 rounds to the nearest binary16, ties to even; beyond its range the result is an
// infinity; a NaN stays a (quiet) NaN.
func Float32ToFP16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // rounds to 65520 or more
		return sign | 0x7c00
	case b >= 0x38800000: // normal
		return sign | uint16((b-0x38000000+0xfff+b>>13&1)>>13)
	}
	// Subnormal: adding 0.5 places the value's bits at the bottom of the mantissa, rounded by the adder.
	s := math.Float32frombits(b) + 0.5
	return sign | uint16(math.Float32bits(s)-0x3f000000)
}
