package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Verdict of a comparison of times: how many times faster the second is than the first.
type Verdict struct {
	Ratio       Estimate // of the first's to the second's, above 1 if the second is faster
	Rounds      int      // paired, of interleaved measurements
	Interleaved bool     // the interval rests on the spread between rounds; otherwise on that within them
}

// Different tells whether the interval leaves out 1.
func (v Verdict) Different() bool { return v.Ratio.Bounded() && !v.Ratio.Contains(1) }

// String is the sentence of a report, as "faster by 1.23x [1.18, 1.29], 10 rounds".
func (v Verdict) String() string {
	r, rounds := v.Ratio, fmt.Sprintf("%d rounds", v.Rounds)
	if v.Rounds == 1 {
		rounds = "1 round"
	}
	if !v.Interleaved {
		rounds += ", too few to see what changes between them"
	}
	switch {
	case !r.Bounded():
		return fmt.Sprintf("not enough to tell (%s)", rounds)
	case !v.Different():
		return fmt.Sprintf("no difference seen: %.2fx [%.2f, %.2f], %s", r.Value, r.Low, r.High, rounds)
	case r.Value > 1:
		return fmt.Sprintf("faster by %.2fx [%.2f, %.2f], %s", r.Value, r.Low, r.High, rounds)
	default:
		return fmt.Sprintf("slower by %.2fx [%.2f, %.2f], %s", 1/r.Value, 1/r.High, 1/r.Low, rounds)
	}
}

// pairedRounds from which a comparison rests on the rounds alone.
const pairedRounds = 5

// Compare times of two systems measured in rounds, round i of both next to each other; values are in the
// order of time. The figure is the geometric mean over rounds of the ratio of medians, so that what both
// suffer in a round cancels out. From five rounds on, its interval is Student's on the logarithms;
// with fewer it is a bootstrap within the rounds, seeded.
func Compare(first, second [][]float64, confidence float64, seed uint64) Verdict {
	pairs := pair(first, second)
	v := Verdict{Rounds: len(pairs), Interleaved: len(pairs) >= pairedRounds, Ratio: unknown()}
	if len(pairs) == 0 {
		return v
	}
	ratios := make([]float64, len(pairs))
	for i, p := range pairs {
		ratios[i] = QuantileOf(p[0].sorted, 0.5) / QuantileOf(p[1].sorted, 0.5)
	}
	v.Ratio = GeometricMean(ratios, confidence)
	if !v.Interleaved {
		v.Ratio.Low, v.Ratio.High = bootstrapRatio(pairs, confidence, seed)
	}
	return v
}

// CompareRates is Compare for one figure a round, of which more is better.
func CompareRates(first, second []float64, confidence float64) Verdict {
	n := min(len(first), len(second))
	ratios := make([]float64, 0, n)
	for i := range n {
		if first[i] > 0 && second[i] > 0 {
			ratios = append(ratios, second[i]/first[i])
		}
	}
	v := Verdict{Rounds: len(ratios), Interleaved: len(ratios) >= enoughRounds, Ratio: unknown()}
	if len(ratios) > 0 {
		v.Ratio = GeometricMean(ratios, confidence)
	}
	return v
}

// sample of one round: sorted, and what it is worth.
type sample struct {
	sorted    []float64
	effective float64
}

// pair puts rounds that both have beside each other.
func pair(first, second [][]float64) (pairs [][2]sample) {
	for i := range min(len(first), len(second)) {
		if len(first[i]) > 0 && len(second[i]) > 0 {
			pairs = append(pairs, [2]sample{newSample(first[i]), newSample(second[i])})
		}
	}
	return pairs
}

func newSample(series []float64) sample {
	sorted := slices.Sorted(slices.Values(series))
	return sample{sorted: sorted, effective: effectiveAt(series, QuantileOf(sorted, 0.5))}
}

const resamples = 4000

// bootstrapRatio is the percentile interval of the geometric mean over rounds of the ratio of medians.
func bootstrapRatio(pairs [][2]sample, confidence float64, seed uint64) (low, high float64) {
	for _, p := range pairs {
		if min(p[0].effective, p[1].effective) < leastBatch {
			return math.NaN(), math.NaN()
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0x76697472696e65))
	draws := make([]float64, resamples)
	for i := range draws {
		sum := 0.0
		for _, p := range pairs {
			sum += math.Log(p[0].drawMedian(rng) / p[1].drawMedian(rng))
		}
		draws[i] = math.Exp(sum / float64(len(pairs)))
	}
	slices.Sort(draws)
	return QuantileOf(draws, (1-confidence)/2), QuantileOf(draws, (1+confidence)/2)
}

// drawMedian is the median of a resample of m values without making one: its rank, as a share, has the
// distribution Beta((m+1)/2, (m+1)/2), that of the middle of m uniform draws. m is the effective size, so
// that a series that resembles itself varies as much as it should.
func (s sample) drawMedian(rng *rand.Rand) float64 {
	half := (s.effective + 1) / 2
	x, y := drawGamma(rng, half), drawGamma(rng, half)
	return QuantileOf(s.sorted, x/(x+y))
}

// drawGamma draws from Gamma(shape, 1), shape of at least 1 (Marsaglia and Tsang 2000, ACM TOMS 26:363).
func drawGamma(rng *rand.Rand, shape float64) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := (1 + c*x) * (1 + c*x) * (1 + c*x)
		if v > 0 && math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
