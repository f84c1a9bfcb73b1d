package enginetest

import (
	"fmt"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Bench measures Run at each of the batch sizes, one run at a time, in images a second; from an engine
// that is a Profiler it also reports each operator's share of the time, in per cent. Close the engine
// afterwards.
func Bench(b *testing.B, e engine.Engine, sizes ...int) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("b%d", n), func(b *testing.B) { bench(b, e, n) })
	}
}

func bench(b *testing.B, e engine.Engine, n int) {
	rows := make([]tensor.Row, n)
	for i := range rows {
		rows[i] = newRow(b, e, e.Spec().Formats[0], uint64(i))
		defer rows[i].Release()
	}
	out := outputs(e.Spec(), n)
	run := func() {
		if _, err := e.Run(b.Context(), rows, out); err != nil {
			b.Fatal(err)
		}
	}
	run()
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "img/s")
}
