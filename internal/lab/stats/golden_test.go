package stats

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// golden is what testdata/golden.py wrote from numpy and scipy.
type golden struct {
	Beta      [][4]float64 `json:"beta"`
	Student   [][3]float64 `json:"student"`
	Quantiles []struct {
		Values, Q, Want []float64
	} `json:"quantiles"`
	Ranks   [][4]float64 `json:"ranks"`
	Minimum [][2]float64 `json:"minimum"`
	Means   []struct {
		Values []float64
		Want   [3]float64
	} `json:"means"`
}

func load(t *testing.T) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func near(got, want, relative float64) bool {
	return math.Abs(got-want) <= relative*math.Abs(want)+1e-300
}

func TestDistributionsAgreeWithScipy(t *testing.T) {
	g := load(t)
	for _, c := range g.Beta {
		// Large parameters cost digits in the logarithms of the gamma function, here and there.
		if got := betaInc(c[0], c[1], c[2]); math.Abs(got-c[3]) > 1e-9 {
			t.Errorf("I_%g(%g, %g) = %.12g, want %.12g", c[0], c[1], c[2], got, c[3])
		}
	}
	for _, c := range g.Student {
		if got := studentQuantile(c[0], c[1]); !near(got, c[2], 1e-9) {
			t.Errorf("t(%g, %g) = %.12g, want %.12g", c[0], c[1], got, c[2])
		}
	}
	if len(g.Beta) == 0 || len(g.Student) == 0 {
		t.Error("no cases")
	}
}

func TestQuantilesAgreeWithNumpy(t *testing.T) {
	for _, c := range load(t).Quantiles {
		slices.Sort(c.Values)
		for i, q := range c.Q {
			if got := QuantileOf(c.Values, q); !near(got, c.Want[i], 1e-12) {
				t.Errorf("n %d, q %g: %g, want %g", len(c.Values), q, got, c.Want[i])
			}
		}
	}
}

func TestRanksAgreeWithScipy(t *testing.T) {
	for _, c := range load(t).Ranks {
		l, u := ranks(int(c[0]), c[1], 0.95)
		if l != int(c[2]) || u != int(c[3]) {
			t.Errorf("n %g, q %g: ranks %d, %d, want %g, %g", c[0], c[1], l, u, c[2], c[3])
		}
	}
}

func TestMinimumSamplesAreLoadGens(t *testing.T) {
	for _, c := range load(t).Minimum {
		if got := MinimumSample(c[0]); got != int(c[1]) {
			t.Errorf("q %g: %d, want %g", c[0], got, c[1])
		}
	}
	for q, want := range map[float64]int{0.9: 64, 0.95: 130, 0.99: 662, 0.999: 6636} {
		if Carries(want-1, q) || !Carries(want, q) {
			t.Errorf("q %g: %d is not the limit", q, want)
		}
	}
}

func TestMeansAgreeWithScipy(t *testing.T) {
	for _, c := range load(t).Means {
		e := Mean(c.Values, 0.95)
		for i, got := range []float64{e.Value, e.Low, e.High} {
			if !near(got, c.Want[i], 1e-9) {
				t.Errorf("n %d: %+v, want %v", len(c.Values), e, c.Want)
			}
		}
	}
}
