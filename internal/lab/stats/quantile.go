package stats

import (
	"math"
	"sort"
)

// QuantileOf is the q-quantile of a sorted sample, q from 0 to 1: type 7 of Hyndman and Fan (1996), which
// is numpy's default, linear between the two order statistics around (n-1)q. NaN without values.
func QuantileOf(sorted []float64, q float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	at := q * float64(n-1)
	i := int(math.Floor(at))
	if i >= n-1 {
		return sorted[n-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Quantile is QuantileOf with its distribution-free interval. With B ~ Binomial(n, q) the number of
// observations below the true quantile,
//
//	P(x_l <= Q <= x_u) >= P(l <= B < u)
//
// and l and u are chosen so that each tail has at most half of what confidence leaves (David and
// Nagaraja, Order Statistics, 7.1). Values must be independent; where they follow each other in time, see
// QuantileWithin. An end that the sample cannot give is NaN.
func Quantile(sorted []float64, q, confidence float64) Estimate {
	return QuantileWithin(sorted, float64(len(sorted)), q, confidence)
}

// QuantileWithin is Quantile for a sample that is worth only effective independent observations (see
// EffectiveSize): the ranks are those of that many, stretched over the sample.
func QuantileWithin(sorted []float64, effective, q, confidence float64) Estimate {
	n := len(sorted)
	if n == 0 {
		return unknown()
	}
	e := Estimate{Value: QuantileOf(sorted, q), Low: math.NaN(), High: math.NaN(), N: n}
	m := int(min(effective, float64(n)))
	l, u := ranks(m, q, confidence)
	stretch := float64(n) / float64(max(m, 1))
	if l >= 1 {
		e.Low = sorted[int(math.Floor(float64(l-1)*stretch))]
	}
	if u <= m {
		e.High = sorted[min(int(math.Ceil(float64(u)*stretch)), n)-1]
	}
	return e
}

// ranks of the order statistics, counted from 1, that bound the quantile: l is 0 and u is n+1 where there
// is none.
func ranks(n int, q, confidence float64) (l, u int) {
	tail := (1 - confidence) / 2
	// The largest l with P(B <= l-1) <= tail, the smallest u with P(B >= u) <= tail.
	l = sort.Search(n, func(k int) bool { return binomialCDF(k, n, q) > tail })
	u = sort.Search(n+1, func(k int) bool { return 1-binomialCDF(k-1, n, q) <= tail })
	return l, u
}

// The rule for the smallest sample: MLPerf LoadGen's early stopping (mlcommons/inference,
// loadgen/early_stopping.cc) passes a quantile when a binomial test at this confidence can say that no
// larger share lies above a bound; with one exceedance allowed the smallest n is the first for which
//
//	P(Binomial(n, 1-q) <= 1) <= 1 - 0.99
//
// which gives 64 for p90, 130 for p95, 662 for p99 and 6,636 for p99.9. Below the median the rule is
// mirrored.
const minimumConfidence = 0.99

// MinimumSample is the smallest number of observations from which the q-quantile may be quoted, q
// strictly between 0 and 1.
func MinimumSample(q float64) int {
	tail := min(q, 1-q)
	// 7/tail is beyond the answer for every tail: (1+7)e^-7 < 0.01.
	return sort.Search(int(7/tail)+8, func(n int) bool { return n >= 2 && binomialCDF(1, n, tail) <= 1-minimumConfidence })
}

// Carries tells whether n observations may be summed up by their q-quantile. A median is always
// quotable: its interval says what it is worth.
func Carries(n int, q float64) bool {
	if q == 0.5 {
		return n >= 1
	}
	return n >= MinimumSample(q)
}
