// Package cpu is the native engine: a CLIP image tower on the processor's vector units, without any
// library. forward.go is the model; kernel holds its operators.
package cpu

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Auto chooses bf16 where the processor multiplies bfloat16, else fp32.
const Auto engine.Precision = "auto"

// Options configure an engine. Zero values are usable.
type Options struct {
	Precision engine.Precision // Auto (also ""), engine.FP32 or engine.BF16
	Threads   int              // of all instances together; 0 means one a processor
	Instances int              // Runs that may overlap, sharing the threads; 0 means 1
	MaxBatch  int              // 0 means 32
	Logger    *slog.Logger     // nil means slog.Default
}

// Engine computes one model.
type Engine struct {
	spec    engine.Spec
	weights *weights
	pool    *kernel.Pool
	rows    *engine.RowPool
	profile profile
	chunk   int // most images in one forward pass

	idle      chan *instance // instances that no Run holds
	closing   chan struct{}
	closeOnce sync.Once
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Tracer = (*Engine)(nil)
)

// New packs m's weights for this processor. It keeps no reference to m, which may be closed afterwards.
func New(m *model.Model, o Options) (*Engine, error) {
	start := time.Now()
	o, precision, err := o.resolve()
	if err != nil {
		return nil, err
	}
	w, err := pack(m, precision)
	if err != nil {
		return nil, fmt.Errorf("cpu engine: %w", err)
	}
	e := &Engine{
		weights: w,
		pool:    kernel.NewPool(o.Threads),
		chunk:   chunk(w.config, o.MaxBatch),
		rows:    engine.NewRowPool(w.config.ImageSize, w.config.ImageSize, 2*o.MaxBatch*o.Instances, engine.HostFormats()...),
		idle:    make(chan *instance, o.Instances),
		closing: make(chan struct{}),
	}
	var arenas int64
	for number := range o.Instances {
		r := newInstance(e, number)
		arenas += r.bytes()
		e.idle <- r
	}
	e.spec = e.describe(o, arenas)
	o.Logger.Info("cpu engine ready", "variant", e.spec.Variant, "precision", e.spec.Precision, "threads", e.pool.Threads(),
		"instances", o.Instances, "bytes", e.spec.Memory.HostFixed, "took", time.Since(start).Round(time.Millisecond))
	return e, nil
}

// resolve fills in defaults and chooses the precision.
func (o Options) resolve() (Options, kernel.Precision, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Instances <= 0 {
		o.Instances = 1
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 32
	}
	level, err := cpufeat.Selected()
	if err != nil {
		return o, 0, err
	}
	native := level >= cpufeat.AVX512BF16
	if o.Precision == Auto || o.Precision == "" {
		o.Precision = engine.FP32
		if native {
			o.Precision = engine.BF16
		}
	}
	switch o.Precision {
	case engine.FP32:
		return o, kernel.F32, nil
	case engine.BF16:
		if !native {
			o.Logger.Warn("bf16 without the processor's bfloat16 instructions is no faster than fp32", "cpu", level)
		}
		return o, kernel.BF16, nil
	}
	return o, 0, fmt.Errorf("cpu engine: no precision %q: want auto, fp32 or bf16", o.Precision)
}

// chunkTokens bounds the rows of activations of one forward pass. More would not use the weights
// better, and the activations would leave the last-level cache.
const chunkTokens = 800

func chunk(c model.Config, maxBatch int) int {
	return max(1, min(maxBatch, chunkTokens/c.Tokens()))
}

func (e *Engine) describe(o Options, arenas int64) engine.Spec {
	c := e.weights.config
	return engine.Spec{
		Name: "cpu", Variant: e.weights.variant(), Device: "cpu",
		Precision: o.Precision, Modality: engine.ModalityImage,
		Width: c.ImageSize, Height: c.ImageSize,
		Formats:  engine.HostFormats(),
		Outputs:  []engine.Output{{Name: "embedding", Dim: c.EmbedDim}},
		MaxBatch: o.MaxBatch, InFlight: o.Instances,
		Memory: engine.Memory{
			HostFixed:   e.weights.bytes + arenas,
			HostPerItem: int64(tensor.FormatUint8HWC.Size(c.ImageSize, c.ImageSize)),
		},
	}
}

// Spec describes the engine.
func (e *Engine) Spec() engine.Spec { return e.spec }

// NewRow lends host memory.
func (e *Engine) NewRow(f tensor.Format) (tensor.Row, error) { return e.rows.NewRow(f) }

// Run computes a batch, a chunk of images at a time.
func (e *Engine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	var t engine.Timings
	if err := e.spec.Check(rows, out); err != nil {
		return t, err
	}
	r, err := engine.Acquire(ctx, e.idle, e.closing)
	if err != nil {
		return t, err
	}
	defer func() { e.idle <- r }()
	for lo := 0; lo < len(rows); lo += e.chunk {
		hi := min(lo+e.chunk, len(rows))
		if err := r.run(ctx, rows[lo:hi], out[lo:hi], &t); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Close waits for runs under way and stops the threads.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		close(e.closing)
		e.rows.Close()
		for range cap(e.idle) {
			<-e.idle
		}
		e.pool.Close()
	})
	return nil
}
