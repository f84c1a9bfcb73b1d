// Package cuda is the native engine for NVIDIA GPUs: a CLIP image tower in own kernels, compiled ahead and
// embedded, launched as one graph a batch. The machine needs its driver and nothing else. forward.go is the
// model; kernels holds its operators, driver what is asked of libcuda.
package cuda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/kernels"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Auto chooses fp16.
const Auto engine.Precision = "auto"

// Options configure an engine. Zero values are usable.
type Options struct {
	Device    int              // the GPU's number
	Precision engine.Precision // Auto (also ""), engine.FP16, engine.BF16, engine.FP32 or engine.FP8
	Instances int              // Runs that may overlap on the device; 0 means 2
	MaxBatch  int              // 0 means as many as fill the device, at most 256
	// PinnedMemory bounds the host memory that is pinned for rows, bytes; 0 means 1 GiB or
	// what two batches an instance take. A row beyond it is refused.
	PinnedMemory int64
	Logger       *slog.Logger // nil means slog.Default
	// Calibration of the weights, for engine.FP8 and no other precision.
	Calibration *fp8.Calibration
	// Open opens the device; nil means driver.Open. Tests put a pretended GPU here.
	Open func(ordinal int) (driver.GPU, error)

	target kernels.Target // instead of the device's own; tests run the portable code on Hopper
}

// Engine computes one model on one GPU.
type Engine struct {
	spec    engine.Spec
	gpu     driver.GPU
	module  *module
	weights *weights
	rows    *rowPool
	profile profile

	idle      chan *instance // instances that no Run holds
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
}

var (
	_ engine.Engine    = (*Engine)(nil)
	_ engine.Tracer    = (*Engine)(nil)
	_ engine.Explainer = (*Engine)(nil)
)

// New copies m's weights to the device and plans every batch size. It keeps no reference to m, which may
// be closed afterwards. The error is driver.ErrNoDriver where there is no GPU to use. In fp8 it computes a few
// photographs in float32 too, on the same device, and fails where fp8 is further from that than its contract.
func New(m *model.Model, o Options) (*Engine, error) {
	start := time.Now()
	o, err := o.resolve(m.Config)
	if err != nil {
		return nil, err
	}
	w, p, err := plan(m, o.Precision, o.blocks())
	if err != nil {
		return nil, fmt.Errorf("cuda engine: %w", err)
	}
	want, err := o.reference(m)
	if err != nil {
		return nil, err
	}
	gpu, err := o.Open(o.Device)
	if err != nil {
		return nil, fmt.Errorf("cuda engine: %w", err)
	}
	e := &Engine{gpu: gpu, weights: w, rows: newRowPool(gpu, m.Config.ImageSize, o.PinnedMemory),
		idle: make(chan *instance, o.Instances), closing: make(chan struct{})}
	e.spec = e.describe(o)
	e.profile.reset()
	if err := driver.Do(gpu, func() error { return e.load(p, o.target) }); err != nil {
		return nil, errors.Join(fmt.Errorf("cuda engine: %s: %w", gpu.Info().Name, err), e.Close())
	}
	e.spec.Variant = string(e.module.target)
	if want != nil {
		cosine, err := e.check(want)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cuda engine: %s: %w", gpu.Info().Name, err), e.Close())
		}
		o.Logger.Info("fp8 checked against float32", "cosine", cosine, "fp8_share", o.Calibration.Share)
	}
	o.Logger.Info("cuda engine ready", "device", e.spec.Device, "name", gpu.Info().Name, "kernels", e.module.target,
		"precision", o.Precision, "instances", o.Instances, "max_batch", o.MaxBatch,
		"device_bytes", e.spec.Memory.DeviceFixed, "took", time.Since(start).Round(time.Millisecond))
	return e, nil
}

// Bounds of the default batch. An H100 computes 40,000 images of ViT-B/32 a second in batches of 32, 48,900 in
// 128, 51,300 in 256 and 54,000 in 512 (workshop/cuda/notebook.md): the last doubling costs every request of a
// full batch 4.5 ms for a twentieth. Larger models fill the card with fewer images: tokens are what counts.
const defaultTokens, defaultBatch = 32768, 256

// resolve fills in defaults.
func (o Options) resolve(c model.Config) (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Open == nil {
		o.Open = driver.Open
	}
	if o.Instances <= 0 {
		o.Instances = 2
	}
	if o.MaxBatch <= 0 {
		for o.MaxBatch = defaultBatch; o.MaxBatch > 1 && o.MaxBatch*c.Tokens() > defaultTokens; {
			o.MaxBatch /= 2
		}
	}
	if o.Precision == Auto || o.Precision == "" {
		o.Precision = engine.FP16
	}
	if _, ok := typeName[o.Precision]; !ok {
		return o, fmt.Errorf("cuda engine: no precision %q: want auto, fp16, bf16, fp32 or fp8", o.Precision)
	}
	if o.Precision == engine.FP8 && o.Calibration == nil {
		return o, errors.New("cuda engine: fp8 needs a calibration of the weights (vitrine model calibrate)")
	}
	err := o.checkPinned(c)
	return o, err
}

// blocks are the calibration's, none but in fp8.
func (o *Options) blocks() []fp8.Block {
	if o.Precision != engine.FP8 {
		return nil
	}
	return o.Calibration.Blocks
}

// reference is float32's answers to check fp8 with, and nil for other precisions.
func (o *Options) reference(m *model.Model) ([][]float32, error) {
	if o.Precision != engine.FP8 {
		return nil, nil
	}
	if err := o.Calibration.Check(m); err != nil {
		return nil, fmt.Errorf("cuda engine: %w", err)
	}
	return floatAnswers(m, *o)
}

// planned are the batch sizes: powers of two, and the largest.
func planned(maxBatch int) (sizes []int) {
	for n := 1; n < maxBatch; n *= 2 {
		sizes = append(sizes, n)
	}
	return append(sizes, maxBatch)
}

func (e *Engine) describe(o Options) engine.Spec {
	c := &e.weights.config
	return engine.Spec{
		Name: "cuda", Device: fmt.Sprintf("cuda:%d", o.Device),
		Precision: o.Precision, Modality: engine.ModalityImage,
		Width: c.ImageSize, Height: c.ImageSize,
		Formats:  []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat16CHW, tensor.FormatFloat32CHW},
		Outputs:  []engine.Output{{Name: "embedding", Dim: c.EmbedDim}},
		MaxBatch: o.MaxBatch, Batches: planned(o.MaxBatch), InFlight: o.Instances,
	}
}

// load brings code, weights and plans to the device.
func (e *Engine) load(p *packer, target kernels.Target) (err error) {
	c := &e.weights.config
	size := sharedSizes{patch: patchShared(e.weights), attention: attentionShared(e.spec.Precision, c.Tokens())}
	if e.module, err = load(e.gpu, e.spec.Precision, size, target); err != nil {
		return err
	}
	packed, err := p.fill()
	if err != nil {
		return err
	}
	if e.weights.memory, err = e.gpu.Alloc(p.bytes); err != nil {
		return outOfMemory(e.gpu, err, "weights", p.bytes)
	}
	p.place(e.weights.memory)
	if err := e.gpu.CopyIn(e.weights.memory, packed); err != nil {
		return err
	}
	memory := engine.Memory{DeviceFixed: int64(p.bytes), HostPerItem: int64(tensor.FormatUint8HWC.Size(c.ImageSize, c.ImageSize))}
	for number := range e.spec.InFlight {
		r, err := newInstance(e, number)
		if err != nil {
			return err
		}
		e.idle <- r
		memory.DeviceFixed += int64(r.arena.bytes)
		memory.HostFixed += int64(len(r.arena.pinned))
	}
	e.spec.Memory = memory
	return nil
}

// launcher launches on a stream of this engine's device.
func (e *Engine) launcher(s driver.Stream) *launcher {
	return &launcher{gpu: e.gpu, stream: s, module: e.module, precision: e.spec.Precision,
		epsilon: e.weights.config.Epsilon, overlap: e.module.target.Waits()}
}

// Spec describes the engine.
func (e *Engine) Spec() engine.Spec { return e.spec }

// NewRow lends pinned memory.
func (e *Engine) NewRow(f tensor.Format) (tensor.Row, error) {
	if !e.spec.Accepts(f) {
		return nil, fault.New(fault.Invalid, "no row of format %v: the engine takes %v", f, e.spec.Formats)
	}
	r, err := e.rows.new(f)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Run computes a batch, padded to the next planned size.
func (e *Engine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if err := e.spec.Check(rows, out); err != nil {
		return engine.Timings{}, err
	}
	r, err := engine.Acquire(ctx, e.idle, e.closing)
	if err != nil {
		return engine.Timings{}, err
	}
	defer func() { e.idle <- r }()
	at, release, err := e.addresses(rows)
	defer release()
	if err != nil {
		return engine.Timings{}, err
	}
	return r.run(ctx, rows[0].Format(), at, out)
}

// addresses is where the device finds the rows. Rows that this engine did not make are copied to pinned
// memory first, which release gives back.
func (e *Engine) addresses(rows []tensor.Row) (at []driver.Pointer, release func(), err error) {
	var copies []*row
	release = func() {
		for _, c := range copies {
			c.Release()
		}
	}
	at = make([]driver.Pointer, len(rows))
	for i, r := range rows {
		own, ok := r.(*row)
		if !ok || own.pool != e.rows {
			if own, err = e.rows.new(r.Format()); err != nil {
				return nil, release, err
			}
			copies = append(copies, own)
			copy(own.slot.memory, r.Bytes())
		}
		at[i] = driver.Address(own.slot.memory)
	}
	return at, release, nil
}

// Close waits for runs under way and frees all memory.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		close(e.closing)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		// A lost context may refuse to be bound. It must be released all the same: the driver makes a new one
		// only after that.
		e.closeErr = errors.Join(e.gpu.Bind(), e.free())
	})
	return e.closeErr
}

// free gives back what load took, all or part of it.
func (e *Engine) free() (err error) {
	for range e.spec.InFlight {
		if e.spec.Memory.DeviceFixed == 0 && len(e.idle) == 0 {
			break // loading ended before this instance
		}
		err = errors.Join(err, (<-e.idle).close())
	}
	err = errors.Join(err, e.rows.close()) // only now: runs read rows where they lie
	if e.weights.memory != 0 {
		err = errors.Join(err, e.gpu.Free(e.weights.memory))
	}
	if e.module != nil {
		err = errors.Join(err, e.module.close(e.gpu))
	}
	return errors.Join(err, e.gpu.Close())
}
