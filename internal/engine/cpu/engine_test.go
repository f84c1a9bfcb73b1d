package cpu

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

var precisions = []engine.Precision{engine.FP32, engine.BF16}

func small(act model.Activation) model.Config { return config(64, 16, 64, 2, 4, 128, 32, act) }

func TestCompliance(t *testing.T) {
	m := formulaModel(small(model.GELU))
	for _, p := range precisions {
		t.Run(string(p), func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine {
				return open(t, m, Options{Precision: p, Threads: 2, Instances: 3, MaxBatch: 7})
			})
		})
	}
}

// TestReference compares with the float64 forward pass of this package's tests.
func TestReference(t *testing.T) {
	for _, c := range []model.Config{
		small(model.GELU),
		small(model.QuickGELU),
		config(40, 8, 60, 1, 3, 100, 20, model.GELU),     // nothing is a multiple of a register
		config(33, 16, 128, 2, 1, 64, 16, model.GELU),    // pixels beyond the last whole patch
		config(16, 16, 32, 2, 4, 32, 8, model.GELU),      // one patch
		config(96, 8, 48, 2, 3, 96, 24, model.QuickGELU), // 145 tokens
	} {
		m := formulaModel(c)
		var images [][]byte
		var want [][]float32
		for i := range 3 {
			images = append(images, formulaPixels(i, c.ImageSize))
			want = append(want, singles(referenceEmbedding(m, images[i])))
		}
		for _, p := range precisions {
			t.Run(fmt.Sprintf("%d/%d/%dx%d/%s/%s", c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Activation, p), func(t *testing.T) {
				enginetest.Golden(t, open(t, m, Options{Precision: p}), images, want)
			})
		}
	}
}

// goldenCase is one model of testdata/golden.json, which testdata/golden.py writes.
type goldenCase struct {
	Name, Activation, Weights                              string
	Image, Patch, Width, Layers, Heads, MLP, Embed, Images int
	Embeddings                                             [][]float32
}

func (g goldenCase) model(t *testing.T) *model.Model {
	t.Helper()
	act := model.GELU
	if g.Activation == model.QuickGELU.String() {
		act = model.QuickGELU
	}
	c := config(g.Image, g.Patch, g.Width, g.Layers, g.Heads, g.MLP, g.Embed, act)
	if g.Weights == "formula" {
		return formulaModel(c)
	}
	m, err := model.Synthetic(c, model.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGolden compares with open_clip.
func TestGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Cases []goldenCase }
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 6 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, g := range golden.Cases {
		t.Run(g.Name, func(t *testing.T) {
			if testing.Short() && g.Layers > 4 {
				t.Skip("a large model, and -short")
			}
			m := g.model(t)
			var images [][]byte
			for i := range g.Images {
				images = append(images, formulaPixels(i, g.Image))
			}
			for _, p := range precisions {
				t.Run(string(p), func(t *testing.T) {
					enginetest.Golden(t, open(t, m, Options{Precision: p}), images, g.Embeddings)
				})
			}
		})
	}
}

// TestOutliers holds bf16 to its contract on weights with channels of large magnitude, as trained
// transformers have them.
func TestOutliers(t *testing.T) {
	if testing.Short() {
		t.Skip("a large model, and -short")
	}
	c := config(224, 32, 768, 12, 12, 3072, 512, model.QuickGELU)
	m, err := model.Synthetic(c, model.SyntheticOptions{Outliers: true})
	if err != nil {
		t.Fatal(err)
	}
	exact := open(t, m, Options{Precision: engine.FP32})
	rows, want := fill(t, exact, tensor.FormatUint8HWC, 3)
	run(t, exact, rows, want)
	var images [][]byte
	for _, r := range rows {
		images = append(images, slices.Clone(r.Bytes()))
	}
	enginetest.Golden(t, open(t, m, Options{Precision: engine.BF16}), images, want)
}

// TestRowsAreIndependent wants the same bits whatever else is in the batch, whichever chunk a row falls
// into and however many threads there are.
func TestRowsAreIndependent(t *testing.T) {
	m := formulaModel(config(96, 8, 64, 3, 4, 128, 32, model.GELU)) // 145 tokens: five images a chunk
	for _, p := range precisions {
		t.Run(string(p), func(t *testing.T) {
			one := open(t, m, Options{Precision: p, Threads: 1, MaxBatch: 1})
			many := open(t, m, Options{Precision: p, Threads: 3, MaxBatch: 13})
			rows, out := fill(t, many, tensor.FormatUint8HWC, 13)
			run(t, many, rows, out)
			for i := range rows {
				alone := [][]float32{make([]float32, 32)}
				run(t, one, rows[i:i+1], alone)
				if !slices.Equal(out[i], alone[0]) {
					t.Errorf("row %d of 13 differs from the same row alone", i)
				}
			}
		})
	}
}

func fill(t testing.TB, e *Engine, f tensor.Format, n int) (rows []tensor.Row, out [][]float32) {
	t.Helper()
	for i := range n {
		r, err := e.NewRow(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Release)
		enginetest.Fill(r, e.spec.Width, e.spec.Height, uint64(i))
		rows, out = append(rows, r), append(out, make([]float32, e.spec.Dim()))
	}
	return rows, out
}

func run(t testing.TB, e *Engine, rows []tensor.Row, out [][]float32) {
	t.Helper()
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		t.Fatal(err)
	}
}

// TestFormatsAgree gives the same image as bytes and as normalised planes.
func TestFormatsAgree(t *testing.T) {
	m := formulaModel(small(model.GELU))
	e := open(t, m, Options{Precision: engine.FP32})
	c := m.Config
	rows, fromBytes := fill(t, e, tensor.FormatUint8HWC, 2)
	planes, fromFloats := fill(t, e, tensor.FormatFloat32CHW, 2)
	for i := range rows {
		f, area := tensor.Float32s(planes[i].Bytes()), c.ImageSize*c.ImageSize
		for at, v := range rows[i].Bytes() {
			channel := at % 3
			f[channel*area+at/3] = (float32(v)/255 - c.Mean[channel]) / c.Std[channel]
		}
	}
	run(t, e, rows, fromBytes)
	run(t, e, planes, fromFloats)
	for i := range fromBytes {
		if !slices.Equal(fromBytes[i], fromFloats[i]) {
			t.Errorf("image %d: bytes and floats give different embeddings", i)
		}
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	e := open(t, formulaModel(small(model.GELU)), Options{Threads: 2, MaxBatch: 3})
	rows, out := fill(t, e, tensor.FormatUint8HWC, 3)
	run(t, e, rows, out)
	if n := testing.AllocsPerRun(50, func() { run(t, e, rows, out) }); n >= 1 {
		t.Errorf("%v allocations a run", n)
	}
}

// TestModelMayBeClosed overwrites the model's memory after New.
func TestModelMayBeClosed(t *testing.T) {
	m := formulaModel(small(model.GELU))
	e := open(t, m, Options{Precision: engine.FP32})
	rows, before := fill(t, e, tensor.FormatUint8HWC, 1)
	run(t, e, rows, before)
	want := slices.Clone(before[0])
	w := m.Weights
	for _, tensor := range []model.Tensor{w.Patch, w.Class, w.Position, w.PreNorm.Weight, w.Blocks[0].QKV.Bias, w.Blocks[1].FC2.Weight, w.PostNorm.Bias, w.Proj} {
		clear(tensor.Data)
	}
	run(t, e, rows, before)
	if !slices.Equal(before[0], want) {
		t.Error("the engine still reads the model's memory")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		options    Options
		spoil      func(*model.Model)
	}{
		{"precision", "fp16", Options{Precision: engine.FP16}, func(*model.Model) {}},
		{"shape", "conv1.weight", Options{}, func(m *model.Model) { m.Weights.Patch.Shape[0]-- }},
		{"data", "proj", Options{}, func(m *model.Model) { m.Weights.Proj.Data = m.Weights.Proj.Data[4:] }},
		{"layers", "blocks", Options{}, func(m *model.Model) { m.Weights.Blocks = m.Weights.Blocks[1:] }},
		{"heads", "heads", Options{}, func(m *model.Model) { m.Config.Heads = 5 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := formulaModel(small(model.GELU))
			c.spoil(m)
			if _, err := New(m, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error that names %q, got %v", c.want, err)
			}
		})
	}
	t.Setenv("VITRINE_CPU", "no such level")
	if _, err := New(formulaModel(small(model.GELU)), Options{}); err == nil || !strings.Contains(err.Error(), "VITRINE_CPU") {
		t.Errorf("want an error that names VITRINE_CPU, got %v", err)
	}
}

func TestStopsBetweenLayers(t *testing.T) {
	e := open(t, formulaModel(small(model.GELU)), Options{})
	rows, out := fill(t, e, tensor.FormatUint8HWC, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Profile(true)
	r := <-e.idle
	var timings engine.Timings
	err := r.run(ctx, rows, out, &timings)
	e.idle <- r
	if err == nil {
		t.Fatal("a cancelled run succeeded")
	}
	for _, o := range e.Operators() {
		if o.Name == operatorNames[opQKV] && o.Calls != 0 {
			t.Error("a layer ran after the context had ended")
		}
	}
}

func TestProfile(t *testing.T) {
	c := small(model.GELU)
	e := open(t, formulaModel(c), Options{})
	rows, out := fill(t, e, tensor.FormatUint8HWC, 1)
	run(t, e, rows, out)
	for _, o := range e.Operators() {
		if o.Calls != 0 {
			t.Errorf("%s was measured unasked", o.Name)
		}
	}
	e.Profile(true)
	run(t, e, rows, out)
	e.Profile(false)
	run(t, e, rows, out)
	want := []int64{1, 1, int64(2 + 2*c.Layers), 2, 2, 2, 2, 2, 1}
	for i, o := range e.Operators() {
		if o.Calls != want[i] || o.Total <= 0 {
			t.Errorf("%s: %d calls in %v, want %d", o.Name, o.Calls, o.Total, want[i])
		}
	}
}

// BenchmarkForward is a ViT-B/32 of synthetic weights.
func BenchmarkForward(b *testing.B) {
	m := benchmarkModel(b)
	for _, p := range precisions {
		b.Run(string(p), func(b *testing.B) { enginetest.Bench(b, open(b, m, Options{Precision: p}), 1, 4, 16) })
	}
}

// BenchmarkOperators tells where its time goes.
func BenchmarkOperators(b *testing.B) {
	m := benchmarkModel(b)
	for _, p := range precisions {
		b.Run(string(p), func(b *testing.B) { enginetest.BenchOperators(b, open(b, m, Options{Precision: p}), 1, 16) })
	}
}

func BenchmarkNew(b *testing.B) {
	m := benchmarkModel(b)
	for _, p := range precisions {
		b.Run(string(p), func(b *testing.B) {
			for b.Loop() {
				e, err := New(m, Options{Precision: p})
				if err != nil {
					b.Fatal(err)
				}
				_ = e.Close()
			}
		})
	}
}

func benchmarkModel(b *testing.B) *model.Model {
	c, ok := model.Preset("ViT-B-32")
	if !ok {
		b.Fatal("no preset")
	}
	m, err := model.Synthetic(c, model.SyntheticOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return m
}
