package service

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

const (
	ms      = time.Millisecond
	side    = 8  // pixels of the test model
	testDim = 16 // floats of an embedding
	latency = 10 * ms
)

// spy is the null engine, with an eye on rows and a hook into runs.
type spy struct {
	*null.Engine
	spec  engine.Spec
	after func(rows []tensor.Row, out [][]float32) error
	noRow error

	live atomic.Int64 // rows not yet released

	mu    sync.Mutex
	sizes []int
}

func newSpy(maxBatch int) *spy {
	e := null.New(null.Options{Width: side, Height: side, Dim: testDim, MaxBatch: maxBatch, Latency: latency})
	return &spy{Engine: e, spec: e.Spec()}
}

func (s *spy) Spec() engine.Spec { return s.spec }

func (s *spy) NewRow(f tensor.Format) (tensor.Row, error) {
	if s.noRow != nil {
		return nil, s.noRow
	}
	r, err := s.Engine.NewRow(f)
	if err != nil {
		return nil, err
	}
	s.live.Add(1)
	return &spyRow{Row: r, spy: s}, nil
}

func (s *spy) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(rows))
	s.mu.Unlock()
	bare := make([]tensor.Row, len(rows))
	for i, r := range rows {
		bare[i] = r.(*spyRow).Row
	}
	timings, err := s.Engine.Run(ctx, bare, out)
	if err == nil && s.after != nil {
		err = s.after(rows, out)
	}
	return timings, err
}

type spyRow struct {
	tensor.Row
	spy      *spy
	released atomic.Bool
}

func (r *spyRow) Release() {
	if r.released.Swap(true) {
		panic("a row was released twice")
	}
	r.spy.live.Add(-1)
	r.Row.Release()
}

// script is a pipeline whose images are commands: "slow", "bad", "panic", "huge", "big"; all others
// are images, and their bytes are the pixels.
type script struct {
	mu                    sync.Mutex
	busy, mostBusy        int
	memory, mostMemory    int64
	footprint, bigFooting int64
}

func (p *script) Footprint(data []byte) (int64, error) {
	switch {
	case bytes.HasPrefix(data, []byte("huge")):
		return 1 << 40, nil
	case bytes.HasPrefix(data, []byte("big")):
		return p.bigFooting, nil
	case bytes.HasPrefix(data, []byte("bad header")):
		return 0, fault.New(fault.UnsupportedMedia, "not an image")
	}
	return p.footprint, nil
}

func (p *script) count(d int, data []byte) {
	n, _ := p.Footprint(data)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy += d
	p.memory += int64(d) * n
	p.mostBusy, p.mostMemory = max(p.mostBusy, p.busy), max(p.mostMemory, p.memory)
}

func (p *script) Into(data []byte, row tensor.Row) (preproc.Info, error) {
	p.count(1, data)
	defer p.count(-1, data)
	info := preproc.Info{Decode: 2 * ms, Preprocess: ms}
	switch {
	case bytes.HasPrefix(data, []byte("bad")):
		return info, fault.New(fault.Invalid, "truncated")
	case bytes.HasPrefix(data, []byte("panic")):
		panic("index out of range")
	case bytes.HasPrefix(data, []byte("slow")):
		time.Sleep(time.Second)
	default:
		time.Sleep(3 * ms)
	}
	draw(data, row.Bytes())
	return info, nil
}

func (p *script) PixelsInto(pix []byte, _, _ int, row tensor.Row) error {
	draw(pix, row.Bytes())
	return nil
}

// draw fills a row with an image's bytes, again and again.
func draw(data, row []byte) {
	for i := range row {
		row[i] = data[i%len(data)]
	}
}

// expected is the embedding of an image by the null engine, normalised.
func expected(data string) []float32 {
	row := make([]byte, tensor.FormatUint8HWC.Size(side, side))
	draw([]byte(data), row)
	return unit(row)
}

func unit(row []byte) []float32 {
	v := make([]float32, testDim)
	null.Vector(v, row)
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

func near(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if d := a[i] - b[i]; d > 1e-6 || d < -1e-6 || d != d {
			return false
		}
	}
	return true
}

// model makes a model of a spy and a script; change may alter its options.
func model(t testing.TB, s *spy, p Pipeline, change func(*Options)) *Images {
	t.Helper()
	o := Options{
		Name: "m", Version: "1", Engine: s, Pipeline: p, DecodeWorkers: 4,
		Metadata: Metadata{ModelName: "ViT-B-32", Space: "s1", Synthetic: true},
		Logger:   slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func images(data ...string) *Request {
	r := &Request{Field: "images", Normalize: true}
	for _, d := range data {
		r.Items = append(r.Items, Item{Kind: Encoded, Data: []byte(d)})
	}
	return r
}

// finish closes the model and checks that every row came back.
func finish(t *testing.T, m *Images, s *spy) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := s.live.Load(); n != 0 {
		t.Errorf("%d rows were not released", n)
	}
	if l := m.live(); l.Pending != 0 || l.Queued != 0 || l.InFlight != 0 {
		t.Errorf("left behind: %+v", l)
	}
}

// instant is a pipeline without work.
type instant struct{}

func (*instant) Footprint([]byte) (int64, error) { return 1, nil }

func (*instant) Into(data []byte, row tensor.Row) (preproc.Info, error) {
	row.Bytes()[0] = data[0]
	return preproc.Info{Decode: 1, Preprocess: 1}, nil
}

func (*instant) PixelsInto([]byte, int, int, tensor.Row) error { return nil }
