package scenario

import "math"

const (
	searchTries     = 24
	searchPrecision = 1.05 // the highest rate that passed and the lowest that failed are within this ratio
)

// search finds the highest rate that passes, to searchPrecision, when every lower one passes too: it
// doubles from lowest until a rate fails (or highest passes), and then halves the gap in logarithms. It
// returns 0 where nothing passes, down to a thousandth of lowest.
func search(lowest, highest float64, try func(rate float64) (bool, error)) (float64, error) {
	good, bad, rate := 0.0, math.Inf(1), lowest
	for range searchTries {
		ok, err := try(rate)
		if err != nil {
			return good, err
		}
		if ok {
			good = rate
		} else {
			bad = rate
		}
		switch {
		case good >= highest, good > 0 && bad/good <= searchPrecision, good == 0 && bad <= lowest/1000:
			return good, nil
		case math.IsInf(bad, 1):
			rate = min(2*rate, highest)
		case good == 0:
			rate = bad / 4
		default:
			rate = math.Sqrt(good * bad)
		}
	}
	return good, nil
}
