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
	u.jobs++
	for _, r := range rows {
		r.holds++
		r.unit.read++
	}
}

// run computes and lets go of the rows.
func (j *job) run(ctx context.Context) {
	j.timings, j.err = j.compute(ctx)
	f := j.fleet
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

// compute is the engine's Run with a panic turned into an error: it would end the process here.
func (j *job) compute(ctx context.Context) (_ engine.Timings, err error) {
	defer func() {
		if p := recover(); p != nil {
			j.fleet.log.Error("engine panicked", "engine", j.unit.spec.Name, "device", j.unit.spec.Device, "batch", len(j.inner),
				"panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "the engine failed")
		}
	}()
	return j.unit.engine.Run(ctx, j.inner, j.out)
}

// reset lets go of what the job referred to.
func (j *job) reset() {
	clear(j.rows)
	clear(j.inner)
	j.fleet, j.unit, j.err = nil, nil, nil
}

// compute runs a batch on a unit and waits for the answer, up to the timeout if there is one.
func (f *Fleet) compute(ctx context.Context, u *unit, rows []*row, out [][]float32, timeout time.Duration) (engine.Timings, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j := f.jobs.Get().(*job)
	j.fill(f, u, rows)
	go j.run(ctx)
	if !j.wait(timeout) {
		return engine.Timings{}, errOverrun
	}
	defer f.jobs.Put(j)
	defer j.reset()
	if j.err != nil {
		return engine.Timings{}, j.err
	}
	for i := range out {
		copy(out[i], j.out[i])
	}
	return j.timings, nil
}

// wait waits for the job's end; false gives it up.
func (j *job) wait(timeout time.Duration) bool {
	if timeout <= 0 {
		select {
		case <-j.done:
			return true
		case <-j.unit.hung:
			return false
		}
	}
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
