package stats

import (
	"math"
	"slices"
)

// Rate is events a second between the instants from and to (nanoseconds, as the events). Its relative
// interval is that of the mean time between events, a series whose neighbours may resemble each other (a
// batch, a pause). Counts of equal windows would do too, but are whole numbers: a steady server's few
// answers a window would seem to vary. Events outside do not count; they need not be sorted.
func Rate(events []int64, from, to int64, confidence float64) Estimate {
	if to <= from {
		return unknown()
	}
	gaps := gaps(events, from, to)
	value := float64(len(gaps)) / (float64(to-from) / 1e9)
	e := Estimate{Value: value, Low: math.NaN(), High: math.NaN(), N: len(gaps)}
	gap := SeriesMean(gaps, confidence)
	if len(gaps) >= leastGaps && gap.Bounded() && gap.Low > 0 {
		e.Low, e.High = value*gap.Value/gap.High, value*gap.Value/gap.Low
	}
	return e
}

// leastGaps below which a rate has no interval: a mean of fewer skewed gaps is too uncertain to invert.
const leastGaps = 10

// gaps from each event between from and to to the one before it, the first to from.
func gaps(events []int64, from, to int64) []float64 {
	inside := make([]int64, 0, len(events))
	for _, at := range events {
		if at >= from && at < to {
			inside = append(inside, at)
		}
	}
	slices.Sort(inside)
	out := make([]float64, len(inside))
	for i, at := range inside {
		out[i] = float64(at - from)
		from = at
	}
	return out
}

// Span is a round's part of a rate: events between two instants.
type Span struct {
	Events   []int64
	From, To int64
}

// RoundsRate is the rate over rounds. With three rounds or more the interval is Student's over the rounds'
// rates. With fewer it is made of each round's own, as independent ones.
func RoundsRate(rounds []Span, confidence float64) Estimate {
	each := make([]Estimate, 0, len(rounds))
	n := 0
	for _, r := range rounds {
		if e := Rate(r.Events, r.From, r.To, confidence); !math.IsNaN(e.Value) {
			each = append(each, e)
			n += e.N
		}
	}
	if len(each) == 0 {
		return unknown()
	}
	out := meanOf(each)
	if len(each) >= enoughRounds {
		values := make([]float64, len(each))
		for i, e := range each {
			values[i] = e.Value
		}
		out = Mean(values, confidence)
	}
	out.N = n
	return out
}

// meanOf independent estimates.
func meanOf(each []Estimate) Estimate {
	var sum, low, high float64
	for _, e := range each {
		sum += e.Value
		low += (e.Value - e.Low) * (e.Value - e.Low)
		high += (e.High - e.Value) * (e.High - e.Value)
	}
	n := float64(len(each))
	m := sum / n
	return Estimate{Value: m, Low: m - math.Sqrt(low)/n, High: m + math.Sqrt(high)/n}
}

// Little is the mean number of requests in a system with that throughput (1/s) and mean time (s): L = λW.
// A closed loop of c clients without pauses must give c.
func Little(throughput, seconds float64) float64 { return throughput * seconds }

// Saturation of a throughput curve, as indexes of its points.
type Saturation struct {
	Peak     int  // the highest throughput
	Knee     int  // the first that reaches nearPeak of it
	Declines bool // throughput falls below nearPeak of the peak beyond it
	Reached  bool // the peak is not the last point, or adds less than 1-nearPeak to the point before: more load would not help
}

// nearPeak is the share of the peak that counts as reached.
const nearPeak = 0.95

// Saturate reads the curve of throughput at rising load. ok is false without points.
func Saturate(throughput []float64) (s Saturation, ok bool) {
	if len(throughput) == 0 {
		return s, false
	}
	for i, v := range throughput {
		if v > throughput[s.Peak] {
			s.Peak = i
		}
	}
	near := nearPeak * throughput[s.Peak]
	s.Knee = slices.IndexFunc(throughput, func(v float64) bool { return v >= near })
	beyond := throughput[s.Peak+1:]
	s.Declines = slices.ContainsFunc(beyond, func(v float64) bool { return v < near })
	s.Reached = len(beyond) > 0 || s.Knee < s.Peak
	return s, true
}
