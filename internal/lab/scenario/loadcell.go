package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/load"
	"github.com/vitrine-project/vitrine/internal/lab/pacer"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/stats"
	"github.com/vitrine-project/vitrine/internal/lab/watch"
)

// load measures a cell that sends requests: closed loops, open loops and engines in process.
func (r *Runner) load(ctx context.Context, j *job) outcome {
	s, err := r.open(ctx, j)
	if err != nil {
		return failed(err)
	}
	defer s.close()
	o, _ := r.loadOn(ctx, j, s)
	return o
}

// measuredLoad is what a load came to.
type measuredLoad struct {
	load.Summary
	ledger *ledger
}

// loadOn measures a cell on a target that is open.
func (r *Runner) loadOn(ctx context.Context, j *job, s *subject) (outcome, measuredLoad) {
	pace, err := r.pacer(j)
	if err != nil {
		return failed(err), measuredLoad{}
	}
	watched := r.watch(ctx, j)
	p, book := j.params(), &ledger{log: r.Log, cell: j.id}
	sum, err := load.Run(ctx, load.Config{
		Target: s.Target, Requests: s.requests, Pacer: pace, Workers: p.Concurrency, Warmup: p.Warmup,
		Warmed:   func() { watched.start(ctx) },
		Duration: p.Duration, MaxRequests: p.Requests, Timeout: p.Timeout,
		Log: book.worker, Clock: r.now, Progress: r.meter,
	})
	counted := watched.stop()
	m := measuredLoad{sum, book}
	if err != nil {
		return failed(err), m
	}
	o := outcome{status: sum.Status, reasons: sum.Reasons, elapsed: sum.Elapsed, harness: sum.Harness,
		checks: append(counted.check(m), little(j, m)...), line: line(sum)}
	o.reasons = append(o.reasons, counted.warnings()...)
	o.own(j, m)
	return o.heed(), m
}

// pacer is the cell's arrivals: a closed loop, or a rate. Rounds have arrivals of their own.
func (r *Runner) pacer(j *job) (pacer.Pacer, error) {
	if j.params().Rate == 0 {
		return pacer.Closed{}, nil
	}
	return pacer.Open(j.params().Arrival, j.params().Rate, r.Seed+uint64(j.run.Round))
}

// heed makes a cell whose counts disagree with the server's invalid.
func (o outcome) heed() outcome {
	for _, c := range o.checks {
		if c.OK {
			continue
		}
		o.reasons = append(o.reasons, fmt.Sprintf("the check %s fails: %.6g here, %.6g there", c.Name, c.Want, c.Got))
		if o.status == record.OK {
			o.status = record.Invalid
		}
	}
	return o
}

// littleWithin is how far Little's law may be off: requests at both ends of the measured time are in part
// outside it.
const littleWithin = 0.1

// little checks a closed loop with Little's law: throughput times mean latency is the number of requests
// under way, which is the number of clients less the share of the time that they spend between an answer and
// the next request. Short cells say nothing, since what their ends cut off weighs as much as the rest.
func little(j *job, s measuredLoad) []record.Check {
	clients := closedClients(j, s)
	if clients == 0 {
		return nil
	}
	got := stats.Little(float64(s.OK)/s.Elapsed.Seconds(), s.ledger.busy().Seconds()/float64(len(s.ledger.latencies())))
	want := float64(clients) - s.ledger.between().Seconds()/s.Elapsed.Seconds()
	return []record.Check{{Name: "littles_law", Want: want, Got: got, OK: math.Abs(got-want) <= littleWithin*float64(clients)}}
}

// closedClients are the clients of a closed loop of which enough was seen, else 0.
func closedClients(j *job, s measuredLoad) int {
	clients := j.params().Concurrency
	if j.params().Rate > 0 || s.Failed > 0 || s.OK < 50*clients {
		return 0
	}
	return clients
}

// The clients' own time, as a share of the measured time of all of them.
const (
	ownNamed   = 0.1 // from here on the cell says it
	ownInvalid = 0.5 // from here on the throughput is the harness's and not the server's
)

// own judges what a closed loop's clients spent between an answer and the next request. It is in no latency,
// but it bounds the throughput: with one client, requests a second are 1/(latency + own time).
func (o *outcome) own(j *job, s measuredLoad) {
	clients := closedClients(j, s)
	if clients == 0 {
		return
	}
	share := s.ledger.between().Seconds() / (s.Elapsed.Seconds() * float64(clients))
	if share < ownNamed {
		return
	}
	o.reasons = append(o.reasons, fmt.Sprintf("%.0f %% of the clients' time lies between their requests: the server could answer more a second, latencies are not affected", 100*share))
	if share >= ownInvalid && o.status == record.OK {
		o.status = record.Invalid
	}
}

// line is a measurement for the screen.
func line(s load.Summary) string {
	text := fmt.Sprintf("%d requests, %.4g/s, p50 %s", s.OK, float64(s.OK)/max(s.Elapsed.Seconds(), 1e-9), watch.Milliseconds(s.P50))
	if s.Images != s.OK {
		text += fmt.Sprintf(", %.4g images/s", s.Throughput())
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed: %s", s.Failed, s.FirstFail)
	}
	return text
}

// idle samples a server that gets no requests.
func (r *Runner) idle(ctx context.Context, j *job) outcome {
	began := time.Now()
	watched := r.watch(ctx, j)
	watched.start(ctx)
	if watched.nothing() {
		return failed(errors.New("no metrics to read: --metrics-url or --device-metrics-url names them"))
	}
	wait := time.NewTimer(j.params().Duration)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	counted := watched.stop()
	if err := errors.Join(counted.err, counted.devicesErr); err != nil {
		return failed(err)
	}
	return outcome{elapsed: time.Since(began), line: fmt.Sprintf("%d samples", counted.samples)}
}

// rateSearch looks for the highest rate that meets the bound. Its tries are cells of their own.
func (r *Runner) rateSearch(ctx context.Context, j *job) outcome {
	s, err := r.open(ctx, j)
	if err != nil {
		return failed(err)
	}
	defer s.close()
	began, tries, doubt := time.Now(), 0, math.Inf(1)
	rate, err := search(r.Lowest, r.Highest, func(rate float64) (bool, error) {
		for again := range invalidTries {
			tries++
			status, met, err := r.try(ctx, j, s, rate)
			if err != nil || status != record.Invalid {
				return met, err
			}
			if again+1 == invalidTries {
				doubt = min(doubt, rate)
			}
		}
		return false, nil
	})
	if err != nil {
		return failed(err)
	}
	if rate == 0 {
		return outcome{status: record.Failed, elapsed: time.Since(began), reasons: []string{"no rate meets the bound"}}
	}
	p := j.params()
	o := r.measured(began, record.Measure{Cell: j.id, Name: "highest_rate", Unit: "requests/s", Values: []float64{rate},
		Note: fmt.Sprintf("p%.6g within %v, %d tries of %v, to %.0f %%", 100*p.Quantile, p.Bound, tries, p.Duration, 100*(searchPrecision-1))})
	if doubt <= rate*searchPrecision {
		o.reasons = append(o.reasons, fmt.Sprintf("the search ended at %.4g requests/s because this program could not keep to it, not by the bound: the server may do more", doubt))
	}
	return o
}

// invalidTries is how often a rate is tried of which this program made a mess.
const invalidTries = 3

// try measures one rate as an open loop, and tells how it ended and whether the bound was met.
func (r *Runner) try(ctx context.Context, j *job, s *subject, rate float64) (status string, met bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return "", false, err
	}
	t := *j
	r.ids++
	t.id = r.ids
	c := &t.run.Cell
	c.Scenario, c.Params.Rate, c.Params.Bound, c.Params.Quantile = record.OpenLoop, rate, 0, 0
	c.Key = plan.Key(*c)
	if err := r.Log.Write(record.Cell{ID: t.id, Key: c.Key, Step: c.Step, Scenario: c.Scenario, Subject: t.target.Name,
		Params: c.Params, Round: t.run.Round, At: r.now()}); err != nil {
		return "", false, err
	}
	o, sum := r.loadOn(ctx, &t, s)
	if err := r.end(&t, o); err != nil {
		return "", false, err
	}
	within := sum.ledger != nil && meets(sum.ledger.latencies(), j.params().Quantile, j.params().Bound)
	return o.status, o.status == record.OK && sum.Failed == 0 && within, nil
}
