package report

import (
	"math"
	"slices"

	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
)

// carries tells whether n values can carry the quantile.
func carries(n int, q float64) bool { return n >= needs(q) }

// needs is the smallest sample that can carry the quantile.
func needs(q float64) int {
	switch {
	case q <= 0.5:
		return 1
	case q <= 0.90:
		return 64
	case q <= 0.95:
		return 130
	case q <= 0.99:
		return 662
	default:
		return 6636
	}
}

func quantile(unit figure.Unit, sorted []float64, q float64) figure.Figure {
	n := len(sorted)
	if n == 0 {
		return figure.Figure{}
	}
	v := sorted[min(int(q*float64(n)), n-1)]
	d := 1.96 * math.Sqrt(float64(n)*q*(1-q))
	lo, hi := int(q*float64(n)-d)-1, int(q*float64(n)+d)+1
	if lo < 0 || hi >= n {
		return figure.Point(unit, v, n)
	}
	return figure.Of(unit, v, sorted[lo], sorted[hi], n)
}

func mean(unit figure.Unit, rounds [][]float64) figure.Figure {
	all := slices.Concat(rounds...)
	if len(all) == 0 {
		return figure.Figure{}
	}
	m, half := meanHalf(all)
	return figure.Of(unit, m, m-half, m+half, len(all))
}

func meanHalf(v []float64) (m, half float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	var ss float64
	for _, x := range v {
		ss += (x - m) * (x - m)
	}
	if len(v) < 2 {
		return m, math.NaN()
	}
	return m, 1.96 * math.Sqrt(ss/float64(len(v)-1)/float64(len(v)))
}

func rate(rounds []*cell) figure.Figure {
	var each []float64
	n := 0
	for _, c := range rounds {
		done := 0
		for _, q := range c.requests {
			if !q.Warmup && q.Error == "" {
				done++
			}
		}
		if c.end != nil && c.end.Elapsed > 0 && done > 0 {
			each = append(each, float64(done)/c.end.Elapsed.Seconds())
		}
		n += done
	}
	if len(each) == 0 {
		return figure.Figure{}
	}
	m, half := meanHalf(each)
	return figure.Of(figure.Requests, m, m-half, m+half, n)
}

func ratioOfSums(unit figure.Unit, num, den []float64) figure.Figure {
	var a, b float64
	for i := range num {
		a, b = a+num[i], b+den[i]
	}
	if b == 0 {
		return figure.Figure{}
	}
	r := a / b
	if len(num) < 3 {
		return figure.Point(unit, r, int(b))
	}
	var ss float64
	for i := range num {
		d := num[i] - r*den[i]
		ss += d * d
	}
	n := float64(len(num))
	half := 2 * math.Sqrt(ss/(n-1)*n) / b
	return figure.Of(unit, r, r-half, r+half, int(b))
}

func pairedRatio(ratios []float64) figure.Figure {
	logs := make([]float64, len(ratios))
	for i, r := range ratios {
		logs[i] = math.Log(r)
	}
	m, half := meanHalf(logs)
	return figure.Of(figure.Times, math.Exp(m), math.Exp(m-half), math.Exp(m+half), len(ratios))
}
