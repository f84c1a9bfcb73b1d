package stats

import "math"

// Bin holds the values from Low (included) to High (excluded).
type Bin struct {
	Low, High float64
	Count     int
}

// LogHistogram counts positive values in bins of equal width on the logarithmic scale, perDecade to a
// factor of ten, from the bin of the smallest to that of the largest. Bins are aligned, so that the
// histograms of two samples can be laid over each other. Values that are not positive are left out.
func LogHistogram(values []float64, perDecade int) []Bin {
	index := func(v float64) int { return int(math.Floor(math.Log10(v) * float64(perDecade))) }
	least, most, any := 0, 0, false
	for _, v := range values {
		if v > 0 {
			i := index(v)
			if !any {
				least, most, any = i, i, true
			}
			least, most = min(least, i), max(most, i)
		}
	}
	if !any {
		return nil
	}
	bins := make([]Bin, most-least+1)
	for i := range bins {
		bins[i].Low = math.Pow(10, float64(least+i)/float64(perDecade))
		bins[i].High = math.Pow(10, float64(least+i+1)/float64(perDecade))
	}
	for _, v := range values {
		if v > 0 {
			bins[index(v)-least].Count++
		}
	}
	return bins
}
