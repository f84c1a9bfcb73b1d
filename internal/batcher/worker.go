package batcher

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// batch is a worker's workspace, reused for every batch it runs.
type batch struct {
	tickets []*ticket
	rows    []tensor.Row
	out     [][]float32
	elapsed time.Duration
	timings engine.Timings
	err     error
}

// Execution is one batch that ran.
type Execution struct {
	Size    int
	Elapsed time.Duration
	Timings engine.Timings // zero if it failed
	Err     error
}

// serve is a worker: one of the engine's overlapping runs.
func (b *Batcher) serve() {
	w := &batch{
		tickets: make([]*ticket, 0, b.cfg.MaxBatchSize),
		rows:    make([]tensor.Row, 0, b.cfg.MaxBatchSize),
		out:     make([][]float32, 0, b.cfg.MaxBatchSize),
	}
	for b.take(w) {
		b.run(w)
		b.answer(w)
	}
}

// take waits for a batch worth running and takes it from the queue; false once closed.
func (b *Batcher) take(w *batch) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		if b.queue.parts > 0 {
			now := time.Now()
			p, _ := b.queue.best(&b.rules, now)
			if p.tickets > 0 {
				b.form(w, p, now)
				return true
			}
			b.alarm.Reset(p.wait)
		}
		b.free++
		b.work.Wait()
		b.free--
	}
	return false
}

// form moves a proposal's tickets from the queue to the batch. The lock is held.
func (b *Batcher) form(w *batch, p proposal, now time.Time) {
	for range p.tickets {
		t, _ := b.queue.first(p.format, p.lane)
		b.queue.remove(t)
		t.state = running
		t.at.batched = now
		if t.begun != nil {
			t.begun.Begin()
		}
		w.tickets = append(w.tickets, t)
		w.rows = append(w.rows, t.rows...)
		w.out = append(w.out, t.out...)
	}
	b.stats.running++
	b.stats.runningRows += len(w.rows)
	if b.queue.parts > 0 && b.free > 0 {
		b.work.Signal()
	}
}

// wakeAll makes the free workers look at the queue again: a part has waited long enough.
func (b *Batcher) wakeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.work.Broadcast()
}

// run computes the batch and stamps its tickets.
func (b *Batcher) run(w *batch) {
	start := time.Now()
	w.timings, w.err = b.compute(w)
	end := time.Now()
	w.elapsed = end.Sub(start)
	if w.err != nil {
		w.timings = engine.Timings{}
		return
	}
	// Input ends after its own duration, output starts its own duration before the end, and all
	// between is the computation's: the stages cover the run whatever an engine leaves out.
	input := start.Add(min(w.timings.Input, w.elapsed))
	computed := end.Add(-w.timings.Output)
	if computed.Before(input) {
		computed = input
	}
	for _, t := range w.tickets {
		t.at.inputReady, t.at.computed, t.at.outputReady = input, computed, end
	}
}

// compute is Run with its panics turned into errors.
func (b *Batcher) compute(w *batch) (_ engine.Timings, err error) {
	defer func() {
		if p := recover(); p != nil {
			b.cfg.Logger.Error("engine panicked", "engine", b.spec.Name, "batch", len(w.rows),
				"panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "the engine failed")
		}
	}()
	return b.engine.Run(b.ctx, w.rows, w.out)
}

// answer releases the rows, answers the tickets and makes the workspace free again.
func (b *Batcher) answer(w *batch) {
	releaseAll(w.rows)
	size, err := len(w.rows), b.explain(w.err)
	if b.cfg.OnExecution != nil {
		b.cfg.OnExecution(Execution{Size: size, Elapsed: w.elapsed, Timings: w.timings, Err: err})
	}
	b.mu.Lock()
	b.stats.add(w, size)
	if err != nil && fault.KindOf(err) == fault.Unavailable && !b.recovers {
		b.refuse(err)
		b.failQueued()
	}
	for i, t := range w.tickets {
		if t.state == abandoned {
			b.recycle(t)
			w.tickets[i] = nil
			continue
		}
		t.state, t.err, t.size = answered, err, size
	}
	b.mu.Unlock()
	for _, t := range w.tickets {
		if t != nil {
			t.done <- struct{}{}
		}
	}
	w.clear()
	b.mu.Lock()
	b.stats.running--
	b.stats.runningRows -= size
	b.settle()
	b.mu.Unlock()
}

// explain is a run's error as its members get it: a run that Close cut short is no fault of theirs.
func (b *Batcher) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case b.ctx.Err() != nil && errors.Is(err, context.Canceled):
		return fault.Wrap(fault.Unavailable, err, "the server is shutting down")
	}
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f
	}
	return fault.Wrap(fault.Internal, err, "the engine failed")
}

func (w *batch) clear() {
	clear(w.tickets)
	clear(w.rows)
	clear(w.out)
	w.tickets, w.rows, w.out = w.tickets[:0], w.rows[:0], w.out[:0]
	w.err = nil
}
