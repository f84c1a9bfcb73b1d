package cuda

import (
	"fmt"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestCardTowers compares the models with the processor's engine in float32, each image of a batch of 512: an
// index that overflows shows in the last ones only. Two layers have every kernel of the full depth, which
// TestCardAgainstCPU computes in small batches.
func TestCardTowers(t *testing.T) {
	if _, err := driver.Count(); err != nil {
		t.Skip(err)
	}
	for name := range towers {
		c, _ := model.Preset(name)
		c.Layers = 2
		m := synthetic(t, c, false)
		images, want := oracle(t, m, 5)
		for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
			t.Run(fmt.Sprintf("%s/%s", name, p), func(t *testing.T) {
				batch := 512
				if p == engine.FP32 {
					batch = 96 // plain on purpose, and slow
				}
				e := openCard(t, m, Options{Precision: p, Instances: 1, MaxBatch: batch})
				checkRepeated(t, e, images, want, batch)
			})
		}
	}
}

// checkRepeated computes the images over and over in one batch.
func checkRepeated(t *testing.T, e *Engine, images [][]byte, want [][]float32, n int) {
	t.Helper()
	rows, out := make([]tensor.Row, n), make([][]float32, n)
	for i := range rows {
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		copy(r.Bytes(), images[i%len(images)])
		rows[i], out[i] = r, make([]float32, e.spec.Dim())
	}
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		t.Fatal(err)
	}
	for i := range out {
		if c := enginetest.Cosine(out[i], want[i%len(want)]); !(c >= enginetest.MinCosine(e.spec.Precision)) {
			t.Fatalf("image %d of %d: cosine %.7f", i, n, c)
		}
	}
}

// TestCardProfile: with the profile on the embeddings are the same bits, and the operators' times are the card's.
func TestCardProfile(t *testing.T) {
	c, _ := model.Preset("ViT-B-32-quickgelu")
	e := openCard(t, synthetic(t, c, false), Options{Precision: engine.FP16, Instances: 1, MaxBatch: 512})
	for _, n := range []int{1, 32, 512} {
		rows, plain := filled(t, e, n)
		if _, err := e.Run(t.Context(), rows, plain); err != nil {
			t.Fatal(err)
		}
		us := medianOf(20, func() {
			if _, err := e.Run(t.Context(), rows, plain); err != nil {
				t.Fatal(err)
			}
		})
		e.Profile(true)
		timed := make([][]float32, n)
		for i := range timed {
			timed[i] = make([]float32, e.spec.Dim())
		}
		const runs = 20
		for range runs {
			if _, err := e.Run(t.Context(), rows, timed); err != nil {
				t.Fatal(err)
			}
		}
		e.Profile(false)
		for i := range timed {
			for j, x := range timed[i] {
				if x != plain[i][j] {
					t.Fatalf("batch of %d, image %d: %v with the profile on, %v without", n, i, x, plain[i][j])
				}
			}
		}
		about, sum := e.Explain(), 0.0
		for _, o := range e.Operators() {
			took := float64(o.Total.Nanoseconds()) / 1e3 / runs
			sum += took
			t.Logf("b%-3d %-15s %4d calls %9.1f us %7.1f TFLOP/s (%4.1f %%) %7.0f GB/s (%4.1f %%)", n, o.Name, o.Calls/runs, took,
				float64(o.FLOPs)/o.Total.Seconds()/1e12, 100*float64(o.FLOPs)/o.Total.Seconds()/about.PeakFLOPs,
				float64(o.Bytes)/o.Total.Seconds()/1e9, 100*float64(o.Bytes)/o.Total.Seconds()/about.PeakBytes)
			if o.Calls == 0 || o.Total <= 0 || float64(o.FLOPs)/o.Total.Seconds() > about.PeakFLOPs {
				t.Errorf("batch of %d: %+v", n, o)
			}
		}
		t.Logf("b%-3d operators %.1f us, a run from pinned rows %.1f us; %s", n, sum, us, about.Means)
		if sum < 0.5*us || sum > 4*us+400 { // events cost a few us a kernel in small batches
			t.Errorf("batch of %d: operators add up to %.1f us, a run takes %.1f", n, sum, us)
		}
		for _, r := range rows {
			r.Release()
		}
	}
}
