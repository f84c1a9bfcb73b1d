package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// lognormal latencies with a median of 10.
func lognormal(rng *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = 10 * math.Exp(0.5*rng.NormFloat64())
	}
	return out
}

// autoregressive is a series around mean, each value phi of the last plus noise.
func autoregressive(rng *rand.Rand, n int, mean, phi float64) []float64 {
	out := make([]float64, n)
	x := rng.NormFloat64() / math.Sqrt(1-phi*phi)
	for i := range out {
		out[i] = mean + x
		x = phi*x + rng.NormFloat64()
	}
	return out
}

// coverage is how often the interval of a drawn sample holds the truth.
func coverage(trials int, truth float64, draw func(*rand.Rand) Estimate) float64 {
	rng := seeded(1)
	hits := 0
	for range trials {
		if e := draw(rng); e.Bounded() && e.Contains(truth) {
			hits++
		}
	}
	return float64(hits) / float64(trials)
}

// TestIntervalsCover: an interval of 95 % holds the truth in 95 % of samples, within what 1,000 trials can
// tell (a deviation is 0.7 %) and what the method is known to miss by.
func TestIntervalsCover(t *testing.T) {
	z99 := 10 * math.Exp(0.5*2.3263478740408408)
	for _, c := range []struct {
		name      string
		truth     float64
		low, high float64
		draw      func(*rand.Rand) Estimate
	}{
		{"median of 30", 10, 0.945, 0.985, func(r *rand.Rand) Estimate {
			return Quantile(slices.Sorted(slices.Values(lognormal(r, 30))), 0.5, 0.95)
		}},
		{"median of 500", 10, 0.94, 0.97, func(r *rand.Rand) Estimate {
			return Quantile(slices.Sorted(slices.Values(lognormal(r, 500))), 0.5, 0.95)
		}},
		{"p99 of 1,000", z99, 0.945, 0.985, func(r *rand.Rand) Estimate {
			return Quantile(slices.Sorted(slices.Values(lognormal(r, 1000))), 0.99, 0.95)
		}},
		{"mean of 10", 5, 0.94, 0.96, func(r *rand.Rand) Estimate { return Mean(autoregressive(r, 10, 5, 0), 0.95) }},
		{"mean of a series of 600", 5, 0.90, 0.96, func(r *rand.Rand) Estimate { return SeriesMean(autoregressive(r, 600, 5, 0.8), 0.95) }},
		{"median of a series of 600", 5, 0.92, 0.98, func(r *rand.Rand) Estimate {
			return RoundsQuantile([][]float64{autoregressive(r, 600, 5, 0.8)}, 0.5, 0.95)
		}},
		{"mean of four shifting rounds", 5, 0.935, 0.965, func(r *rand.Rand) Estimate {
			rounds := make([][]float64, 4)
			for i := range rounds {
				rounds[i] = autoregressive(r, 50, 5+r.NormFloat64(), 0)
			}
			return RoundsMean(rounds, 0.95)
		}},
		{"rate", 1000, 0.93, 0.97, func(r *rand.Rand) Estimate { return Rate(poisson(r, 1000, 2e9), 0, 2e9, 0.95) }},
		{"rate of a steady server", 1000, 0.92, 0.98, func(r *rand.Rand) Estimate {
			var events []int64
			for at := 0.0; at < 1e8; at += 1e6 * (1 + 0.05*r.NormFloat64()) {
				events = append(events, int64(at))
			}
			return Rate(events[1:], 0, events[len(events)-1]+1, 0.95)
		}},
		{"rate of two rounds", 1000, 0.93, 0.975, func(r *rand.Rand) Estimate {
			return RoundsRate([]Span{{poisson(r, 1000, 1e9), 0, 1e9}, {poisson(r, 1000, 1e9), 0, 1e9}}, 0.95)
		}},
		{"ratio of sums", 1.5, 0.92, 0.96, func(r *rand.Rand) Estimate {
			num, den := make([]float64, 40), make([]float64, 40)
			for i := range num {
				den[i] = 50 + 10*r.NormFloat64()
				num[i] = 1.5*den[i] + r.NormFloat64()
			}
			return RatioOfSums(num, den, 0.95)
		}},
		{"faster by 1.25 in ten shifting rounds", 1.25, 0.93, 0.965, func(r *rand.Rand) Estimate { return rounds(r, 10, 40, 1.25).Ratio }},
		{"faster by 1.25 in two rounds", 1.25, 0.93, 0.985, func(r *rand.Rand) Estimate { return rounds(r, 2, 100, 1.25).Ratio }},
	} {
		if got := coverage(1000, c.truth, c.draw); got < c.low || got > c.high {
			t.Errorf("%s: covers %.1f %%, want %.1f to %.1f", c.name, 100*got, 100*c.low, 100*c.high)
		}
	}
}

// poisson events at rate a second until end (ns).
func poisson(rng *rand.Rand, rate, end float64) (events []int64) {
	for at := rng.ExpFloat64() / rate * 1e9; at < end; at += rng.ExpFloat64() / rate * 1e9 {
		events = append(events, int64(at))
	}
	return events
}

// rounds of two systems, the second faster by a factor, in a world that changes from round to round.
func rounds(rng *rand.Rand, n, each int, factor float64) Verdict {
	var a, b [][]float64
	for range n {
		world := math.Exp(0.3 * rng.NormFloat64())
		one, two := lognormal(rng, each), lognormal(rng, each)
		for i := range one {
			one[i] *= world * factor
			two[i] *= world
		}
		a, b = append(a, one), append(b, two)
	}
	return Compare(a, b, 0.95, 1)
}

func TestVerdictsWithoutDifferenceAreRarelyWrong(t *testing.T) {
	rng := seeded(3)
	wrong := 0
	for range 1000 {
		if rounds(rng, 6, 40, 1).Different() {
			wrong++
		}
	}
	if wrong > 75 { // 5 % and three and a half deviations
		t.Errorf("%d of 1,000 equal pairs were told apart", wrong)
	}
}

func TestVerdictIsDeterministic(t *testing.T) {
	a, b := rounds(seeded(5), 3, 50, 1.1), rounds(seeded(5), 3, 50, 1.1)
	if a != b {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestVerdictSentences(t *testing.T) {
	of := func(v, lo, hi float64) Estimate { return Estimate{Value: v, Low: lo, High: hi} }
	for want, v := range map[string]Verdict{
		"faster by 1.23x [1.18, 1.29], 10 rounds":                                         {of(1.231, 1.18, 1.29), 10, true},
		"slower by 2.00x [1.60, 2.50], 7 rounds":                                          {of(0.5, 0.4, 0.625), 7, true},
		"no difference seen: 1.01x [0.97, 1.04], 10 rounds":                               {of(1.01, 0.97, 1.04), 10, true},
		"faster by 1.20x [1.10, 1.30], 1 round, too few to see what changes between them": {of(1.2, 1.1, 1.3), 1, false},
		"not enough to tell (0 rounds, too few to see what changes between them)":         {Ratio: unknown()},
	} {
		if got := v.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCompareRates(t *testing.T) {
	v := CompareRates([]float64{100, 110, 90}, []float64{200, 221, 179}, 0.95)
	if !v.Different() || !v.Ratio.Contains(2) || v.Rounds != 3 {
		t.Errorf("%+v", v)
	}
}

func TestEffectiveSize(t *testing.T) {
	rng := seeded(9)
	// An autoregressive series is worth n(1-phi)/(1+phi).
	for _, phi := range []float64{0, 0.5, 0.9} {
		want := 20000 * (1 - phi) / (1 + phi)
		if got := EffectiveSize(autoregressive(rng, 20000, 0, phi)); got < 0.8*want || got > 1.2*want {
			t.Errorf("phi %g: %g, want %g", phi, got, want)
		}
	}
	if got := EffectiveSize(autoregressive(rng, 200_000, 0, 0.5)); got < 0.8*200_000/3 || got > 1.2*200_000/3 {
		t.Errorf("long series: %g", got)
	}
	if got := EffectiveSize([]float64{3, 3, 3, 3, 3}); got != 5 {
		t.Errorf("constant: %g", got)
	}
}

func TestSmallSamplesHaveNoEnds(t *testing.T) {
	e := Quantile([]float64{1, 2, 3}, 0.5, 0.95)
	if e.Value != 2 || e.Bounded() || !math.IsNaN(e.Low) || !math.IsNaN(e.High) {
		t.Errorf("median of three: %+v", e)
	}
	for name, e := range map[string]Estimate{
		"quantile": Quantile(nil, 0.5, 0.95), "mean": Mean(nil, 0.95), "series": SeriesMean(nil, 0.95),
		"rounds": RoundsMean(nil, 0.95), "rate": Rate(nil, 5, 5, 0.95), "ratio": RatioOfSums(nil, nil, 0.95), "spans": RoundsRate(nil, 0.95),
	} {
		if !math.IsNaN(e.Value) || e.Bounded() {
			t.Errorf("%s of nothing: %+v", name, e)
		}
	}
	if e := Mean([]float64{4}, 0.95); e.Value != 4 || e.Bounded() {
		t.Errorf("mean of one: %+v", e)
	}
}

func TestLittle(t *testing.T) {
	if got := Little(200, 0.16); got != 32 {
		t.Errorf("%g", got)
	}
}

// The curve of the reference's four cards, one that still rises, one that is flat, one point.
func TestSaturate(t *testing.T) {
	for _, c := range []struct {
		curve []float64
		want  Saturation
	}{
		{[]float64{3.4, 11, 20.2, 31.9, 43.2, 37.4, 37.1}, Saturation{Peak: 4, Knee: 4, Declines: true, Reached: true}},
		{[]float64{10, 20, 40}, Saturation{Peak: 2, Knee: 2}},
		{[]float64{10, 50, 51, 52}, Saturation{Peak: 3, Knee: 1, Reached: true}},
		{[]float64{7}, Saturation{}},
	} {
		if got, ok := Saturate(c.curve); got != c.want || !ok {
			t.Errorf("%v: %+v, want %+v", c.curve, got, c.want)
		}
	}
	if _, ok := Saturate(nil); ok {
		t.Error("no points, and yet ok")
	}
}
