package pacer

import (
	"math"
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		p    Pacer
		sent int
		want time.Duration
		ok   bool
	}{
		{"closed is now", Closed{}, 9, 123 * ms, true},
		{"constant begins at once", Constant{200}, 0, 0, true},
		{"constant", Constant{200}, 3, 15 * ms, true},
		{"constant, far on", Constant{1e6}, 3e9, 3000 * time.Second, true},
		{"constant, slow", Constant{0.25}, 1, 4 * time.Second, true},
		{"replay sorts", NewReplay([]time.Duration{7 * ms, 2 * ms}), 0, 2 * ms, true},
		{"replay", NewReplay([]time.Duration{7 * ms, 2 * ms}), 1, 7 * ms, true},
		{"replay ends", NewReplay([]time.Duration{7 * ms}), 1, 0, false},
		{"ramp begins at once", Ramp{10, 30, 10 * time.Second}, 0, 0, true},
		// 10 t + t² = 75 at t = 5; 200 in the ten seconds, then 30 a second.
		{"ramp up", Ramp{10, 30, 10 * time.Second}, 75, 5 * time.Second, true},
		{"after the ramp", Ramp{10, 30, 10 * time.Second}, 260, 12 * time.Second, true},
		// 30 t - t² = 125 at t = 5.
		{"ramp down", Ramp{30, 10, 10 * time.Second}, 125, 5 * time.Second, true},
		{"ramp from nothing", Ramp{0, 20, 10 * time.Second}, 25, 5 * time.Second, true},
		{"ramp to nothing ends", Ramp{20, 0, 10 * time.Second}, 100, 0, false},
		{"level ramp", Ramp{10, 10, time.Second}, 5, 500 * ms, true},
	} {
		got, ok := c.p.Next(123*ms, c.sent)
		if ok != c.ok || ok && (got-c.want).Abs() > time.Microsecond {
			t.Errorf("%s: %v %v, want %v %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

// Gaps of a Poisson process have mean 1/rate, as large a deviation, and exceed their mean with
// probability 1/e. The bounds are five standard errors.
func TestPoissonGaps(t *testing.T) {
	const n, rate = 20000, 50.0
	p := NewPoisson(rate, 42)
	var sum, squares float64
	above, last := 0, 0.0
	for i := range n {
		at, _ := p.Next(0, i)
		gap := (at.Seconds() - last) * rate
		last = at.Seconds()
		if gap < 0 {
			t.Fatalf("arrival %d is before the one before it", i)
		}
		sum += gap
		squares += gap * gap
		if gap > 1 {
			above++
		}
	}
	within := func(what string, got, want, bound float64) {
		if math.Abs(got-want) > bound {
			t.Errorf("%s is %.4f, want %.4f ± %.4f", what, got, want, bound)
		}
	}
	within("mean gap", sum/n, 1, 5/math.Sqrt(n))
	within("mean square", squares/n, 2, 5*math.Sqrt(20.0/n))
	within("share above the mean", float64(above)/n, 1/math.E, 5*math.Sqrt(0.2325/n))
}

func TestPoissonIsAFunction(t *testing.T) {
	p, again, other := NewPoisson(10, 1), NewPoisson(10, 1), NewPoisson(10, 2)
	ten, _ := p.Next(0, 10)
	if got, _ := again.Next(time.Hour, 10); got != ten {
		t.Error("elapsed time changes an arrival")
	}
	three, _ := again.Next(0, 3)
	_, _ = p.Next(0, 3)
	if got, _ := p.Next(0, 3); got != three {
		t.Error("asking again changes an arrival")
	}
	if got, _ := p.Next(0, 10); got != ten {
		t.Error("going back changes an arrival")
	}
	if got, _ := other.Next(0, 10); got == ten {
		t.Error("another seed gives the same arrival")
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		arrival string
		rate    float64
		ok      bool
	}{{"constant", 5, true}, {"poisson", 5, true}, {"", 5, true}, {"bursts", 5, false}, {"constant", 0, false}, {"poisson", math.NaN(), false}} {
		if _, err := Open(c.arrival, c.rate, 1); (err == nil) != c.ok {
			t.Errorf("Open(%q, %v): %v", c.arrival, c.rate, err)
		}
	}
}
