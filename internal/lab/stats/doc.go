// Package stats turns observations into figures with intervals. Everything here is a function of its
// arguments alone: what is drawn at random is drawn from a seed.
//
// Samples are float64 in any unit; functions that want them sorted say so. Intervals are two-sided.
package stats

import "math"

// Confidence of the intervals that reports print.
const Confidence = 0.95

// Estimate is a figure with its interval at a stated confidence. Low or High is NaN where the sample is
// too small to give that end.
type Estimate struct {
	Value     float64
	Low, High float64
	N         int // observations behind it
}

// Bounded tells whether both ends are known.
func (e Estimate) Bounded() bool { return !math.IsNaN(e.Low) && !math.IsNaN(e.High) }

// Contains tells whether v lies in the interval; an unknown end holds nothing out.
func (e Estimate) Contains(v float64) bool { return !(v < e.Low) && !(v > e.High) }

// unknown is the estimate from no observations.
func unknown() Estimate {
	nan := math.NaN()
	return Estimate{Value: nan, Low: nan, High: nan}
}
