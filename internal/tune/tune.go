// Package tune finds out which of several engines is fastest on this machine, and keeps the answer.
// Only engines of one precision are compared: a faster answer in another vector space is no answer.
package tune

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Candidate is an engine to try; Name tells it from the others and is what a choice says.
type Candidate struct {
	Name string
	// Open makes the engine in a precision for batches of up to most images.
	Open func(ctx context.Context, p engine.Precision, most int) (engine.Engine, error)
}

// Timing is how long an engine takes for a batch.
type Timing struct {
	Batch  int           `json:"batch"`
	Median time.Duration `json:"median_ns"`
	Runs   int           `json:"runs"`
}

// Throughput is images a second.
func (t Timing) Throughput() float64 { return float64(t.Batch) / t.Median.Seconds() }

// Result is what was found out about one candidate in one precision.
type Result struct {
	Engine    string           `json:"engine"`
	Precision engine.Precision `json:"precision"`
	Variant   string           `json:"variant,omitempty"`
	Device    string           `json:"device,omitempty"`   // as Spec has it
	Start     time.Duration    `json:"start_ns,omitempty"` // to make the engine
	Timings   []Timing         `json:"timings,omitempty"`
	Error     string           `json:"error,omitempty"` // why it was not timed
}

// Speed is the geometric mean of images a second over the batch sizes: no size counts more than another
// for being slower. 0 is a candidate that was not timed.
func (r *Result) Speed() float64 {
	if len(r.Timings) == 0 {
		return 0
	}
	sum := 0.0
	for _, t := range r.Timings {
		sum += math.Log(t.Throughput())
	}
	return math.Exp(sum / float64(len(r.Timings)))
}

// OnCard tells whether it was timed on a card.
func (r *Result) OnCard() bool { return strings.HasPrefix(r.Device, "cuda") }

// Bounds are how long one batch size is timed.
type Bounds struct {
	Runs   int           // at most
	Within time.Duration // no further run is begun after it, but three are made
}

// leastRuns make a median.
const leastRuns = 3

// Measure times the candidates in the precisions at the batch sizes. Engines are open one at a time, so
// that none takes another's memory or processors. An engine that fails is a result; only ctx's end is an
// error.
func Measure(ctx context.Context, all []Candidate, precisions []engine.Precision, batches []int, b Bounds, done func(*Result)) ([]Result, error) {
	var results []Result
	for _, p := range precisions {
		for _, c := range all {
			r := measure(ctx, c, p, batches, b)
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			results = append(results, r)
			done(&r)
		}
	}
	return results, nil
}

func measure(ctx context.Context, c Candidate, p engine.Precision, batches []int, b Bounds) Result {
	r := Result{Engine: c.Name, Precision: p}
	began := time.Now()
	e, err := c.Open(ctx, p, slices.Max(batches))
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer e.Close()
	r.Start, r.Variant, r.Device = time.Since(began), e.Spec().Variant, e.Spec().Device
	if got := e.Spec().Precision; got != p {
		r.Error = fmt.Sprintf("it computes in %s", got)
		return r
	}
	for _, n := range batches {
		t, err := timed(ctx, e, n, b)
		if err != nil {
			r.Error, r.Timings = err.Error(), nil
			return r
		}
		r.Timings = append(r.Timings, t)
	}
	return r
}

// timed runs batches of n and takes the median; the first run does not count.
func timed(ctx context.Context, e engine.Engine, n int, b Bounds) (Timing, error) {
	rows, out := make([]tensor.Row, n), make([][]float32, n)
	for i := range rows {
		row, err := e.NewRow(e.Spec().Formats[0])
		if err != nil {
			return Timing{}, err
		}
		defer row.Release()
		for j, p := 0, row.Bytes(); j < len(p); j++ {
			p[j] = byte(j*7 + i) // some picture: the work does not depend on it
		}
		rows[i], out[i] = row, make([]float32, e.Spec().Dim())
	}
	var times []time.Duration
	began := time.Now()
	for len(times) <= b.Runs && (len(times) <= leastRuns || time.Since(began) < b.Within) {
		start := time.Now()
		if _, err := e.Run(ctx, rows, out); err != nil {
			return Timing{}, err
		}
		times = append(times, time.Since(start))
	}
	times = times[1:]
	slices.Sort(times)
	return Timing{Batch: n, Median: times[len(times)/2], Runs: len(times)}, nil
}

// Best is the fastest result in a precision, nil if none was timed.
func Best(results []Result, p engine.Precision) *Result {
	var best *Result
	for i := range results {
		r := &results[i]
		if r.Precision == p && r.Speed() > 0 && (best == nil || r.Speed() > best.Speed()) {
			best = r
		}
	}
	return best
}
