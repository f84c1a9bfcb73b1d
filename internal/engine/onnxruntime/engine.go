package onnxruntime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Engine computes one model.
type Engine struct {
	spec    engine.Spec
	options Options
	loaded  *library
	source  *source
	pixels  model.PixelTable
	rows    *engine.RowPool
	profile profile

	sessions  *sessions
	idle      chan *instance // instances that no Run holds
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
}

var (
	_ engine.Engine   = (*Engine)(nil)
	_ engine.Profiler = (*Engine)(nil)
	_ engine.Stager   = (*Engine)(nil)
)

// New loads the model. It keeps no reference to m, which may be closed afterwards. On a device every
// planned batch size has run when New returns.
func New(m *model.Model, o Options) (*Engine, error) {
	began := time.Now()
	e, err := prepare(m, o)
	if err != nil {
		return nil, fmt.Errorf("onnxruntime engine: %w", err)
	}
	if e.sessions, err = e.newSessions(""); err != nil {
		return nil, fmt.Errorf("onnxruntime engine: %w", err)
	}
	for _, i := range e.sessions.instances {
		e.idle <- i
	}
	e.options.Logger.Info("onnxruntime engine ready", "variant", e.spec.Variant, "precision", e.spec.Precision, "library", e.loaded.api.Path,
		"threads", e.options.Threads, "instances", e.options.Instances, "took", time.Since(began).Round(time.Millisecond))
	return e, nil
}

func prepare(m *model.Model, o Options) (*Engine, error) {
	o, err := o.resolve(m)
	if err != nil {
		return nil, err
	}
	r, err := openLibrary(&o)
	if err != nil {
		return nil, err
	}
	s, err := sourceOf(m, &o)
	if err != nil {
		return nil, err
	}
	side := m.Config.ImageSize
	e := &Engine{
		options: o, loaded: r, source: s, pixels: m.Config.PixelTable(),
		rows:    engine.NewRowPool(side, side, 2*o.MaxBatch*o.Instances, engine.HostFormats()...),
		idle:    make(chan *instance, o.Instances),
		closing: make(chan struct{}),
	}
	e.spec = e.describe(m)
	return e, nil
}

func (e *Engine) describe(m *model.Model) engine.Spec {
	o, c := &e.options, m.Config
	device := "cpu"
	if o.Provider.onDevice() {
		device = fmt.Sprintf("cuda:%d", o.Device)
	}
	variant := fmt.Sprintf("ONNX Runtime %s, %s", e.loaded.api.Release, o.Provider)
	if o.CUDAGraph {
		variant += ", CUDA graphs"
	}
	return engine.Spec{
		Name: "onnxruntime", Variant: variant, Device: device, Precision: o.Precision, Modality: engine.ModalityImage,
		Width: c.ImageSize, Height: c.ImageSize,
		Formats:  engine.HostFormats(),
		Outputs:  []engine.Output{{Name: e.source.output, Dim: c.EmbedDim}},
		MaxBatch: o.MaxBatch, Batches: o.Batches, InFlight: o.Instances,
		Memory: o.memory(m),
	}
}

// sessions are an engine's instances and what they share.
type sessions struct {
	shared    capi.Session // the processor's: one for all instances; 0 on a device
	instances []*instance
	trace     string // the prefix of the traces' files; "" is none
}

// newSessions makes the sessions, and runs what is planned once.
func (e *Engine) newSessions(trace string) (_ *sessions, err error) {
	o, s := &e.options, &sessions{trace: trace}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeSessions(s))
		}
	}()
	if !o.Provider.onDevice() {
		if s.shared, err = e.loaded.newSession(o, e.source, nil, trace); err != nil {
			return nil, err
		}
	}
	for range o.Instances {
		i, err := newInstance(e, s)
		if err != nil {
			return nil, err
		}
		s.instances = append(s.instances, i)
		if o.Provider.onDevice() {
			if err := i.warmUp(); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// Spec describes the engine.
func (e *Engine) Spec() engine.Spec { return e.spec }

// NewRow lends host memory.
func (e *Engine) NewRow(f tensor.Format) (tensor.Row, error) { return e.rows.NewRow(f) }

// Run computes a batch. A context that ends stops it between two operators.
func (e *Engine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if err := e.spec.Check(rows, out); err != nil {
		return engine.Timings{}, err
	}
	i, err := engine.Acquire(ctx, e.idle, e.closing)
	if err != nil {
		return engine.Timings{}, err
	}
	defer func() { e.idle <- i }()
	return i.run(ctx, rows, out)
}

// Close waits for runs under way and frees the sessions. The library stays loaded.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		close(e.closing)
		e.rows.Close()
		e.profile.mu.Lock()
		defer e.profile.mu.Unlock()
		e.takeAll()
		e.closeErr = errors.Join(e.closeSessions(e.sessions), e.profile.discard())
	})
	return e.closeErr
}

// takeAll waits until no Run holds an instance; none can have one then.
func (e *Engine) takeAll() {
	for range cap(e.idle) {
		<-e.idle
	}
}

// closeSessions frees sessions whose instances nobody holds.
func (e *Engine) closeSessions(s *sessions) (err error) {
	for _, i := range s.instances {
		err = errors.Join(err, i.close())
	}
	return errors.Join(err, e.closeSession(s.shared, s.trace))
}

// closeSession ends a session's trace and frees it.
func (e *Engine) closeSession(s capi.Session, trace string) (err error) {
	if s != 0 && trace != "" {
		err = e.profile.end(e.loaded.api, s)
	}
	e.options.Provider.onOwner(func() { e.loaded.api.ReleaseSession(s) })
	return err
}
