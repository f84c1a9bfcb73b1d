package figure

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		f    Figure
		want string
	}{
		{Figure{}, "—"},
		{Point(Millis, 1842.24, 0), "1,842 ms"},
		{Point(Millis, 52.5, 0), "52.5 ms"},
		{Point(Millis, 0.01, 0), "0.01 ms"},
		{Of(Millis, 0.0024, 0.0019, 0.0030, 9), "2.4 µs (1.9–3.0)"},
		{Of(Millis, 55.83, 55.12, 56.61, 30), "55.8 ms (55.1–56.6)"},
		{Of(Millis, 55.83, 40.1, 71.9, 30), "56 ms (40–72)"},
		{Of(Images, 43.2164, 43.205, 43.229, 30), "43.216 img/s (43.205–43.229)"},
		{Of(Images, 12645, 12100, 13200, 30), "12,645 img/s (12,100–13,200)"},
		{Point(Bytes, 602112, 0), "588 KiB"},
		{Point(Bytes, 97632256, 0), "95,344 KiB"},
		{Point(Bytes, 3.3*(1<<30), 0), "3.3 GiB"},
		{Point(Bytes, 351797248, 0), "335.5 MiB"},
		{Point(Bytes, 13, 0), "13 B"},
		{Point(Times, 4799, 0), "4,799×"},
		{Point(Dollars, 0.0231, 0), "$0.0231"},
		{Point(Percent, 91.7, 0), "91.7 %"},
		{Point(Count, -1234567, 0), "-1,234,567"},
		{Of(Millis, 5, 5, 5, 9), "5 ms"},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
}

// The interval of a ratio must hold the true ratio about as often as it says.
func TestRatioCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const trials = 4000
	held := 0
	for range trials {
		a, b := sampleMean(rng, 30, 3), sampleMean(rng, 20, 4)
		if r := Ratio(a, b, Times); r.Low <= 1.5 && 1.5 <= r.High {
			held++
		}
	}
	if share := float64(held) / trials; share < 0.93 || share > 0.97 {
		t.Errorf("a 95 %% interval held the ratio in %.1f %%", 100*share)
	}
}

func sampleMean(rng *rand.Rand, mean, dev float64) Figure {
	const n = 100
	var sum, sq float64
	for range n {
		x := mean + dev*rng.NormFloat64()
		sum, sq = sum+x, sq+x*x
	}
	m := sum / n
	half := 1.984 * math.Sqrt((sq/n-m*m)/(n-1))
	return Of(Millis, m, m-half, m+half, n)
}

func TestClaimsNeedIntervals(t *testing.T) {
	a, b := Point(Millis, 100, 1), Point(Millis, 1, 1)
	if Apart(a, b) || Ratio(a, b, Times).Above(2) {
		t.Error("figures without intervals supported a claim")
	}
	c, d := Of(Millis, 10, 9, 11, 9), Of(Millis, 20, 18, 22, 9)
	if !Apart(c, d) || !Ratio(d, c, Times).Above(1.5) {
		t.Error("figures far apart were not told apart")
	}
	if half := Of(Millis, 20, 18, math.NaN(), 9); !Apart(c, half) || !Apart(half, c) || Apart(Of(Millis, 30, 25, 35, 9), half) {
		t.Error("a figure with a lower end alone was not told from what lies below it, or was from what lies above")
	}
	if Apart(c, Of(Millis, 10.5, 9.5, 11.5, 9)) {
		t.Error("overlapping figures were told apart")
	}
}

func TestInverseAndMinusAndShare(t *testing.T) {
	f := Of(Images, 50, 40, 80, 9)
	if g := f.Inverse(1000, Millis); g.Value != 20 || g.Low != 12.5 || g.High != 25 {
		t.Errorf("inverse %+v", g)
	}
	d := Minus(Of(Millis, 10, 7, 13, 5), Of(Millis, 4, 0, 8, 5))
	if d.Value != 6 || d.Low != 1 || d.High != 11 {
		t.Errorf("minus %+v", d)
	}
	if s := Share(Of(Millis, 5, 4, 12, 5), Of(Millis, 10, 9, 11, 5)); s.Value != 50 || s.Low != 40 || s.High != 100 {
		t.Errorf("share %+v", s)
	}
}

func TestJSON(t *testing.T) {
	for want, f := range map[string]Figure{
		`null`: {}, `{"value":2,"n":3,"unit":"ms"}`: Point(Millis, 2, 3),
		`{"value":2,"low":1,"high":3,"unit":"W"}`: Of(Watts, 2, 1, 3, 0),
	} {
		if got, err := json.Marshal(f); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
