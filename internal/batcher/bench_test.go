package batcher

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// quick answers at once: what is left is the batcher's own cost.
type quick struct{ spec engine.Spec }

func (q *quick) Spec() engine.Spec                        { return q.spec }
func (q *quick) NewRow(tensor.Format) (tensor.Row, error) { return plainRow{}, nil }
func (q *quick) Close() error                             { return nil }
func (q *quick) Run(context.Context, []tensor.Row, [][]float32) (engine.Timings, error) {
	return engine.Timings{}, nil
}

type plainRow struct{}

func (plainRow) Format() tensor.Format { return tensor.FormatUint8HWC }
func (plainRow) Bytes() []byte         { return nil }
func (plainRow) Release()              {}

// BenchmarkDo is one part from submission to answer, with as many submitters as the name says.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			x, err := New(&quick{spec: newFake(b, 32, 1).spec}, Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer x.Close()
			b.ReportAllocs()
			runCallers(b, x, callers)
			s := x.Stats()
			b.ReportMetric(float64(s.Rows)/float64(s.Executions), "rows/batch")
		})
	}
}

func runCallers(b *testing.B, x *Batcher, callers int) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	runtime.GC()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			out := make([]float32, 2)
			var line telemetry.Timeline
			rows, outs := []tensor.Row{plainRow{}}, [][]float32{out}
			for left.Add(-1) >= 0 {
				if err := x.Do(b.Context(), Part{Rows: rows, Out: outs}, &line); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
