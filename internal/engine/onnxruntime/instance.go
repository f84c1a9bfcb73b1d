package onnxruntime

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// instance is what one Run needs: the input's and the output's memory, and for each batch size a plan.
type instance struct {
	engine *Engine
	memory memory
	info   capi.MemoryInfo // of where the tensors are
	plans  map[int]*plan
	own    capi.Session // a device's: one an instance; 0 where sessions are per size or shared
	set    *sessions
}

// plan is a session with inputs and outputs bound for one batch size, at addresses that never change.
type plan struct {
	session       capi.Session
	owned         bool // by this plan alone
	options       capi.RunOptions
	input, output capi.Value
	binding       capi.Binding
}

func newInstance(e *Engine, set *sessions) (i *instance, err error) {
	o := &e.options
	i = &instance{engine: e, plans: map[int]*plan{}, set: set}
	input, output := o.MaxBatch*e.inputBytes(), o.MaxBatch*e.outputBytes()
	if o.Provider.onDevice() {
		i.memory, err = newDeviceMemory(o.Device, input, output)
	} else {
		i.memory = newHostMemory(input, output)
	}
	if err != nil {
		return nil, err
	}
	err = i.memory.do(func() (err error) {
		if i.info, err = i.memory.describe(e.loaded.api); err != nil || !o.Provider.onDevice() || o.sessionPerSize() {
			return err
		}
		i.own, err = e.loaded.newSession(o, e.source, o.Batches, set.trace)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// sessionPerSize: TensorRT's provider keeps one CUDA graph a session.
func (o *Options) sessionPerSize() bool { return o.Provider == TensorRT && o.CUDAGraph }

// inputBytes is the size of one image in the input.
func (e *Engine) inputBytes() int {
	return 3 * e.source.side * e.source.side * elementBytes(e.source.half[0])
}

// outputBytes is the size of one embedding in the output.
func (e *Engine) outputBytes() int { return e.source.dim * elementBytes(e.source.half[1]) }

func elementBytes(half bool) int {
	if half {
		return 2
	}
	return 4
}

func element(half bool) capi.Element {
	if half {
		return capi.Float16
	}
	return capi.Float32
}

// run computes one batch.
func (i *instance) run(ctx context.Context, rows []tensor.Row, out [][]float32) (t engine.Timings, err error) {
	start := time.Now()
	i.gather(rows)
	err = i.memory.do(func() error {
		p, err := i.plan(i.engine.planned(len(rows)))
		if err != nil {
			return err
		}
		if err := i.copyIn(len(rows)); err != nil {
			return err
		}
		t.Input = time.Since(start)
		return i.finish(ctx, p, out, &t)
	})
	return t, err
}

// gather puts rows into the host's input.
func (i *instance) gather(rows []tensor.Row) {
	i.engine.gather(i.memory.hostInput()[:len(rows)*i.engine.inputBytes()], rows)
}

// copyIn brings the first n images of the host's input to where they are computed.
func (i *instance) copyIn(n int) error { return i.memory.copyIn(n * i.engine.inputBytes()) }

// finish computes what lies in the input and brings the embeddings back.
func (i *instance) finish(ctx context.Context, p *plan, out [][]float32, t *engine.Timings) error {
	ready := time.Now()
	if err := i.compute(ctx, p); err != nil {
		return err
	}
	computed := time.Now()
	t.Compute = computed.Sub(ready)
	if err := i.memory.copyOut(len(out) * i.engine.outputBytes()); err != nil {
		return err
	}
	i.engine.scatter(out, i.memory.hostOutput())
	t.Output = time.Since(computed)
	return nil
}

// planned is the size of the batch that runs for n rows. What the last batch left behind them is computed
// again and thrown away.
func (e *Engine) planned(n int) int {
	for _, b := range e.options.Batches {
		if b >= n {
			return b
		}
	}
	return n
}

// compute runs a plan; a context that ends ends it.
func (i *instance) compute(ctx context.Context, p *plan) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	api := i.engine.loaded.api
	told := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { told <- api.Terminate(p.options) })
	err := i.execute(p)
	if !stop() {
		if failed := errors.Join(<-told, api.Unterminate(p.options)); failed != nil {
			return fault.Wrap(fault.Unavailable, failed, "a run could not be ended")
		}
		if err != nil {
			return ctx.Err()
		}
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "a batch could not be computed")
	}
	return nil
}

// execute runs a plan to its end. What a plug-in has memory of its own for was copied when it was bound.
func (i *instance) execute(p *plan) error {
	api := i.engine.loaded.api
	if i.engine.options.Plugin != "" {
		if err := api.BindInput(p.binding, i.engine.source.input, p.input); err != nil {
			return err
		}
	}
	if err := api.Run(p.session, p.options, p.binding); err != nil {
		return err
	}
	return api.SynchronizeOutputs(p.binding)
}

// plan is the plan of a batch size, made where it is used for the first time.
func (i *instance) plan(size int) (*plan, error) {
	if p := i.plans[size]; p != nil {
		return p, nil
	}
	p, err := i.newPlan(size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare batches of %d: %w", size, err), i.closePlan(p))
	}
	i.plans[size] = p
	return p, nil
}

func (i *instance) newPlan(size int) (p *plan, err error) {
	e, api := i.engine, i.engine.loaded.api
	p = &plan{session: i.set.shared}
	switch {
	case e.options.Provider.onDevice() && e.options.sessionPerSize():
		p.owned = true
		p.session, err = e.loaded.newSession(&e.options, e.source, []int{size}, i.set.trace)
	case e.options.Provider.onDevice():
		p.session = i.own
	}
	if err != nil {
		return p, err
	}
	s := e.source
	in, out := i.memory.addresses()
	if p.input, err = api.NewTensor(i.info, in, size*e.inputBytes(), s.shape(size), element(s.half[0])); err != nil {
		return p, err
	}
	if p.output, err = api.NewTensor(i.info, out, size*e.outputBytes(), []int64{int64(size), int64(s.dim)}, element(s.half[1])); err != nil {
		return p, err
	}
	if p.binding, err = api.NewBinding(p.session); err != nil {
		return p, err
	}
	if err = errors.Join(api.BindInput(p.binding, s.input, p.input), api.BindOutput(p.binding, s.output, p.output)); err != nil {
		return p, err
	}
	if p.options, err = api.NewRunOptions(); err != nil {
		return p, err
	}
	if e.options.Provider == CUDA && e.options.CUDAGraph {
		err = api.SetRunEntry(p.options, "gpu_graph_id", strconv.Itoa(size)) // one captured graph for each; 0 and -1 mean others
	}
	return p, err
}

// warmRuns is how often each size runs before the engine is ready: the first run plans, the second may
// still allocate, and a CUDA graph is captured by the run after that.
const warmRuns = 3

func (i *instance) warmUp() error {
	return i.memory.do(func() error {
		for _, size := range i.engine.options.Batches {
			p, err := i.plan(size)
			if err != nil {
				return err
			}
			for range warmRuns {
				if err := i.compute(context.Background(), p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (i *instance) closePlan(p *plan) error {
	api := i.engine.loaded.api
	api.ReleaseRunOptions(p.options)
	api.ReleaseBinding(p.binding)
	api.ReleaseValue(p.input)
	api.ReleaseValue(p.output)
	if p.owned {
		return i.engine.closeSession(p.session, i.set.trace)
	}
	return nil
}

// close frees what is the instance's own.
func (i *instance) close() error {
	err := i.memory.do(func() (err error) {
		for _, p := range i.plans {
			err = errors.Join(err, i.closePlan(p))
		}
		err = errors.Join(err, i.engine.closeSession(i.own, i.set.trace))
		i.engine.loaded.api.ReleaseMemoryInfo(i.info)
		return err
	})
	return errors.Join(err, i.memory.close())
}
