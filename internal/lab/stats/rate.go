package stats

import (
	"math"
	"slices"
)

// Rate is events a second between the instants from and to (nanoseconds, as the events), with Student's
// interval over equal windows, so that what lasts longer than a request (a batch, a pause) widens it.
// Events outside do not count.
func Rate(events []int64, from, to int64, confidence float64) Estimate {
	if to <= from {
		return unknown()
	}
	n := 0
	for _, at := range events {
		if at >= from && at < to {
			n++
		}
	}
	seconds := float64(to-from) / 1e9
	k := min(mostBatches, n/leastBatch)
	if k < 3 {
		return Estimate{Value: float64(n) / seconds, Low: math.NaN(), High: math.NaN(), N: n}
	}
	e := Mean(windows(events, from, to, k), confidence)
	per := seconds / float64(k)
	return Estimate{Value: float64(n) / seconds, Low: max(0, e.Low/per), High: e.High / per, N: n}
}

// windows counts events in k equal windows.
func windows(events []int64, from, to int64, k int) []float64 {
	counts := make([]float64, k)
	width := float64(to-from) / float64(k)
	for _, at := range events {
		if at >= from && at < to {
			counts[min(int(float64(at-from)/width), k-1)]++
		}
	}
	return counts
}

// Span is a round's part of a rate: events between two instants.
type Span struct {
	Events   []int64
	From, To int64
}

// RoundsRate is the rate over rounds. With three rounds or more the interval is Student's over the rounds'
// rates. With fewer it is the windows' of each, summed as independent.
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
