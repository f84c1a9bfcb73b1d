package enginetest

import (
	"fmt"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Bench measures Run at each of the batch sizes, one run at a time, in images a second.
func Bench(b *testing.B, e engine.Engine, sizes ...int) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("b%d", n), func(b *testing.B) { bench(b, e, n) })
	}
}

// BenchOperators measures where the time of a Run goes, in milliseconds an image by operator. It skips
// an engine that is no Profiler.
func BenchOperators(b *testing.B, e engine.Engine, sizes ...int) {
	p, ok := e.(engine.Profiler)
	if !ok {
		b.Skipf("%s is no profiler", e.Spec().Name)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("b%d", n), func(b *testing.B) {
			p.Profile(true)
			bench(b, e, n)
			p.Profile(false)
			// The run that warms up is among the calls.
			for _, o := range p.Operators() {
				b.ReportMetric(float64(o.Total.Microseconds())/1000/float64((b.N+1)*n), o.Name+"-ms")
			}
		})
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
