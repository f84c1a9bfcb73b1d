package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unsafe"
)

// number is a JSON number as it was written: mant * 10^exp, negated if neg. Where exact is false the
// mantissa has more than 19 digits, or the number is not finite, and only its text tells the value.
type number struct {
	mant    uint64
	exp     int
	end     int // offset behind it
	neg     bool
	exact   bool
	integer bool // neither fraction nor exponent
	special bool // NaN or infinite
}

// tens are the powers of ten that a float64 holds exactly.
var tens = [23]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
	1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// scanNumber reads the number that begins at b[p].
func scanNumber(b []byte, p int) (n number, err error) {
	if p < len(b) && b[p] == '-' {
		n.neg = true
		p++
	}
	first := p
	switch {
	case p < len(b) && b[p] == '0':
		p++
	case p < len(b) && b[p] >= '1' && b[p] <= '9':
		n.mant, p = digits(b, p, 0)
	default:
		return special(b, p, n)
	}
	count, point := p-first, 0
	n.integer = true
	if p < len(b) && b[p] == '.' {
		n.integer = false
		point = p + 1
		n.mant, p = digits(b, point, n.mant)
		if p == point {
			return n, syntax(errFraction, p)
		}
		n.exp = point - p
		count += p - point
	}
	n.exact = count <= 19 || significant(b[first:p]) <= 19
	if p < len(b) && b[p]|0x20 == 'e' {
		n.integer = false
		if p, err = exponent(b, p+1, &n); err != nil {
			return n, err
		}
	}
	n.end = p
	return n, nil
}

// digits reads digits onto a mantissa, eight at a time where there are eight. It wraps for more than
// 19: the caller counts.
func digits(b []byte, p int, mant uint64) (uint64, int) {
	for len(b)-p >= 8 {
		v := binary.LittleEndian.Uint64(b[p:])
		if !eightDigits(v) {
			break
		}
		mant = mant*1e8 + eightValue(v)
		p += 8
	}
	for p < len(b) {
		d := b[p] - '0'
		if d > 9 {
			break
		}
		mant = mant*10 + uint64(d)
		p++
	}
	return mant, p
}

// eightDigits tells whether all eight bytes are '0' to '9': their upper halves are 3, and stay 3 when 6
// is added.
func eightDigits(v uint64) bool {
	const high = 0xf0f0f0f0f0f0f0f0
	return v&high|(v+0x0606060606060606)&high>>4 == 0x3333333333333333
}

// eightValue is the value of eight digits, the first in the lowest byte: pairs, then fours, then all.
func eightValue(v uint64) uint64 {
	v -= 0x3030303030303030
	v = v*10 + v>>8
	const pairs = 0x000000ff000000ff
	return ((v&pairs)*(100+1000000<<32) + (v>>16&pairs)*(1+10000<<32)) >> 32
}

// significant counts digits from the first that is not 0.
func significant(b []byte) int {
	n := 0
	for _, c := range b {
		if c != '.' && (n > 0 || c != '0') {
			n++
		}
	}
	return n
}

func exponent(b []byte, p int, n *number) (int, error) {
	neg := false
	if p < len(b) && (b[p] == '+' || b[p] == '-') {
		neg = b[p] == '-'
		p++
	}
	from, e := p, 0
	for ; p < len(b) && b[p]-'0' <= 9; p++ {
		e = min(e*10+int(b[p]-'0'), 1e6)
	}
	if p == from {
		return p, syntax(errExponent, p)
	}
	if neg {
		e = -e
	}
	n.exp += e
	return p, nil
}

// special reads NaN, Inf and Infinity.
func special(b []byte, p int, n number) (number, error) {
	s := scanner{b: b, p: p}
	switch {
	case p < len(b) && b[p] == 'N':
		if err := s.word("NaN"); err != nil {
			return n, err
		}
	case p < len(b) && b[p] == 'I':
		if err := s.word("Inf"); err != nil {
			return n, err
		}
		if s.p < len(b) && b[s.p] == 'i' {
			if err := s.word("inity"); err != nil {
				return n, err
			}
		}
	default:
		return n, syntax(errValue, p)
	}
	n.special, n.end = true, s.p
	return n, nil
}

// float64 is the nearest float64, ties to even; start is where the number's text begins in b.
func (n *number) float64(b []byte, start int) (float64, error) {
	if n.exact && n.mant < 1<<53 && n.exp >= -22 && n.exp <= 22 {
		return n.sign(n.scaled()), nil
	}
	if n.special {
		return n.specialValue(b), nil
	}
	f, err := strconv.ParseFloat(unsafe.String(&b[start], n.end-start), 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) && math.IsInf(f, 0) {
			return 0, syntax(errTooBig, start)
		}
	}
	return f, nil
}

// specialValue is what the text before end, which is at least three letters, says.
func (n *number) specialValue(b []byte) float64 {
	if c := b[n.end-1]; c == 'N' {
		return math.NaN()
	}
	return n.sign(math.Inf(1))
}

// scaled is mant * 10^exp, for -22 <= exp <= 22: one rounding where mant < 2^53, else two.
func (n *number) scaled() float64 {
	if n.exp < 0 {
		return float64(n.mant) / tens[-n.exp]
	}
	return float64(n.mant) * tens[n.exp]
}

func (n *number) sign(f float64) float64 {
	if n.neg {
		return -f
	}
	return f
}

// float32 is the nearest float64, rounded again, as Triton's conversion does. With two roundings the
// product is off by less than two units in the last place of a float64; unless that is enough to reach
// the middle between two float32 values, the result is the same.
func (n *number) float32(b []byte, start int) (float32, error) {
	if n.exact && n.exp >= -22 && n.exp <= 22 {
		f := n.scaled()
		const rest, half = 1<<29 - 1, 1 << 28 // bits of a float64 that a float32 lacks
		off := math.Float64bits(f)&rest - half + 4
		if n.mant < 1<<53 || off > 8 && f >= 0x1p-126 {
			return float32(n.sign(f)), nil
		}
	}
	f, err := n.float64(b, start)
	return float32(f), err
}
