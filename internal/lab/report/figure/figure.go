// Package figure is a measured number with its uncertainty and unit, and how it is written.
package figure

import (
	"encoding/json"
	"math"
)

// Unit of a figure.
type Unit string

// Units that reports use. Bytes are written in KiB, MiB or GiB (powers of 1,024).
const (
	Millis   Unit = "ms"
	Images   Unit = "img/s"
	Requests Unit = "req/s"
	Bytes    Unit = "bytes"
	Watts    Unit = "W"
	Joules   Unit = "J"
	Percent  Unit = "%" // of 100
	Times    Unit = "×"
	Dollars  Unit = "$"
	Count    Unit = ""
)

// Figure is a value with a 95 % interval. Low and High are NaN where no interval can be given; N is the
// number of observations behind it, 0 for a figure taken from elsewhere. The zero Figure is unknown.
type Figure struct {
	Value     float64
	Low, High float64
	N         int
	Unit      Unit
	known     bool
}

// Of is a figure with an interval.
func Of(unit Unit, value, low, high float64, n int) Figure {
	f := Figure{Value: value, Low: low, High: high, N: n, Unit: unit}
	f.known = !math.IsNaN(value) && !math.IsInf(value, 0)
	return f
}

// Point is a figure without an interval.
func Point(unit Unit, value float64, n int) Figure {
	return Of(unit, value, math.NaN(), math.NaN(), n)
}

// Known tells whether there is a value.
func (f Figure) Known() bool { return f.known }

// HasInterval tells whether both ends of the interval are known.
func (f Figure) HasInterval() bool {
	return f.known && !math.IsNaN(f.Low) && !math.IsNaN(f.High) && !math.IsInf(f.Low, 0) && !math.IsInf(f.High, 0)
}

// Scale multiplies by a constant and changes the unit; the constant is positive.
func (f Figure) Scale(by float64, unit Unit) Figure {
	f.Value, f.Low, f.High, f.Unit = f.Value*by, f.Low*by, f.High*by, unit
	return f
}

// Inverse is by/f, with its interval turned round. A figure that is not positive has no inverse.
func (f Figure) Inverse(by float64, unit Unit) Figure {
	if !f.known || f.Value <= 0 {
		return Figure{}
	}
	g := Point(unit, by/f.Value, f.N)
	if f.HasInterval() && f.Low > 0 {
		g.Low, g.High = by/f.High, by/f.Low
	}
	return g
}

// Ratio is a/b. Its interval is recovered from the two figures' own on the logarithmic scale (MOVER:
// Zou and Donner 2008, Statistics in Medicine 27:1693), which holds for independent figures:
//
//	ln low  = d - sqrt((ln a - ln a.low)² + (ln b.high - ln b)²),  d = ln a - ln b
//	ln high = d + sqrt((ln a.high - ln a)² + (ln b - ln b.low)²)
//
// Without both intervals the ratio has none.
func Ratio(a, b Figure, unit Unit) Figure {
	if !a.known || !b.known || b.Value == 0 {
		return Figure{}
	}
	r := Point(unit, a.Value/b.Value, min(a.N, b.N))
	if !a.HasInterval() || !b.HasInterval() || min(a.Low, b.Low) <= 0 {
		return r
	}
	d := math.Log(a.Value / b.Value)
	r.Low = math.Exp(d - math.Hypot(math.Log(a.Value/a.Low), math.Log(b.High/b.Value)))
	r.High = math.Exp(d + math.Hypot(math.Log(a.High/a.Value), math.Log(b.Value/b.Low)))
	return r
}

// Minus is a-b, with MOVER's interval on the linear scale.
func Minus(a, b Figure) Figure {
	if !a.known || !b.known {
		return Figure{}
	}
	d := Point(a.Unit, a.Value-b.Value, min(a.N, b.N))
	if a.HasInterval() && b.HasInterval() {
		d.Low = d.Value - math.Hypot(a.Value-a.Low, b.High-b.Value)
		d.High = d.Value + math.Hypot(a.High-a.Value, b.Value-b.Low)
	}
	return d
}

// Share is part/whole in percent, held to 0..100: part is a component of whole, so that the two move
// together and the interval is that of the part over the whole's value.
func Share(part, whole Figure) Figure {
	if !part.known || !whole.known || whole.Value <= 0 {
		return Figure{}
	}
	s := part.Scale(100/whole.Value, Percent)
	s.Value = min(max(s.Value, 0), 100)
	if s.HasInterval() {
		s.Low, s.High = min(max(s.Low, 0), 100), min(max(s.High, 0), 100)
	}
	return s
}

// Above tells whether the whole interval lies above x. A figure without an interval supports no claim.
func (f Figure) Above(x float64) bool { return f.HasInterval() && f.Low > x }

// Below tells whether the whole interval lies below x.
func (f Figure) Below(x float64) bool { return f.HasInterval() && f.High < x }

// Apart tells whether the interval of the ratio of two figures leaves out 1. It takes only the ends that
// face each other: a small sample may give the lower end of a high quantile and not its upper.
func Apart(a, b Figure) bool { return exceeds(a, b) || exceeds(b, a) }

// exceeds tells whether the lower end of a/b, as Ratio has it, lies above 1.
func exceeds(a, b Figure) bool {
	if !a.known || !b.known || !(a.Low > 0) || !(b.Value > 0) || !(b.High > 0) || math.IsInf(b.High, 0) {
		return false
	}
	return math.Log(a.Value/b.Value) > math.Hypot(math.Log(a.Value/a.Low), math.Log(b.High/b.Value))
}

type wire struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low,omitempty"`
	High  *float64 `json:"high,omitempty"`
	N     int      `json:"n,omitempty"`
	Unit  Unit     `json:"unit,omitempty"`
}

// MarshalJSON writes {"value", "low", "high", "n", "unit"}; null if unknown.
func (f Figure) MarshalJSON() ([]byte, error) {
	if !f.known {
		return []byte("null"), nil
	}
	w := wire{Value: f.Value, N: f.N, Unit: f.Unit}
	if f.HasInterval() {
		w.Low, w.High = &f.Low, &f.High
	}
	return json.Marshal(w)
}
