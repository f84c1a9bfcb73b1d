package report

import (
	"slices"

	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/stats"
)

func fromEstimate(unit figure.Unit, e stats.Estimate) figure.Figure {
	return figure.Of(unit, e.Value, e.Low, e.High, e.N)
}

// carries tells whether n values can carry the quantile; needs is the smallest number that can.
func carries(n int, q float64) bool { return stats.Carries(n, q) }
func needs(q float64) int           { return stats.MinimumSample(q) }

// quantile of sorted independent values.
func quantile(unit figure.Unit, sorted []float64, q float64) figure.Figure {
	if len(sorted) == 0 {
		return figure.Figure{}
	}
	return fromEstimate(unit, stats.Quantile(sorted, q, stats.Confidence))
}

// quantileOver rounds, each in the order of time.
func quantileOver(unit figure.Unit, rounds [][]float64, q float64) figure.Figure {
	if len(slices.Concat(rounds...)) == 0 {
		return figure.Figure{}
	}
	return fromEstimate(unit, stats.RoundsQuantile(rounds, q, stats.Confidence))
}

// mean over rounds, each in the order of time.
func mean(unit figure.Unit, rounds [][]float64) figure.Figure {
	if len(slices.Concat(rounds...)) == 0 {
		return figure.Figure{}
	}
	return atLeastZero(fromEstimate(unit, stats.RoundsMean(rounds, stats.Confidence)))
}

// atLeastZero ends an interval at 0, for quantities that cannot be negative: Student's interval does not
// know that.
func atLeastZero(f figure.Figure) figure.Figure {
	if f.Value >= 0 && f.Low < 0 {
		f.Low = 0
	}
	return f
}

// rate of successful answers, from the first due instant over the time that the cell measured.
func rate(rounds []*cell) figure.Figure {
	var spans []stats.Span
	for _, c := range rounds {
		var s stats.Span
		for _, q := range c.requests {
			if q.Warmup {
				continue
			}
			if s.From == 0 || q.Due < s.From {
				s.From = q.Due
			}
			s.To = max(s.To, q.Done+1)
			if q.Error == "" {
				s.Events = append(s.Events, q.Done)
			}
		}
		if c.end != nil && c.end.Elapsed > 0 {
			s.To = s.From + int64(c.end.Elapsed)
		}
		if len(s.Events) > 0 {
			spans = append(spans, s)
		}
	}
	return fromEstimate(figure.Requests, stats.RoundsRate(spans, stats.Confidence))
}

func ratioOfSums(unit figure.Unit, num, den []float64) figure.Figure {
	return fromEstimate(unit, stats.RatioOfSums(num, den, stats.Confidence))
}

// pairedRatio is the geometric mean of rounds' ratios.
func pairedRatio(ratios []float64) figure.Figure {
	return fromEstimate(figure.Times, stats.GeometricMean(ratios, stats.Confidence))
}
