package figure

import (
	"math"
	"strconv"
	"strings"
)

// Text is the value with its unit, rounded so that the last digit is one that the interval supports;
// without an interval four significant digits.
func (f Figure) Text() string {
	if !f.known {
		return "—"
	}
	scale, unit := f.display()
	return join(number(f.Value/scale, f.decimals(scale)), unit)
}

// Range is the interval as "low–high", rounded as Text is; empty where there is none, or where it is too
// narrow to be seen.
func (f Figure) Range() string {
	if scale, _ := f.display(); !f.HasInterval() || f.decimals(scale) < 0 {
		return ""
	}
	scale, _ := f.display()
	d := f.decimals(scale)
	return number(f.Low/scale, d) + "–" + number(f.High/scale, d)
}

// String is the value with its interval.
func (f Figure) String() string {
	if r := f.Range(); r != "" {
		return f.Text() + " (" + r + ")"
	}
	return f.Text()
}

func join(digits, unit string) string {
	switch {
	case unit == "":
		return digits
	case unit == string(Dollars):
		return "$" + digits
	case unit == string(Times):
		return digits + unit
	default:
		return digits + " " + unit
	}
}

var binary = []struct {
	size float64
	name string
}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}}

// display is the divisor and the name of the unit that suits the value. A payload of less than 1 GiB
// stays in KiB, so that a column can be read down.
func (f Figure) display() (float64, string) {
	switch {
	case f.Unit == Millis && f.Value != 0 && math.Abs(f.Value) < 0.01:
		return 1e-3, "µs"
	case f.Unit != Bytes:
		return 1, string(f.Unit)
	}
	for _, b := range binary {
		if math.Abs(f.Value) >= b.size && (b.name != "MiB" || math.Abs(f.Value) >= 512*b.size/4) {
			return b.size, b.name
		}
	}
	return 1, "B"
}

// decimals that the interval supports: down to the first digit of its half-width, one more where that
// digit is 1. -4 asks for four significant digits, -3 for three.
func (f Figure) decimals(scale float64) int {
	half := (f.High - f.Low) / 2 / scale
	if !f.HasInterval() || half <= math.Abs(f.Value/scale)*1e-5 {
		if f.Unit == Percent || f.Unit == Times || f.Unit == Dollars {
			return -3
		}
		return -4
	}
	exp := math.Floor(math.Log10(half))
	if half/math.Pow(10, exp) < 2 {
		exp--
	}
	return int(min(max(-exp, 0), 6))
}

// number writes v with a thousands separator.
func number(v float64, decimals int) string {
	if decimals < 0 {
		decimals = significant(v, -decimals)
		s := group(strconv.FormatFloat(v, 'f', decimals, 64))
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	return group(strconv.FormatFloat(v, 'f', decimals, 64))
}

func significant(v float64, digits int) int {
	if v == 0 {
		return 0
	}
	return min(max(digits-1-int(math.Floor(math.Log10(math.Abs(v)))), 0), 8)
}

func group(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, frac, dotted := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dotted {
		whole += "." + frac
	}
	return sign + whole
}
