package wire

import (
	"math"
	"math/big"
	"math/bits"
)

// Triton prints with RapidJSON, and that with Grisu2 (F. Loitsch, Printing Floating-Point Numbers
// Quickly and Accurately with Integers, 2010): digits that read back as the same number, nearly always
// the fewest, and not always the nearest of the fewest. Equal answers need the same algorithm.

// extended is f * 2^e.
type extended struct {
	f uint64
	e int
}

func (x extended) normalised() extended {
	s := bits.LeadingZeros64(x.f)
	return extended{x.f << s, x.e - s}
}

// times is the product, rounded half up to 64 bits.
func (x extended) times(y extended) extended {
	hi, lo := bits.Mul64(x.f, y.f)
	return extended{hi + lo>>63, x.e + y.e + 64}
}

const (
	firstPower, powerStep, powerCount = -348, 8, 87
	fractionBits                      = 52
	hiddenBit                         = 1 << fractionBits
)

// powers are 10^-348, 10^-340, ... 10^340, rounded to 64 bits.
var powers = func() (t [powerCount]extended) {
	ten := big.NewInt(10)
	for i := range t {
		k := firstPower + i*powerStep
		p := new(big.Float).SetPrec(2048).SetInt(new(big.Int).Exp(ten, big.NewInt(int64(max(k, -k))), nil))
		if k < 0 {
			p.Quo(new(big.Float).SetPrec(2048).SetInt64(1), p)
		}
		p.SetPrec(64).SetMode(big.ToNearestEven)
		mant := new(big.Float)
		e := p.MantExp(mant) // 0.5 <= mant < 1
		f, _ := mant.SetMantExp(mant, 64).Uint64()
		t[i] = extended{f, e - 64}
	}
	return t
}()

// powerFor is a power that brings a number with exponent e into DigitGen's range, and the power's k: the
// number is what comes out times 10^k.
func powerFor(e int) (p extended, k int) {
	d := float64(-61-e)*0.30102999566398114 + 347
	n := int(math.Ceil(d))
	i := n>>3 + 1
	return powers[i], -(firstPower + i*powerStep)
}

// grisu prints f > 0 as digits and k: f is digits * 10^k.
func grisu(buffer *[24]byte, f float64) (n, k int) {
	b := math.Float64bits(f)
	v := extended{b & (hiddenBit - 1), 1 - 1075}
	if biased := int(b >> fractionBits); biased > 0 {
		v = extended{v.f | hiddenBit, biased - 1075}
	}
	plus := extended{v.f<<1 + 1, v.e - 1}.normalised()
	minus := extended{v.f<<1 - 1, v.e - 1}
	if v.f == hiddenBit { // the next smaller number is half as far
		minus = extended{v.f<<2 - 1, v.e - 2}
	}
	minus = extended{minus.f << (minus.e - plus.e), plus.e}
	power, k := powerFor(plus.e)
	w, high, low := v.normalised().times(power), plus.times(power), minus.times(power)
	high.f--
	low.f++
	return generate(buffer, w, high, high.f-low.f, k)
}

var tensUint = [10]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// exactRounding is how many digits behind the point of generate's numbers RapidJSON 1.1 still rounds;
// further on it leaves the last digit as it came, which is why Triton prints 0.2 in FP32 with a 5 at
// the end.
const exactRounding = 9

// generate produces digits of high until what is left is below delta: any such number reads back.
func generate(buffer *[24]byte, w, high extended, delta uint64, k int) (n, exp int) {
	shift := uint(-high.e)
	one := uint64(1) << shift
	distance := high.f - w.f
	whole, part := high.f>>shift, high.f&(one-1)
	kappa := 1
	for kappa < 10 && whole >= tensUint[kappa] {
		kappa++
	}
	for kappa > 0 {
		kappa--
		n = put(buffer, n, whole/tensUint[kappa])
		whole %= tensUint[kappa]
		if rest := whole<<shift + part; rest <= delta {
			roundDown(buffer[n-1:], delta, rest, tensUint[kappa]<<shift, distance)
			return n, k + kappa
		}
	}
	for {
		part *= 10
		delta *= 10
		n = put(buffer, n, part>>shift)
		part &= one - 1
		kappa--
		if part < delta {
			if -kappa < exactRounding {
				distance *= tensUint[-kappa]
			} else {
				distance = 0
			}
			roundDown(buffer[n-1:], delta, part, one, distance)
			return n, k + kappa
		}
	}
}

// put appends a digit; zeros at the front are none.
func put(buffer *[24]byte, n int, digit uint64) int {
	if digit == 0 && n == 0 {
		return n
	}
	buffer[n] = '0' + byte(digit)
	return n + 1
}

// roundDown lowers the last digit while that comes nearer to the number itself.
func roundDown(last []byte, delta, rest, unit, distance uint64) {
	for rest < distance && delta-rest >= unit && (rest+unit < distance || distance-rest > rest+unit-distance) {
		last[0]--
		rest += unit
	}
}
