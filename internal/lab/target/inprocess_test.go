package target

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// counting is an engine that knows how many runs overlap, and checks its rows.
type counting struct {
	spec             engine.Spec
	now, most, freed atomic.Int32
	enter            chan struct{}
	fail             error
}

type heapRow struct {
	e      *counting
	format tensor.Format
	bytes  []byte
}

func (r *heapRow) Format() tensor.Format { return r.format }
func (r *heapRow) Bytes() []byte         { return r.bytes }
func (r *heapRow) Release()              { r.e.freed.Add(1) }

func (e *counting) Spec() engine.Spec { return e.spec }

func (e *counting) NewRow(f tensor.Format) (tensor.Row, error) {
	return &heapRow{e, f, make([]byte, f.Size(e.spec.Width, e.spec.Height))}, nil
}

func (e *counting) Run(_ context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	n := e.now.Add(1)
	defer e.now.Add(-1)
	for was := e.most.Load(); n > was && !e.most.CompareAndSwap(was, n); was = e.most.Load() {
	}
	if e.enter != nil {
		<-e.enter
	}
	if len(rows) != len(out) {
		return engine.Timings{}, errors.New("rows and outputs differ")
	}
	return engine.Timings{Input: 1, Compute: 2, Output: 3}, e.fail
}

func (e *counting) Close() error { return nil }

func newCounting() *counting {
	return &counting{spec: engine.Spec{Name: "counting", Precision: engine.FP32, Width: 2, Height: 2, MaxBatch: 4, InFlight: 2,
		Formats: []tensor.Format{tensor.FormatUint8HWC}, Outputs: []engine.Output{{Name: "e", Dim: 3}}}}
}

func TestInProcess(t *testing.T) {
	e := newCounting()
	to, err := Open(t.Context(), Options{Format: InProcess, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	q, err := to.Prepare([]Image{image("a"), image("b")})
	if err != nil {
		t.Fatal(err)
	}
	if q.Images() != 2 || q.Bytes() != 24 {
		t.Errorf("%d images, %d bytes", q.Images(), q.Bytes())
	}
	r := do(t, dial(t, to), q)
	if r.Error != "" || r.Status != 200 || r.BytesOut != 24 || r.BytesIn != 24 || r.Server.Compute != 2 || r.Server.Input != 1 || r.Server.Output != 3 {
		t.Errorf("%+v", r)
	}
	e.fail = errors.New("out of memory")
	if r := do(t, dial(t, to), q); r.Error != "out of memory" || r.Status != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := to.Prepare(make([]Image, 5)); err == nil {
		t.Error("more images than the engine takes")
	}
	if _, err := to.Prepare([]Image{{Name: "big", Pixels: make([]byte, 27), Width: 3, Height: 3}}); err == nil {
		t.Error("an image of another size")
	}
	if err := to.Close(); err != nil || e.freed.Load() != 3 {
		t.Errorf("%d rows released, %v", e.freed.Load(), err)
	}
}

// At most Spec().InFlight runs overlap; who waits for one counts it as queue time and may give up.
func TestInProcessKeepsToInFlight(t *testing.T) {
	e := newCounting()
	e.enter = make(chan struct{})
	to, err := Open(t.Context(), Options{Format: InProcess, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	q, err := to.Prepare([]Image{image("a")})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan record.Request, 5)
	for range 5 {
		go func() {
			c, _ := to.Dial(context.Background())
			start := time.Now()
			var r record.Request
			_ = c.Do(context.Background(), q, func() int64 { return int64(time.Since(start)) }, &r)
			done <- r
		}()
	}
	for range 5 {
		e.enter <- struct{}{}
		if r := <-done; r.Error != "" || r.Server.Queue != time.Duration(r.Wrote-r.Sent) {
			t.Errorf("%+v", r)
		}
	}
	if n := e.most.Load(); n > 2 {
		t.Errorf("%d runs overlapped, the engine allows 2", n)
	}
}
