package stats

import (
	"math"
	"slices"
)

// Mean is the arithmetic mean with Student's interval. Values must be independent.
func Mean(values []float64, confidence float64) Estimate {
	n := len(values)
	if n == 0 {
		return unknown()
	}
	m, sd := moments(values)
	return student(m, sd/math.Sqrt(float64(n)), float64(n-1), n, confidence)
}

// moments are the mean and the deviation with n-1 (NaN for one value).
func moments(values []float64) (mean, deviation float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	ss := 0.0
	for _, v := range values {
		ss += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(ss / (n - 1))
}

// student is value with an interval of t standard errors.
func student(value, se, df float64, n int, confidence float64) Estimate {
	if df < 1 {
		return Estimate{Value: value, Low: math.NaN(), High: math.NaN(), N: n}
	}
	half := studentQuantile((1+confidence)/2, df) * se
	return Estimate{Value: value, Low: value - half, High: value + half, N: n}
}

const (
	// batches that a series is cut into: more give a better estimate of the variance, fewer are more
	// nearly independent. 20 to 30 is the usual compromise (Schmeiser 1982, Operations Research 30:556).
	mostBatches = 30
	// leastBatch observations make a batch worth while.
	leastBatch = 4
)

// SeriesMean is the mean of values in the order of time, whose neighbours may resemble each other. The
// interval is Student's over the means of non-overlapping batches; with too few values it is Mean.
func SeriesMean(values []float64, confidence float64) Estimate {
	k := min(mostBatches, len(values)/leastBatch)
	if k < 3 {
		return Mean(values, confidence)
	}
	means := make([]float64, k)
	for i := range means {
		part := values[i*len(values)/k : (i+1)*len(values)/k]
		means[i], _ = moments(part)
	}
	e := Mean(means, confidence)
	m, _ := moments(values)
	return Estimate{Value: m, Low: e.Low + m - e.Value, High: e.High + m - e.Value, N: len(values)}
}

// enoughRounds from which rounds are the units of replication: their spread then holds all that changes
// between repetitions, which no spread within a round can show.
const enoughRounds = 3

// RoundsMean is the mean over rounds, each in the order of time. With three rounds or more the interval is
// Student's over the rounds' means, otherwise SeriesMean's over all values: it then knows nothing of what
// differs between runs.
func RoundsMean(rounds [][]float64, confidence float64) Estimate {
	rounds = slices.DeleteFunc(slices.Clone(rounds), func(r []float64) bool { return len(r) == 0 })
	all := slices.Concat(rounds...)
	if len(rounds) < enoughRounds {
		return SeriesMean(all, confidence)
	}
	means := make([]float64, len(rounds))
	for i, r := range rounds {
		means[i], _ = moments(r)
	}
	e := Mean(means, confidence)
	e.N = len(all)
	return e
}

// RoundsQuantile is the q-quantile of all rounds together, each in the order of time. The interval is by
// order statistics, the sample counted at its effective size.
func RoundsQuantile(rounds [][]float64, q, confidence float64) Estimate {
	all := slices.Concat(rounds...)
	slices.Sort(all)
	at, effective := QuantileOf(all, q), 0.0
	for _, r := range rounds {
		effective += effectiveAt(r, at)
	}
	return QuantileWithin(all, effective, q, confidence)
}

// RatioOfSums is sum(num)/sum(den) over paired observations, as executions to requests, with Student's
// interval on the linearised ratio (Cochran, Sampling Techniques, 6.4).
func RatioOfSums(num, den []float64, confidence float64) Estimate {
	var a, b float64
	for i := range num {
		a, b = a+num[i], b+den[i]
	}
	if b == 0 {
		return unknown()
	}
	r, n := a/b, float64(len(num))
	ss := 0.0
	for i := range num {
		d := num[i] - r*den[i]
		ss += d * d
	}
	se := math.Sqrt(ss/(n-1)*n) / math.Abs(b)
	return student(r, se, n-1, len(num), confidence)
}

// GeometricMean of positive values with Student's interval on their logarithms: for ratios.
func GeometricMean(values []float64, confidence float64) Estimate {
	logs := make([]float64, len(values))
	for i, v := range values {
		logs[i] = math.Log(v)
	}
	e := Mean(logs, confidence)
	return Estimate{Value: math.Exp(e.Value), Low: math.Exp(e.Low), High: math.Exp(e.High), N: e.N}
}
