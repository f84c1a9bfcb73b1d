package stats

// mostLag bounds the sum of autocorrelations.
const mostLag = 2000

// longSeries is some hundred times the correlation that matters.
const longSeries = 1 << 15

// EffectiveSize is how many independent observations a series in the order of time is worth for its mean:
//
//	n / (1 + 2 sum of autocorrelations)
//
// with the sum ended by Geyer's initial positive sequence (1992, Statistical Science 7:473): pairs of
// neighbouring lags are added as long as they are positive. It is never above n.
//
// Of a long series a stretch in the middle is taken for the whole: a million values would take a second.
func EffectiveSize(series []float64) float64 {
	n := len(series)
	if n > longSeries {
		middle := series[(n-longSeries)/2:][:longSeries]
		return EffectiveSize(middle) * float64(n) / longSeries
	}
	if n < 4 {
		return float64(n)
	}
	mean, _ := moments(series)
	variance := covariance(series, mean, 0)
	if variance <= 0 {
		return float64(n)
	}
	sum := -1.0 // the pair of lags 0 and 1 counts lag 0 twice over
	for lag := 0; lag+1 < min(n, mostLag); lag += 2 {
		pair := (covariance(series, mean, lag) + covariance(series, mean, lag+1)) / variance
		if pair <= 0 {
			break
		}
		sum += 2 * pair
	}
	return max(1, min(float64(n), float64(n)/sum))
}

// effectiveAt is the effective size for the quantile that lies at a value: that of the series of which
// observations are not above it.
func effectiveAt(series []float64, at float64) float64 {
	below := make([]float64, len(series))
	for i, v := range series {
		if v <= at {
			below[i] = 1
		}
	}
	return EffectiveSize(below)
}

func covariance(series []float64, mean float64, lag int) float64 {
	sum := 0.0
	for i := lag; i < len(series); i++ {
		sum += (series[i] - mean) * (series[i-lag] - mean)
	}
	return sum / float64(len(series))
}
