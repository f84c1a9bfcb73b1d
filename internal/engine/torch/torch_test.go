//go:build linux

package torch

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// python is an interpreter that has torch.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("VITRINE_TORCH_PYTHON")
	if path == "" {
		t.Skip("VITRINE_TORCH_PYTHON names no Python that has torch")
	}
	return path
}

// device is VITRINE_TORCH_DEVICE's, so that the tests run on a card where there is one.
func device() string { return os.Getenv("VITRINE_TORCH_DEVICE") }

func open(t *testing.T, m *model.Model, o Options) *Engine {
	t.Helper()
	o.Python, o.Device = python(t), device()
	e, err := New(m, o)
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

func tiny(t *testing.T, act model.Activation) *model.Model {
	t.Helper()
	m, err := model.Synthetic(model.Config{ImageSize: 32, PatchSize: 8, Width: 128, Layers: 3, Heads: 2, MLP: 256, EmbedDim: 48,
		Activation: act, Epsilon: 1e-5, Mean: [3]float32{.48, .46, .41}, Std: [3]float32{.27, .26, .28},
		Interpolation: "bicubic", ResizeMode: "shortest"}, model.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestCompliance(t *testing.T) {
	m := tiny(t, model.GELU)
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"fp32", Options{Precision: engine.FP32, MaxBatch: 5, Threads: 2}},
		{"bf16, two workers", Options{Precision: engine.BF16, MaxBatch: 4, Instances: 2, Threads: 2}},
		{"fp16", Options{Precision: engine.FP16, MaxBatch: 3, Threads: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, m, c.o) })
		})
	}
}

// TestCompiledKeepsToTheContract pads to planned batches. It takes a C++ compiler on a processor.
func TestCompiledKeepsToTheContract(t *testing.T) {
	if os.Getenv("VITRINE_TORCH_COMPILE") == "" {
		t.Skip("VITRINE_TORCH_COMPILE is not set: compilation takes minutes")
	}
	m := tiny(t, model.QuickGELU)
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		return open(t, m, Options{Precision: engine.FP32, MaxBatch: 3, Threads: 2, Compile: true})
	})
}

// TestGolden compares with open_clip in float64: the same file that the native engine is held to.
func TestGolden(t *testing.T) {
	python(t)
	data, err := os.ReadFile("../cpu/testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name, Activation, Weights                              string
			Image, Patch, Width, Layers, Heads, MLP, Embed, Images int
			Embeddings                                             [][]float32
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, g := range golden.Cases {
		if g.Weights == "formula" {
			continue // the weights are a function of the native engine's tests
		}
		ran++
		c, ok := model.Preset("ViT-B-32")
		if !ok {
			t.Fatal("no ViT-B-32")
		}
		if g.Activation == model.QuickGELU.String() {
			c.Activation = model.QuickGELU
		}
		if c.Width != g.Width || c.Layers != g.Layers || c.ImageSize != g.Image {
			t.Fatalf("%s is no ViT-B-32", g.Name)
		}
		m, err := model.Synthetic(c, model.SyntheticOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var images [][]byte
		for i := range g.Images {
			images = append(images, formulaPixels(i, g.Image))
		}
		for _, p := range []engine.Precision{engine.FP32, engine.BF16, engine.FP16} {
			t.Run(g.Name+"/"+string(p), func(t *testing.T) {
				enginetest.Golden(t, open(t, m, Options{Precision: p, MaxBatch: len(images)}), images, g.Embeddings)
			})
		}
	}
	if ran == 0 {
		t.Error("no case ran")
	}
}

// formulaPixels are pixels of ../cpu/testdata/golden.py: the highest bytes of a splitmix64 sequence, each
// image darker than the one before.
func formulaPixels(number, size int) []byte {
	const golden = 0x9E3779B97F4A7C15
	out := make([]byte, 3*size*size)
	for i := range out {
		z := uint64(1000+number)<<40 + uint64(i+1)*golden
		z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
		z = (z ^ (z >> 27)) * 0x94D049BB133111EB
		out[i] = byte((z ^ (z >> 31)) >> 56 >> number)
	}
	return out
}

// TestProfile finds PyTorch's matrix products, and nothing once profiling is off.
func TestProfile(t *testing.T) {
	e := open(t, tiny(t, model.GELU), Options{Precision: engine.FP32, MaxBatch: 2})
	calls := func() (n int64) {
		for _, o := range e.Operators() {
			if strings.Contains(o.Name, "addmm") || strings.Contains(o.Name, "linear") || strings.Contains(o.Name, "mm") {
				n += o.Calls
			}
		}
		return n
	}
	run := func() {
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		if _, err := e.Run(t.Context(), []tensor.Row{r}, [][]float32{make([]float32, e.Spec().Dim())}); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if len(e.Operators()) != 0 {
		t.Errorf("without profiling: %+v", e.Operators())
	}
	e.Profile(true)
	run()
	once := calls()
	run()
	if once < 12 || calls() != 2*once { // four linear layers in each of three blocks
		t.Errorf("%d matrix products in a run, %d in two: %+v", once, calls(), e.Operators())
	}
	e.Profile(false)
	run()
	if calls() != 2*once {
		t.Errorf("%d after profiling", calls())
	}
}

// TestOutliers holds half precision to its contract on weights with channels of large magnitude, as trained
// transformers have them, against the native engine's float32.
func TestOutliers(t *testing.T) {
	python(t)
	c, _ := model.Preset("ViT-B-32-quickgelu")
	m, err := model.Synthetic(c, model.SyntheticOptions{Outliers: true})
	if err != nil {
		t.Fatal(err)
	}
	exact, err := cpu.New(m, cpu.Options{Precision: engine.FP32, MaxBatch: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer exact.Close()
	rows, images, want := make([]tensor.Row, 3), make([][]byte, 3), make([][]float32, 3)
	for i := range rows {
		if rows[i], err = exact.NewRow(tensor.FormatUint8HWC); err != nil {
			t.Fatal(err)
		}
		defer rows[i].Release()
		enginetest.Fill(rows[i], c.ImageSize, c.ImageSize, uint64(i))
		images[i], want[i] = slices.Clone(rows[i].Bytes()), make([]float32, c.EmbedDim)
	}
	if _, err := exact.Run(t.Context(), rows, want); err != nil {
		t.Fatal(err)
	}
	for _, p := range []engine.Precision{engine.FP32, engine.BF16, engine.FP16} {
		t.Run(string(p), func(t *testing.T) { enginetest.Golden(t, open(t, m, Options{Precision: p, MaxBatch: 3}), images, want) })
	}
}
