package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// instance is what one Run needs to itself: a stream, an arena, and a graph for each planned batch size.
type instance struct {
	engine  *Engine
	number  int
	gpu     driver.GPU
	stream  driver.Stream
	arena   *arena
	batches []int
	graphs  []driver.Graph // of batches
	clock   clock          // for profiles
}

// newInstance plans everything; on an error nothing stays allocated.
func newInstance(e *Engine, number int) (r *instance, err error) {
	r = &instance{engine: e, number: number, gpu: e.gpu, batches: e.spec.Batches, clock: clock{gpu: e.gpu}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
			r = nil
		}
	}()
	if r.stream, err = e.gpu.NewStream(); err != nil {
		return r, err
	}
	if r.arena, err = newArena(e.gpu, e.weights, e.spec.Precision, e.spec.MaxBatch); err != nil {
		return r, err
	}
	for _, n := range r.batches {
		graph, err := e.gpu.Capture(r.stream, func() error { return r.arena.forward(e.launcher(r.stream), e.weights, n) })
		if err != nil {
			return r, fmt.Errorf("plan batches of %d: %w", n, err)
		}
		r.graphs = append(r.graphs, graph)
	}
	return r, nil
}

func (r *instance) close() (err error) {
	for _, g := range r.graphs {
		err = errors.Join(err, r.gpu.CloseGraph(g))
	}
	err = errors.Join(err, r.clock.close())
	if r.arena != nil {
		err = errors.Join(err, r.arena.close(r.gpu))
	}
	if r.stream != 0 {
		err = errors.Join(err, r.gpu.CloseStream(r.stream))
	}
	return err
}

// tableHeader is the size of RowTable before its pointers (kernels/patch.cu).
const tableHeader = 16

// formatCode is enum Format of kernels/patch.cu.
var formatCode = map[tensor.Format]uint32{tensor.FormatUint8HWC: 1, tensor.FormatFloat32CHW: 2, tensor.FormatFloat16CHW: 3}

// fill writes the table of rows, which the device reads.
func (r *instance) fill(format tensor.Format, rows []driver.Pointer) {
	t := r.arena.pinned
	binary.LittleEndian.PutUint32(t, formatCode[format])
	binary.LittleEndian.PutUint32(t[4:], uint32(len(rows)))
	for i, at := range rows {
		binary.LittleEndian.PutUint64(t[tableHeader+8*i:], uint64(at))
	}
}

// run computes the rows whose addresses are given.
func (r *instance) run(ctx context.Context, format tensor.Format, rows []driver.Pointer, out [][]float32) (t engine.Timings, err error) {
	if err := ctx.Err(); err != nil {
		return t, err
	}
	start := time.Now()
	r.fill(format, rows)
	ready := time.Now()
	t.Input = ready.Sub(start)
	if err := r.compute(len(rows)); err != nil {
		return t, runFault(err)
	}
	computed := time.Now()
	t.Compute = computed.Sub(ready)
	for i := range out {
		copy(out[i], r.arena.embedding(i))
	}
	t.Output = time.Since(computed)
	return t, nil
}

// compute launches the graph of the smallest planned size that n fits in, and waits; or, for a profile, kernel by kernel.
func (r *instance) compute(n int) error {
	i, _ := slices.BinarySearch(r.batches, n)
	return driver.Do(r.gpu, func() error {
		if r.engine.profile.on.Load() {
			return r.timed(i)
		}
		if err := r.gpu.LaunchGraph(r.graphs[i], r.stream); err != nil {
			return err
		}
		return r.gpu.Synchronize(r.stream)
	})
}

// runFault: after some errors the device's context is gone and with it the engine.
func runFault(err error) error {
	if driver.Fatal(err) {
		return fault.Wrap(fault.Unavailable, err, "the GPU failed")
	}
	return fault.Wrap(fault.Internal, err, "the GPU refused a batch")
}
