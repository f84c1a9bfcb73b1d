// Package null is an engine that answers at once: whatever a server does besides computing is measured
// with it. Its vectors tell rows apart, so that a mixed-up batch shows.
package null

import (
	"context"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Options shape the engine. Zero values become 224 x 224 pixels, 512 dimensions, batches of up to 32
// and one run in flight.
type Options struct {
	Width, Height int
	Dim           int
	MaxBatch      int
	InFlight      int
	// Latency is how long each Run takes, whatever its size. 0 answers at once.
	Latency time.Duration
}

// Engine answers without computing.
type Engine struct {
	spec    engine.Spec
	latency time.Duration
	rows    *engine.RowPool

	mu     sync.RWMutex // read-held by each Run
	closed bool
}

var _ engine.Engine = (*Engine)(nil)

// New makes a null engine.
func New(o Options) *Engine {
	o = o.withDefaults()
	return &Engine{
		latency: o.Latency,
		rows:    engine.NewRowPool(o.Width, o.Height, 4*o.MaxBatch, engine.HostFormats()...),
		spec: engine.Spec{
			Name: "null", Variant: "none", Device: "none", Precision: engine.FP32, Modality: engine.ModalityImage,
			Width: o.Width, Height: o.Height,
			Formats:  engine.HostFormats(),
			Outputs:  []engine.Output{{Name: "embedding", Dim: o.Dim}},
			MaxBatch: o.MaxBatch, InFlight: o.InFlight,
			Memory: engine.Memory{HostPerItem: int64(tensor.FormatUint8HWC.Size(o.Width, o.Height))},
		},
	}
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *int
		value int
	}{{&o.Width, 224}, {&o.Height, 224}, {&o.Dim, 512}, {&o.MaxBatch, 32}, {&o.InFlight, 1}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return o
}

// Spec describes the engine.
func (e *Engine) Spec() engine.Spec { return e.spec }

// NewRow lends host memory.
func (e *Engine) NewRow(f tensor.Format) (tensor.Row, error) { return e.rows.NewRow(f) }

// Run fills each out[i] from the first bytes of row i.
func (e *Engine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return engine.Timings{}, engine.ErrClosed()
	}
	if err := e.spec.Check(rows, out); err != nil {
		return engine.Timings{}, err
	}
	start := time.Now()
	if err := wait(ctx, e.latency); err != nil {
		return engine.Timings{}, err
	}
	for i, r := range rows {
		Vector(out[i], r.Bytes())
	}
	return engine.Timings{Compute: time.Since(start)}, nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signed is how many of a row's bytes its vector depends on.
const signed = 64

// Vector fills v with the null engine's answer to a row: numbers in [-1, 1) drawn from a generator
// (xorshift64*) that the row's first 64 bytes seed.
func Vector(v []float32, row []byte) {
	const prime, odd = 1099511628211, 0x2545f4914f6cdd1d
	s := uint64(14695981039346656037)
	for _, b := range row[:min(signed, len(row))] {
		s = (s ^ uint64(b)) * prime
	}
	s |= 1
	for i := range v {
		s ^= s >> 12
		s ^= s << 25
		s ^= s >> 27
		v[i] = float32(int32(s*odd>>32)) * 0x1p-31
	}
}

// Close waits for runs under way.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.rows.Close()
	return nil
}
