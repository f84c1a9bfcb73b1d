package null

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func TestCompliance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		return New(Options{Width: 8, Height: 8, Dim: 16, MaxBatch: 5, InFlight: 3})
	})
}

func TestDefaults(t *testing.T) {
	s := New(Options{}).Spec()
	if s.Width != 224 || s.Height != 224 || s.Dim() != 512 || s.MaxBatch != 32 || s.InFlight != 1 {
		t.Errorf("unexpected defaults: %+v", s)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Width: 2, Height: 2, Dim: 4, Latency: time.Second})
		rows, out := one(t, e)
		start := time.Now()
		if _, err := e.Run(t.Context(), rows, out); err != nil || time.Since(start) != time.Second {
			t.Errorf("took %v, error %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := e.Run(ctx, rows, out); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("want the context's error, got %v", err)
		}
	})
}

func TestVectorDependsOnEachOfTheFirstBytes(t *testing.T) {
	row := make([]byte, signed)
	var zero, v [8]float32
	Vector(zero[:], row)
	for i := range row {
		row[i] = 1
		Vector(v[:], row)
		row[i] = 0
		if v == zero {
			t.Errorf("byte %d does not count", i)
		}
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	e := New(Options{})
	rows, out := one(t, e)
	if n := testing.AllocsPerRun(100, func() { _, _ = e.Run(t.Context(), rows, out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func one(t *testing.T, e *Engine) ([]tensor.Row, [][]float32) {
	t.Helper()
	r, err := e.NewRow(tensor.FormatUint8HWC)
	if err != nil {
		t.Fatal(err)
	}
	return []tensor.Row{r}, [][]float32{make([]float32, e.Spec().Dim())}
}

func BenchmarkRun(b *testing.B) { enginetest.Bench(b, New(Options{}), 1, 32) }
