package onnxruntime

import (
	"context"
	"sync"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// staged is a batch in an instance's input.
type staged struct {
	instance *instance
	plan     *plan
	rows     int
	close    func()
}

// Stage implements engine.Stager: on a device the input is in the device's memory.
func (e *Engine) Stage(ctx context.Context, rows []tensor.Row) (engine.Staged, error) {
	if err := e.spec.CheckRows(rows); err != nil {
		return nil, err
	}
	i, err := engine.Acquire(ctx, e.idle, e.closing)
	if err != nil {
		return nil, err
	}
	s := &staged{instance: i, rows: len(rows), close: sync.OnceFunc(func() { e.idle <- i })}
	i.gather(rows)
	err = i.memory.do(func() (err error) {
		if s.plan, err = i.plan(e.planned(len(rows))); err != nil {
			return err
		}
		return i.copyIn(len(rows))
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Run implements engine.Staged.
func (s *staged) Run(ctx context.Context, out [][]float32) (t engine.Timings, err error) {
	if err := s.instance.engine.spec.CheckOut(out, s.rows); err != nil {
		return t, err
	}
	err = s.instance.memory.do(func() error { return s.instance.finish(ctx, s.plan, out, &t) })
	return t, err
}

// Close implements engine.Staged.
func (s *staged) Close() { s.close() }
