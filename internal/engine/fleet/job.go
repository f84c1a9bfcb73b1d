package fleet

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// errOverrun is a run that missed its deadline, or that shares a device with one.
var errOverrun = errors.New("a run did not end in time")

// lost tells whether an error is the device's end.
func lost(err error) bool {
	return err != nil && (errors.Is(err, errOverrun) || fault.KindOf(err) == fault.Unavailable)
}

// job is one run of a unit, with all that the run touches. Whoever waits for it may leave: the job
// then ends alone and nobody uses it again.
type job struct {
	fleet   *Fleet
	unit    *unit
	rows    []*row
	inner   []tensor.Row
	memory  []float32
	out     [][]float32 // into memory
	timings engine.Timings
	err     error
	done    chan struct{}
}

func newJob() *job { return &job{done: make(chan struct{}, 1)} }

// fill makes the job that of a batch and holds its rows.
func (j *job) fill(f *Fleet, u *unit, rows []*row) {
	j.fleet, j.unit = f, u
	dim := u.spec.Dim()
	if need := len(rows) * dim; cap(j.memory) < need {
		j.memory = make([]float32, u.spec.MaxBatch*dim)
	}
	j.rows, j.inner, j.out = append(j.rows[:0], rows...), j.inner[:0], j.out[:0]
	for i, r := range rows {
		j.inner = append(j.inner, r.inner)
		j.out = append(j.out, j.memory[i*dim:][:dim:dim])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		r.holds++
		r.unit.read++
	}
}

// run computes and lets go of the rows.
func (j *job) run(ctx context.Context) {
	f := j.fleet
	j.timings, j.err = f.call(ctx, j.unit, j.inner, j.out)
	for _, r := range f.letGo(j.rows) {
		r.giveBack() // before its unit may be closed
	}
	f.mu.Lock()
	for _, r := range j.rows {
		r.unit.read--
		r.unit.settle()
	}
	j.unit.jobs--
	j.unit.settle()
	f.mu.Unlock()
	j.done <- struct{}{}
}

// letGo ends a run's hold on rows and returns those that nobody holds any more.
func (f *Fleet) letGo(rows []*row) (last []*row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		if r.drop() {
			last = append(last, r)
		}
	}
	return last
}

// call is the engine's Run with a panic turned into an error: in a job it would end the process.
func (f *Fleet) call(ctx context.Context, u *unit, rows []tensor.Row, out [][]float32) (_ engine.Timings, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("engine panicked", "engine", u.spec.Name, "device", u.spec.Device, "batch", len(rows),
				"panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "the engine failed")
		}
	}()
	return u.engine.Run(ctx, rows, out)
}

// reset lets go of what the job referred to.
func (j *job) reset() {
	clear(j.rows)
	clear(j.inner)
	j.fleet, j.unit, j.err = nil, nil, nil
}

// compute runs a batch on a unit, on which the run is counted already (take, countJobs): here if it may
// take as long as it likes, else in a job that is waited for until the timeout.
func (f *Fleet) compute(ctx context.Context, u *unit, rows []*row, out [][]float32, timeout time.Duration) (engine.Timings, error) {
	if timeout <= 0 {
		return f.computeHere(ctx, u, rows, out)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j := f.jobs.Get().(*job)
	j.fill(f, u, rows)
	go j.run(ctx)
	if !j.wait(timeout) {
		return engine.Timings{}, errOverrun
	}
	timings, err := j.timings, j.err
	if err == nil {
		for i := range out {
			copy(out[i], j.out[i])
		}
	}
	j.reset()
	f.jobs.Put(j)
	return timings, err
}

// computeHere costs no other goroutine, which a batch of one on the processor would notice.
func (f *Fleet) computeHere(ctx context.Context, u *unit, rows []*row, out [][]float32) (engine.Timings, error) {
	j := f.jobs.Get().(*job)
	j.inner = j.inner[:0]
	for _, r := range rows {
		j.inner = append(j.inner, r.inner)
	}
	defer f.countJobs(u, -1)
	timings, err := f.call(ctx, u, j.inner, out)
	j.reset()
	f.jobs.Put(j)
	return timings, err
}

// countJobs counts a run that a unit must not be closed under, or its end.
func (f *Fleet) countJobs(u *unit, d int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u.jobs += d
	u.settle()
}

// wait waits for the job's end; false gives it up.
func (j *job) wait(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-j.done:
		return true
	case <-timer.C:
	case <-j.unit.hung:
	}
	select {
	case <-j.done: // at the last moment
		return true
	default:
		return false
	}
}
