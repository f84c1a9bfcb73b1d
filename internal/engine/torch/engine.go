// Package torch computes with PyTorch, in a Python process that the server starts, watches and ends.
// Images and embeddings pass through memory that both share. A worker that dies fails the batch that it
// had and nothing else: another takes its place.
package torch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/numa"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Auto chooses bf16 where the device has it, else fp32 on a processor and fp16 on a card.
const Auto engine.Precision = "auto"

// Options configure an engine. Zero values are usable.
type Options struct {
	Python    string           // an interpreter that has torch; "" means python3
	Device    string           // "cpu", "cuda", "cuda:1"; "" and "auto" take a card where there is one
	Precision engine.Precision // Auto (also ""), engine.FP32, engine.FP16 or engine.BF16
	Compile   bool             // torch.compile: only planned batch sizes then, each compiled at the start
	Threads   int              // of all workers together, on a processor; 0 means one a processor
	Instances int              // workers, each with a copy of the weights in its precision; 0 means 1
	MaxBatch  int              // 0 means 32
	// StartTimeout bounds a worker's start, compilation included; 0 means 2 minutes, 20 with Compile.
	StartTimeout time.Duration
	// BatchTimeout is the longest that a batch may take before its worker is ended; 0 means a minute.
	BatchTimeout time.Duration
	// Near is where the card is: workers stay on the processors there, and what they touch first lies there.
	Near   numa.Place
	Logger *slog.Logger // nil means slog.Default; a worker's own output goes there too

	source  string                           // what computes, instead of tower
	backOff func(failures int) time.Duration // instead of backOff
}

func (o Options) resolve() Options {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&o.Instances, 1)
	set(&o.MaxBatch, 32)
	set(&o.Threads, runtime.GOMAXPROCS(0))
	if o.Python == "" {
		o.Python = "python3"
	}
	if o.Device == "" {
		o.Device = "auto"
	}
	if o.Precision == "" {
		o.Precision = Auto
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 2 * time.Minute
		if o.Compile {
			o.StartTimeout = 20 * time.Minute
		}
	}
	if o.BatchTimeout <= 0 {
		o.BatchTimeout = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.source == "" {
		o.source = tower
	}
	if o.backOff == nil {
		o.backOff = backOff
	}
	return o
}

// planned are the batch sizes that are compiled: powers of two, and the largest.
func (o Options) planned() (sizes []int) {
	if !o.Compile {
		return nil
	}
	for n := 1; n < o.MaxBatch; n *= 2 {
		sizes = append(sizes, n)
	}
	return append(sizes, o.MaxBatch)
}

// Engine computes one model in one or more workers.
type Engine struct {
	spec      engine.Spec
	rows      *engine.RowPool
	weights   *os.File // the safetensors file that workers map
	instances []*instance
	idle      chan *instance // instances that no Run holds
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
	profile   profile
}

var (
	_ engine.Engine   = (*Engine)(nil)
	_ engine.Profiler = (*Engine)(nil)
)

// New starts the workers and waits until each has computed its first batches. It keeps no reference to m.
func New(m *model.Model, o Options) (*Engine, error) {
	began := time.Now()
	o = o.resolve()
	switch o.Precision {
	case Auto, engine.FP32, engine.FP16, engine.BF16:
	default:
		return nil, fmt.Errorf("torch engine: no precision %q: want auto, fp32, fp16 or bf16", o.Precision)
	}
	e := &Engine{
		rows:    engine.NewRowPool(m.Config.ImageSize, m.Config.ImageSize, 2*o.MaxBatch*o.Instances, engine.HostFormats()...),
		idle:    make(chan *instance, o.Instances),
		closing: make(chan struct{}),
	}
	first, err := e.start(m, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("torch engine: %w", err), e.Close())
	}
	e.spec = describe(m.Config, o, first, e.instances)
	o.Logger.Info("torch engine ready", "variant", e.spec.Variant, "device", e.spec.Device, "precision", e.spec.Precision,
		"workers", o.Instances, "took", time.Since(began).Round(time.Millisecond))
	return e, nil
}

// start makes the weights' file and the instances, one after the other: what is wrong with one is wrong
// with all.
func (e *Engine) start(m *model.Model, o Options) (first answer, err error) {
	if e.weights, err = memoryFile("vitrine-weights"); err != nil {
		return first, err
	}
	if err := model.WriteSafetensors(m, e.weights); err != nil {
		return first, fmt.Errorf("weights: %w", err)
	}
	for n := range o.Instances {
		i, err := newInstance(n, m.Config, o, e.weights)
		if err != nil {
			return first, err
		}
		e.instances = append(e.instances, i)
		a, err := i.begin()
		if err != nil {
			return first, err
		}
		if n == 0 {
			first = a
		}
		e.idle <- i
	}
	return first, nil
}

func describe(c model.Config, o Options, a answer, all []*instance) engine.Spec {
	return engine.Spec{
		Name: "torch", Variant: a.Variant, Device: a.Device,
		Precision: engine.Precision(a.Precision), Modality: engine.ModalityImage,
		Width: c.ImageSize, Height: c.ImageSize,
		Formats:  engine.HostFormats(),
		Outputs:  []engine.Output{{Name: "embedding", Dim: c.EmbedDim}},
		MaxBatch: o.MaxBatch, Batches: o.planned(), InFlight: o.Instances,
		Memory: engine.Memory{
			HostFixed:   int64(len(all)) * (a.HostBytes + int64(len(all[0].memory))),
			HostPerItem: int64(tensor.FormatUint8HWC.Size(c.ImageSize, c.ImageSize)),
			DeviceFixed: int64(len(all)) * a.DeviceBytes,
		},
	}
}

// interpreterBytes is about what Python takes with torch loaded.
const interpreterBytes = 450 << 20

// Estimate is the host memory in bytes that an engine of that model would take on a processor.
func Estimate(m *model.Model, o Options) int64 {
	o = o.resolve()
	c := m.Config
	var stored int64
	for _, t := range m.Tensors() {
		stored += int64(len(t.Data))
	}
	rows := int64(o.MaxBatch) * int64(tensor.FormatFloat32CHW.Size(c.ImageSize, c.ImageSize))
	worker := interpreterBytes + 4*m.Parameters() + rows
	return stored + int64(o.Instances)*(worker+2*rows)
}

// cpuPrecision is what Auto is on the processor.
func cpuPrecision() engine.Precision {
	if cpufeat.Machine() >= cpufeat.AVX512BF16 {
		return engine.BF16
	}
	return engine.FP32
}

// Spec describes the engine.
func (e *Engine) Spec() engine.Spec { return e.spec }

// NewRow lends host memory.
func (e *Engine) NewRow(f tensor.Format) (tensor.Row, error) { return e.rows.NewRow(f) }

// Run has a worker compute a batch. Where ctx ends first, the worker goes on and is free again when it is
// through.
func (e *Engine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	var t engine.Timings
	if err := e.spec.Check(rows, out); err != nil {
		return t, err
	}
	i, err := engine.Acquire(ctx, e.idle, e.closing)
	if err != nil {
		return t, err
	}
	release := sync.OnceFunc(func() { e.idle <- i })
	c, err := i.run(ctx, rows, out, e.profile.on.Load(), release)
	if len(c.Operators) > 0 {
		e.addOperators(c.Operators)
	}
	return engine.Timings{Input: c.Input, Compute: c.Compute, Output: c.Output}, err
}

// Close waits for runs under way and ends the workers.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		close(e.closing)
		e.rows.Close()
		for _, i := range e.instances {
			close(i.closing)
		}
		begun := slices.DeleteFunc(slices.Clone(e.instances), func(i *instance) bool { return !i.begun })
		for range begun {
			<-e.idle
		}
		for _, i := range e.instances {
			e.closeErr = errors.Join(e.closeErr, i.close())
		}
		if e.weights != nil {
			e.closeErr = errors.Join(e.closeErr, e.weights.Close())
		}
	})
	return e.closeErr
}
