package embedapi

import (
	"math"
	"strconv"
)

// Powers of ten that appendFloat multiplies with. 10^12 = 2^12 * 5^12, and 5^12 has 28 bits: with the
// 25 bits of a float32 or of the midpoint of two, every product is exact in a float64.
var powers = [13]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}

// appendFloat writes what strconv.AppendFloat(b, float64(f), 'g', -1, 32) writes, two and a half times
// as fast for 0.0001 <= |f| < 1, where nearly all numbers of an embedding lie. There n / 10^k reads
// back as f if n lies between the midpoints of f and its neighbours times 10^k; all three are exact,
// so the shortest n is found by trying.
func appendFloat(b []byte, f float32) []byte {
	bits := math.Float32bits(f)
	x := math.Abs(float64(f))
	// A power of two has neighbours at two distances: left to strconv, as what is out of range.
	if !(x >= 1e-4 && x < 1) || bits&0x7fffff == 0 {
		return strconv.AppendFloat(b, float64(f), 'g', -1, 32)
	}
	zeros := leadingZeros(x)
	half := math.Float64frombits(uint64(bits>>23&0xff-127+1023-24) << 52) // half a unit in the last place
	low, high := x-half, x+half
	scale := powers[9+zeros]
	digits, n := 9, int64(x*scale+0.5)
	for p := 8; p > 0; p-- {
		scale = powers[p+zeros]
		exact := x * scale
		whole := int64(exact + 0.5)
		if w := float64(whole); w-exact == 0.5 || w == low*scale || w == high*scale {
			// A tie between two decimals, or one at the very end of the interval, which reads back
			// as f only if f is even.
			return strconv.AppendFloat(b, float64(f), 'g', -1, 32)
		} else if w < low*scale || w > high*scale {
			break
		}
		digits, n = p, whole
	}
	if int32(bits) < 0 {
		b = append(b, '-')
	}
	return appendFraction(b, n, digits, zeros)
}

// leadingZeros is the number of zeros between the point and the first digit of x, 0.0001 <= x < 1.
func leadingZeros(x float64) int {
	switch {
	case x >= 0.1:
		return 0
	case x >= 0.01:
		return 1
	case x >= 0.001:
		return 2
	}
	return 3
}

// pairs are the digits of 00 to 99.
var pairs = makePairs()

func makePairs() (t [200]byte) {
	for i := range 100 {
		t[2*i], t[2*i+1] = '0'+byte(i/10), '0'+byte(i%10)
	}
	return t
}

// appendFraction writes n / 10^(digits+zeros), n of that many digits or, rounded up, one more.
func appendFraction(b []byte, n int64, digits, zeros int) []byte {
	if n == int64(powers[digits]) { // 0.00999... became 0.0100...
		n, digits, zeros = 1, 1, zeros-1
	}
	const room = "0.000000000000"
	at := len(b)
	b = append(b, room...)[:at+2+zeros+digits]
	d, m := b[at+2+zeros:], uint32(n)
	i := digits
	for i >= 2 {
		q := m / 100
		r := 2 * (m - 100*q)
		i -= 2
		d[i], d[i+1] = pairs[r], pairs[r+1]
		m = q
	}
	if i == 1 {
		d[0] = '0' + byte(m)
	}
	return b
}
