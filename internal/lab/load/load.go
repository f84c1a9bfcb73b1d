// Package load sends requests when they are due and records each of them.
//
// Latency counts from the instant at which a request was due, not from when it could be sent: a server that
// stalls for a second delays every request that was due in it, and the record shows all of them.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/pacer"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// Log takes one worker's requests. Where it has a method Close, that is called when the worker ends.
type Log interface{ Add(record.Request) }

// Progress counts requests while they run; watch.Meter is one. Its methods are called by many goroutines.
type Progress interface {
	Sent()
	Answered(latency time.Duration, images int, ok bool)
}

// Config is one measurement.
type Config struct {
	Target   target.Target
	Requests []target.Request // sent in turn; one is enough
	// Pacer says when requests are due; nil is pacer.Closed.
	Pacer pacer.Pacer
	// Workers is the number of clients of a closed loop (0 is 1), and how many connections an open loop
	// begins with.
	Workers int
	// MaxWorkers is how many connections an open loop may grow to; 0 is 1,024.
	MaxWorkers int
	// Warmup requests are sent first, in a closed loop, and recorded as such. They are not in the summary.
	Warmup int
	// Warmed is called once, when the warm-up has ended and before anything measured is sent; it may be nil.
	Warmed func()
	// Duration bounds when requests are due, MaxRequests how many; at least one must be set, unless the
	// pacer ends by itself.
	Duration    time.Duration
	MaxRequests int
	// Timeout of one request; 0 leaves the target's own. In an open loop it also bounds how late a request
	// is still sent: an older one would have been given up by its sender.
	Timeout time.Duration
	// Log makes a worker's log; nil keeps no records.
	Log func() Log
	// Clock is nanoseconds since the record began, monotonic; nil counts from now.
	Clock func() int64
	// Progress may be nil.
	Progress Progress
	// Wait sleeps until about d from now or until ctx ends; nil is Precise.
	Wait func(ctx context.Context, d time.Duration)
}

// Summary is what a measurement came to. Its figures are for the screen and for verdicts: reports work on
// the records.
type Summary struct {
	Sent      int // measured requests that were sent
	OK        int
	Failed    int // answered with an error, or not at all; timeouts included
	TimedOut  int
	Images    int // of requests answered with success
	Workers   int // connections at the end
	BytesOut  int64
	BytesIn   int64
	Elapsed   time.Duration // from the start to the last answer
	P50, P99  time.Duration // of successful requests, from due, within 1 %
	Max       time.Duration
	Harness   record.Harness
	Status    string   // record.OK, Failed, Timeout or Invalid
	Reasons   []string // why it is not OK
	FirstFail string   // text of the first failure
}

// Throughput is images a second answered with success.
func (s *Summary) Throughput() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Images) / s.Elapsed.Seconds()
}

var errNoBound = errors.New("load: neither a duration nor a number of requests")

func (c *Config) complete() error {
	switch _, replay := c.Pacer.(pacer.Replay); {
	case c.Target == nil || len(c.Requests) == 0:
		return errors.New("load: no target or no requests")
	case c.Duration <= 0 && c.MaxRequests <= 0 && !replay:
		return errNoBound
	}
	if c.Pacer == nil {
		c.Pacer = pacer.Closed{}
	}
	c.Workers = max(1, c.Workers)
	if c.MaxWorkers <= 0 {
		c.MaxWorkers = 1024
	}
	c.MaxWorkers = max(c.Workers, c.MaxWorkers)
	if c.Clock == nil {
		start := time.Now()
		c.Clock = func() int64 { return int64(time.Since(start)) }
	}
	if c.Log == nil {
		c.Log = func() Log { return noLog{} }
	}
	if c.Progress == nil {
		c.Progress = noProgress{}
	}
	if c.Wait == nil {
		c.Wait = Precise
	}
	return nil
}

type noLog struct{}

func (noLog) Add(record.Request) {}

type noProgress struct{}

func (noProgress) Sent()                             {}
func (noProgress) Answered(time.Duration, int, bool) {}

// run is a measurement under way.
type run struct {
	Config
	ctx    context.Context //nolint:containedctx // the measurement's own: its cancel ends every worker
	cancel context.CancelCauseFunc
	open   bool // requests have due times of their own
	start  int64
	end    int64 // no request is due from here on; 0 is never

	workers sync.WaitGroup
	warm    atomic.Int64 // warm-up requests taken
	taken   atomic.Int64 // measured requests taken
	tally
}

// Run measures. Its error is one that leaves no figures: nothing can be reached, or ctx ended before
// anything was measured; a measurement that went wrong otherwise has a Status and Reasons.
func Run(ctx context.Context, c Config) (Summary, error) {
	if err := c.complete(); err != nil {
		return Summary{}, err
	}
	r := &run{Config: c}
	_, closed := c.Pacer.(pacer.Closed)
	r.open = !closed
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	crew, err := r.hire()
	if err != nil {
		return Summary{}, err
	}
	if err := r.warmUp(crew); err != nil {
		r.dismiss(crew)
		return Summary{}, err
	}
	if r.Warmed != nil {
		r.Warmed()
	}
	before := readMachine()
	r.begin()
	if r.open {
		r.runOpen(crew)
	} else {
		r.runClosed(crew)
	}
	return r.summary(readMachine().minus(before)), nil
}

// hire opens the first workers' connections, before anything is timed.
func (r *run) hire() ([]*worker, error) {
	var crew []*worker
	for range r.Workers {
		w, err := r.newWorker()
		if err != nil {
			r.dismiss(crew)
			return nil, fmt.Errorf("load: %w", err)
		}
		crew = append(crew, w)
	}
	return crew, nil
}

func (r *run) dismiss(crew []*worker) {
	for _, w := range crew {
		w.close()
	}
}

func (r *run) begin() {
	r.start = r.Clock()
	if r.Duration > 0 {
		r.end = r.start + int64(r.Duration)
	}
	r.lastGood.Store(r.start)
}

// errWarmup says that no warm-up request succeeded.
var errWarmup = errors.New("load: every warm-up request failed")

// warmUp sends warm-up requests from all first workers.
func (r *run) warmUp(crew []*worker) error {
	if r.Warmup <= 0 {
		return nil
	}
	r.lastGood.Store(r.Clock())
	var all sync.WaitGroup
	for _, w := range crew {
		all.Go(func() {
			for r.ctx.Err() == nil {
				n := int(r.warm.Add(1)) - 1
				if n >= r.Warmup {
					return
				}
				w.send(r.request(n), r.Clock(), true)
			}
		})
	}
	all.Wait()
	if err := context.Cause(r.ctx); err != nil {
		return err
	}
	if r.warmOK.Load() == 0 {
		return fmt.Errorf("%w: %s", errWarmup, r.firstText())
	}
	return nil
}

func (r *run) request(n int) target.Request { return r.Requests[n%len(r.Requests)] }

// runClosed lets each worker send as soon as it is free.
func (r *run) runClosed(crew []*worker) {
	r.count.Store(int32(len(crew)))
	for _, w := range crew {
		r.workers.Go(func() {
			defer w.close()
			for r.ctx.Err() == nil {
				now := r.Clock()
				if r.end > 0 && now >= r.end {
					return
				}
				n := int(r.taken.Add(1)) - 1
				if r.MaxRequests > 0 && n >= r.MaxRequests {
					return
				}
				if !w.send(r.request(n), now, false) {
					r.Wait(r.ctx, backoff)
				}
			}
		})
	}
	r.workers.Wait()
}

// backoff keeps a closed loop from asking a server that is not there a million times; where a server
// answers, even with an error, there is none.
const backoff = 10 * time.Millisecond
