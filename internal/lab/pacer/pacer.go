// Package pacer says when requests are due: pure functions of elapsed time and of what was sent.
package pacer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Pacer says when requests are due, counted from the start. It is used by one goroutine at a time, but for
// Closed, which has no state.
type Pacer interface {
	// Next is when the request after the first sent ones is due, now being elapsed. ok is false when there
	// are no more. For all but Closed it depends on sent alone, and never falls as sent grows.
	Next(elapsed time.Duration, sent int) (due time.Duration, ok bool)
}

// Closed is a closed loop: a request is due as soon as somebody is free to send it.
type Closed struct{}

// Next is now.
func (Closed) Next(elapsed time.Duration, _ int) (time.Duration, bool) { return elapsed, true }

// Constant sends Rate requests a second, evenly spaced, the first one at once.
type Constant struct{ Rate float64 }

// Next is sent/Rate.
func (c Constant) Next(_ time.Duration, sent int) (time.Duration, bool) {
	return seconds(float64(sent) / c.Rate), true
}

// Poisson is independent arrivals, Rate a second on average: gaps are exponentially distributed. The same
// seed gives the same instants.
type Poisson struct {
	rate  float64
	seed  uint64
	rng   *rand.Rand
	drawn int
	last  float64 // seconds, of arrival drawn-1
}

// NewPoisson returns arrivals at a rate.
func NewPoisson(rate float64, seed uint64) *Poisson {
	p := &Poisson{rate: rate, seed: seed}
	p.rewind()
	return p
}

func (p *Poisson) rewind() {
	p.rng, p.drawn, p.last = rand.New(rand.NewPCG(p.seed, 0x5bd1e995)), 0, 0
}

// Next is the arrival after sent others. Calls in order cost one draw; going back draws anew.
func (p *Poisson) Next(_ time.Duration, sent int) (time.Duration, bool) {
	if sent < p.drawn-1 {
		p.rewind()
	}
	for p.drawn <= sent {
		p.last += p.rng.ExpFloat64() / p.rate
		p.drawn++
	}
	return seconds(p.last), true
}

// Replay sends at given instants, in order.
type Replay struct{ At []time.Duration }

// NewReplay sorts the instants.
func NewReplay(at []time.Duration) Replay {
	at = slices.Clone(at)
	slices.Sort(at)
	return Replay{at}
}

// Next is the next instant, none after the last.
func (r Replay) Next(_ time.Duration, sent int) (time.Duration, bool) {
	if sent >= len(r.At) {
		return 0, false
	}
	return r.At[sent], true
}

// Ramp changes the rate evenly from From to To requests a second over Over and then stays there.
type Ramp struct {
	From, To float64
	Over     time.Duration
}

// Next solves From t + (To-From) t²/(2 Over) = sent for t, and goes on at To after Over.
func (r Ramp) Next(_ time.Duration, sent int) (time.Duration, bool) {
	n, over := float64(sent), r.Over.Seconds()
	if within := (r.From + r.To) / 2 * over; n >= within {
		if r.To <= 0 {
			return 0, false
		}
		return seconds(over + (n-within)/r.To), true
	}
	a := (r.To - r.From) / (2 * over)
	if a == 0 {
		return seconds(n / r.From), true
	}
	// The root that is stable where a is small: 2n / (From + sqrt(From² + 4 a n)).
	return seconds(2 * n / (r.From + math.Sqrt(r.From*r.From+4*a*n))), n > 0 || r.From > 0 || a > 0
}

// Open returns the pacer that a study calls constant or poisson.
func Open(arrival string, rate float64, seed uint64) (Pacer, error) {
	if rate <= 0 || rate > 1e9 || math.IsNaN(rate) {
		return nil, fmt.Errorf("pacer: a rate of %v requests a second", rate)
	}
	switch arrival {
	case "constant":
		return Constant{rate}, nil
	case "poisson", "":
		return NewPoisson(rate, seed), nil
	}
	return nil, fmt.Errorf("pacer: unknown arrivals %q: constant and poisson exist", arrival)
}

// seconds is a duration, the longest one where it would overflow.
func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(s * 1e9)
}
