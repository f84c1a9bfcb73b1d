package cuda

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/kernels"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func small(act model.Activation) model.Config {
	return model.Config{ImageSize: 64, PatchSize: 16, Width: 128, Layers: 2, Heads: 2, MLP: 256, EmbedDim: 64, Activation: act,
		Epsilon: 1e-5, Mean: [3]float32{0.48, 0.46, 0.41}, Std: [3]float32{0.27, 0.26, 0.28},
		Interpolation: "bicubic", ResizeMode: "shortest"}
}

func synthetic(t testing.TB, c model.Config, outliers bool) *model.Model {
	t.Helper()
	m, err := model.Synthetic(c, model.SyntheticOptions{Seed: 1, Outliers: outliers})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// openCard makes an engine on the GPU, or skips.
func openCard(t testing.TB, m *model.Model, o Options) *Engine {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	e, err := New(m, o)
	if errors.Is(err, driver.ErrNoDriver) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestCardCompliance(t *testing.T) {
	m := synthetic(t, small(model.GELU), false)
	for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
		t.Run(string(p), func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine {
				return openCard(t, m, Options{Precision: p, Instances: 3, MaxBatch: 24})
			})
		})
	}
}

// TestCardAgainstCPU compares with the processor's engine in float32, on the models that are served.
func TestCardAgainstCPU(t *testing.T) {
	if _, err := driver.Count(); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"ViT-B-32-quickgelu", "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336"} {
		for _, outliers := range []bool{false, true} {
			c, ok := model.Preset(name)
			if !ok {
				t.Fatalf("no preset %s", name)
			}
			if outliers && name != "ViT-B-32" {
				continue
			}
			m := synthetic(t, c, outliers)
			images, want := oracle(t, m, 4)
			for _, p := range []engine.Precision{engine.FP32, engine.FP16, engine.BF16} {
				t.Run(fmt.Sprintf("%s/%v/%s", name, outliers, p), func(t *testing.T) {
					enginetest.Golden(t, openCard(t, m, Options{Precision: p, Instances: 1, MaxBatch: 8}), images, want)
				})
			}
		}
	}
}

// TestCardPortable runs the code for other cards on this one: PTX of compute capability 8.0 and 9.0, compiled by
// the driver. Machine code for 8.0, 8.6 and 8.9 runs on no Hopper; here it stays unrun.
func TestCardPortable(t *testing.T) {
	if _, err := driver.Count(); err != nil {
		t.Skip(err)
	}
	c, _ := model.Preset("ViT-B-32-quickgelu")
	m := synthetic(t, c, false)
	images, want := oracle(t, m, 4)
	for _, target := range []kernels.Target{kernels.Compute80, kernels.Compute90} {
		for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
			t.Run(fmt.Sprintf("%s/%s", target, p), func(t *testing.T) {
				e := openCard(t, m, Options{Precision: p, Instances: 1, MaxBatch: 64, target: target})
				enginetest.Golden(t, e, images, want)
				for _, n := range []int{1, 8, 64} {
					rows, out := filled(t, e, n)
					us := medianOf(20, func() {
						if _, err := e.Run(t.Context(), rows, out); err != nil {
							t.Fatal(err)
						}
					})
					t.Logf("batch of %d: %.0f us", n, us)
					for _, r := range rows {
						r.Release()
					}
				}
			})
		}
	}
}

// openOracle is the processor's engine in float32.
func openOracle(t testing.TB, m *model.Model) engine.Engine {
	t.Helper()
	e, err := cpu.New(m, cpu.Options{Precision: engine.FP32, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// oracle are n images and their embeddings from the processor's engine in float32.
func oracle(t testing.TB, m *model.Model, n int) (images [][]byte, want [][]float32) {
	t.Helper()
	e := openOracle(t, m)
	rows, out := filled(t, e, n)
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		images = append(images, append([]byte(nil), r.Bytes()...))
		want = append(want, out[i])
		r.Release()
	}
	return images, want
}

// filled are n rows of pixels and room for their embeddings.
func filled(t testing.TB, e engine.Engine, n int) (rows []tensor.Row, out [][]float32) {
	t.Helper()
	s := e.Spec()
	for i := range n {
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		enginetest.Fill(r, s.Width, s.Height, uint64(i))
		rows = append(rows, r)
		out = append(out, make([]float32, s.Dim()))
	}
	return rows, out
}

// TestCardSpeed prints the time of a batch of each size.
func TestCardSpeed(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	c, _ := model.Preset("ViT-B-32-quickgelu")
	m := synthetic(t, c, false)
	for _, p := range []engine.Precision{engine.FP16, engine.BF16} {
		e := openCard(t, m, Options{Precision: p, Instances: 1, MaxBatch: 512})
		r := <-e.idle
		if err := driver.Do(e.gpu, func() error { return e.speed(t, r) }); err != nil {
			t.Fatal(err)
		}
		e.idle <- r
		for _, n := range []int{1, 8, 32, 512} {
			rows, out := filled(t, e, n)
			us := medianOf(max(20, 2000/n), func() {
				if _, err := e.Run(t.Context(), rows, out); err != nil {
					t.Fatal(err)
				}
			})
			fmt.Printf("%s Run from pinned rows b%-3d %8.1f us %8.0f img/s\n", p, n, us, float64(n)/us*1e6)
			for _, r := range rows {
				r.Release()
			}
		}
	}
}

// speed prints, for each planned size, rows on the device: the median of launch and wait, and the mean of
// launches one after the other.
func (e *Engine) speed(t *testing.T, r *instance) error {
	pixels := tensor.FormatUint8HWC.Size(224, 224)
	each := ceil(pixels, alignment) * alignment
	memory, err := e.gpu.Alloc(each * e.spec.MaxBatch)
	if err != nil {
		return err
	}
	defer e.gpu.Free(memory)
	rows, _ := filled(t, e, 16)
	at := make([]driver.Pointer, e.spec.MaxBatch)
	for i := range at {
		at[i] = memory + driver.Pointer(i*each)
		if err := e.gpu.CopyIn(at[i], rows[i%16].Bytes()); err != nil {
			return err
		}
	}
	from, err := e.gpu.NewEvent()
	if err != nil {
		return err
	}
	to, err := e.gpu.NewEvent()
	if err != nil {
		return err
	}
	for i, n := range r.batches {
		r.fill(tensor.FormatUint8HWC, at[:n])
		launch := func() {
			if err := errors.Join(e.gpu.LaunchGraph(r.graphs[i], r.stream), e.gpu.Synchronize(r.stream)); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			launch()
		}
		us := medianOf(max(30, 3000/n), launch)
		const times = 30
		if err := e.gpu.Record(from, r.stream); err != nil {
			return err
		}
		for range times {
			if err := e.gpu.LaunchGraph(r.graphs[i], r.stream); err != nil {
				return err
			}
		}
		if err := errors.Join(e.gpu.Record(to, r.stream), e.gpu.Synchronize(r.stream)); err != nil {
			return err
		}
		ms, err := e.gpu.Elapsed(from, to)
		if err != nil {
			return err
		}
		mean := 1000 * float64(ms) / times
		fmt.Printf("%s device rows b%-3d median %8.1f us, back to back %8.1f us, %8.0f img/s\n", e.spec.Precision, n, us, mean, float64(n)/mean*1e6)
	}
	return nil
}

// limited drops all launches but the first few.
type limited struct {
	driver.GPU
	left int
}

func (g *limited) Launch(l driver.Launch, s driver.Stream) error {
	if g.left--; g.left < 0 {
		return nil
	}
	return g.GPU.Launch(l, s)
}

// TestCardOperators prints what each kernel of a forward pass adds to its time.
func TestCardOperators(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	m, _ := model.Preset("ViT-B-32-quickgelu")
	e := openCard(t, synthetic(t, m, false), Options{Precision: engine.FP16, Instances: 1, MaxBatch: 512})
	r := <-e.idle
	defer func() { e.idle <- r }()
	rows, _ := filled(t, e, 1)
	err := driver.Do(e.gpu, func() error {
		c := &card{GPU: e.gpu, t: t, stream: r.stream}
		at := make([]driver.Pointer, e.spec.MaxBatch)
		for i := range at {
			at[i] = c.alloc(150528)
			c.check(e.gpu.CopyIn(at[i], rows[0].Bytes()))
		}
		for _, n := range []int{1, 8, 32, 512} {
			r.fill(tensor.FormatUint8HWC, at[:n])
			l := e.launcher(r.stream)
			c.check(r.arena.forward(l, e.weights, n))
			total, last := l.count, 0.0
			fmt.Printf("b%d, %d kernels:", n, total)
			for k := 1; k <= total; k++ {
				us := c.time(1, func(int) {
					l := e.launcher(r.stream)
					l.gpu = &limited{e.gpu, k}
					c.check(r.arena.forward(l, e.weights, n))
				})
				if k <= 14 || k > total-10 {
					fmt.Printf(" %.1f", us-last)
				} else if k == 15 {
					fmt.Printf(" ...")
				}
				last = us
			}
			fmt.Printf(" total %.1f\n", last)
		}
		for _, p := range c.allocated {
			c.check(c.Free(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
