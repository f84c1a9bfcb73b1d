package batcher

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// fakeRow remembers its life, and answers with its id.
type fakeRow struct {
	t        testing.TB
	id       float32
	format   tensor.Format
	inRun    atomic.Bool
	released atomic.Int32
}

func (r *fakeRow) Format() tensor.Format { return r.format }
func (r *fakeRow) Bytes() []byte         { return nil }
func (r *fakeRow) Release() {
	if r.inRun.Load() {
		r.t.Errorf("row %g was released while its batch ran", r.id)
	}
	if r.released.Add(1) != 1 {
		r.t.Errorf("row %g was released twice", r.id)
	}
}

// execution is what the fake engine saw of one run.
type execution struct {
	At   time.Duration // since the engine was made
	Size int
}

// fakeEngine answers each row with its id, after behave.
type fakeEngine struct {
	t      testing.TB
	spec   engine.Spec
	behave func(ctx context.Context, rows []tensor.Row) error
	begin  time.Time

	mu      sync.Mutex
	running int
	ran     []execution
	first   []float32 // id of each execution's first row
}

func newFake(t testing.TB, maxBatch, inFlight int) *fakeEngine {
	return &fakeEngine{t: t, begin: time.Now(), spec: engine.Spec{
		Name: "fake", MaxBatch: maxBatch, InFlight: inFlight, Outputs: []engine.Output{{Name: "id", Dim: 2}},
		Formats: []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW},
	}}
}

func (e *fakeEngine) Spec() engine.Spec                        { return e.spec }
func (e *fakeEngine) NewRow(tensor.Format) (tensor.Row, error) { return nil, nil }
func (e *fakeEngine) Close() error                             { return nil }

func (e *fakeEngine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	e.enter(rows)
	defer e.leave(rows)
	if e.behave != nil {
		if err := e.behave(ctx, rows); err != nil {
			return engine.Timings{}, err
		}
	}
	for i, r := range rows {
		out[i][0], out[i][1] = r.(*fakeRow).id, float32(len(rows))
	}
	return engine.Timings{Compute: time.Millisecond}, nil
}

func (e *fakeEngine) enter(rows []tensor.Row) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running++; e.running > e.spec.InFlight {
		e.t.Errorf("%d runs overlap, %d may", e.running, e.spec.InFlight)
	}
	if len(rows) < 1 || len(rows) > e.spec.MaxBatch {
		e.t.Errorf("a batch of %d", len(rows))
	}
	for _, r := range rows {
		if r.Format() != rows[0].Format() {
			e.t.Error("a batch mixes formats")
		}
		if f := r.(*fakeRow); f.released.Load() != 0 || f.inRun.Swap(true) {
			e.t.Errorf("row %g is not the batch's own", f.id)
		}
	}
	e.ran = append(e.ran, execution{time.Since(e.begin), len(rows)})
	e.first = append(e.first, rows[0].(*fakeRow).id)
}

func (e *fakeEngine) leave(rows []tensor.Row) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	for _, r := range rows {
		r.(*fakeRow).inRun.Store(false)
	}
}

// takes makes every run last d of the bubble's time.
func takes(d time.Duration) func(context.Context, []tensor.Row) error {
	return func(context.Context, []tensor.Row) error {
		time.Sleep(d)
		return nil
	}
}

// call is one Do and how it ended.
type call struct {
	rows   []*fakeRow
	out    [][]float32
	cancel context.CancelFunc
	line   telemetry.Timeline
	err    error
	at     time.Duration // when it ended, since the bench began
	ended  chan struct{}
}

// bench is a batcher over a fake engine, inside a synctest bubble.
type bench struct {
	t    *testing.T
	e    *fakeEngine
	b    *Batcher
	ids  float32
	zero time.Time
}

func newBench(t *testing.T, e *fakeEngine, cfg Config) *bench {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := New(e, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, e: e, b: b, zero: time.Now()}
}

// submit starts a Do of n rows and returns once it waits or has ended.
func (x *bench) submit(n int, p Part) *call {
	return x.submitAs(tensor.FormatUint8HWC, n, p)
}

func (x *bench) submitAs(f tensor.Format, n int, p Part) *call {
	ctx, cancel := context.WithCancel(x.t.Context())
	c := &call{cancel: cancel, ended: make(chan struct{})}
	for range n {
		x.ids++
		r := &fakeRow{t: x.t, id: x.ids, format: f}
		c.rows = append(c.rows, r)
		c.out = append(c.out, make([]float32, x.e.spec.Dim()))
		p.Rows = append(p.Rows, r)
	}
	p.Out = c.out
	go func() {
		defer close(c.ended)
		defer cancel()
		c.err = x.b.Do(ctx, p, &c.line)
		c.at = time.Since(x.zero)
	}()
	synctest.Wait()
	return c
}

// wait returns the call's error and checks what holds for every answer.
func (x *bench) wait(c *call) error {
	x.t.Helper()
	<-c.ended
	for i, r := range c.rows {
		if c.err == nil && (c.out[i][0] != r.id || c.line.BatchSize != int(c.out[i][1])) {
			x.t.Errorf("row %g was answered %v, batch size %d", r.id, c.out[i], c.line.BatchSize)
		}
	}
	return c.err
}

// close ends the batcher and checks that nothing is left.
func (x *bench) close(calls ...*call) {
	x.t.Helper()
	x.b.Close()
	synctest.Wait()
	for _, c := range calls {
		for _, r := range c.rows {
			if n := r.released.Load(); n != 1 {
				x.t.Errorf("row %g was released %d times", r.id, n)
			}
		}
	}
	s := x.b.Stats()
	if s.Queued != 0 || s.QueuedRows != 0 || s.Running != 0 || s.RunningRows != 0 {
		x.t.Errorf("left behind: %+v", s)
	}
}
