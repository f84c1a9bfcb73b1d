package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// shortTens are powers of ten for up to eight digits; the rest of the table spares a bounds check.
var shortTens = [16]uint64{1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000}

// fastFloat32 reads the numbers that image tensors are made of: one digit, a point, and 8 to 18 more,
// as Python prints a float64. How many there are differs from number to number, so counting must not
// branch: a wrong guess costs more than all else here. end is 0 for any other number, which float32
// then reads; see there for the rounding.
func fastFloat32(b []byte, p int) (value uint32, end int) {
	if len(b)-p < 28 {
		return 0, 0
	}
	sign := (uint32(b[p]^'-') - 1) >> 31 // 1 for a minus
	p += int(sign)
	first := uint64(b[p] - '0')
	if first > 9 || b[p+1] != '.' {
		return 0, 0
	}
	v1, v2 := binary.LittleEndian.Uint64(b[p+2:]), binary.LittleEndian.Uint64(b[p+10:])
	n2 := leadingDigits(v2)
	tail := b[p+18 : p+21 : p+21] // at most two more digits, if the second word is full
	c, d := uint64(tail[0]-'0'), uint64(tail[1]-'0')
	has1 := (c - 10) >> 63 & uint64(n2>>3)
	has2 := (d - 10) >> 63 & has1
	if !eightDigits(v1) || has2&((uint64(tail[2]-'0')-10)>>63) != 0 {
		return 0, 0
	}
	n3 := has1 + has2
	end = p + 10 + n2 + int(n3)
	if b[end]|0x20 == 'e' {
		return 0, 0
	}
	mant := first*1e8 + eightValue(v1)
	mant = mant*shortTens[n2&15] + eightValue(padded(v2, n2))
	mant = mant*shortTens[n3&15] + c*has1*(1+9*has2) + d*has2
	f := float64(int64(mant)) / tens[8+n2+int(n3)]
	const rest, half = 1<<29 - 1, 1 << 28
	if off := math.Float64bits(f)&rest - half + 4; off <= 8 || f < 0x1p-126 || mant>>63 != 0 {
		return 0, 0
	}
	return math.Float32bits(float32(f)) | sign<<31, end
}

// fastFloat32s reads such numbers, each with a comma behind it, for as long as they come; it returns how
// many bytes of dst it filled and where it stopped: at a value.
func fastFloat32s(dst, b []byte, p int) (n, end int) {
	for len(dst)-n >= 4 {
		value, end := fastFloat32(b, p)
		if end == 0 || b[end] != ',' {
			break
		}
		binary.LittleEndian.PutUint32(dst[n:], value)
		n += 4
		p = end + 1
		if b[p] == ' ' {
			p++
		}
	}
	return n, p
}

// leadingDigits counts the digits at the start of eight bytes: those that less '0' are at most 9. The
// carry out of a byte that is none spoils only the bytes behind it.
func leadingDigits(v uint64) int {
	x := v ^ 0x3030303030303030
	other := (x + 0x7676767676767676 | x) & 0x8080808080808080
	return bits.TrailingZeros64(other) / 8
}

// padded moves the first n digits to the end of eight and fills the others with '0'.
func padded(v uint64, n int) uint64 {
	shift := uint(8 * n)
	return v<<(64-shift) | 0x3030303030303030>>shift
}
