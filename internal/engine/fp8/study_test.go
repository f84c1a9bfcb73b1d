package fp8

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// schemes are other ways to scale, each in one respect other than ours.
var schemes = []struct {
	name string
	rules
}{
	{"ours", ours},
	{"weights: one scale a matrix", rules{input: ours.input, weights: func(w []float32, _, _ int) { round(w, scaleFor(magnitude(w))) }}},
	{"inputs: a scale a token", rules{weights: ours.weights, input: func(x []float32, k int, _ float32) {
		for i := 0; i < len(x); i += k {
			round(x[i:i+k], scaleFor(magnitude(x[i:i+k])))
		}
	}}},
	// As if every channel's magnitude had been moved into the weights, wholly and for just these images.
	{"inputs: a scale a channel", rules{weights: ours.weights, input: func(x []float32, k int, _ float32) {
		for j := range k {
			var top float32
			for i := j; i < len(x); i += k {
				top = max(top, magnitude(x[i:i+1]))
			}
			for i := j; i < len(x); i += k {
				round(x[i:i+1], scaleFor(top))
			}
		}
	}}},
	{"weights exact", rules{weights: func([]float32, int, int) {}, input: ours.input}},
	{"inputs exact", rules{weights: ours.weights, input: func([]float32, int, float32) {}}},
}

// plant gives two channels of the residual stream values a hundred times as large as the others', which LayerNorms
// then make small.
func plant(m *model.Model) {
	set := func(t model.Tensor, i int, f func(float32) float32) {
		b := t.Data[4*i:]
		binary.LittleEndian.PutUint32(b, math.Float32bits(f(math.Float32frombits(binary.LittleEndian.Uint32(b)))))
	}
	for k, channel := range []int{77, 500} {
		set(m.Weights.Blocks[0].FC2.Bias, channel, func(float32) float32 { return []float32{100, -100}[k] })
		for i := range m.Weights.Blocks {
			for _, n := range []model.Tensor{m.Weights.Blocks[i].LN1.Weight, m.Weights.Blocks[i].LN2.Weight} {
				if i > 0 {
					set(n, channel, func(f float32) float32 { return f / 100 })
				}
			}
		}
		set(m.Weights.PostNorm.Weight, channel, func(f float32) float32 { return f / 100 })
	}
}

// photographs are the project's.
func photographs(t *testing.T, c model.Config) (all [][]byte) {
	t.Helper()
	p, err := preproc.New(preproc.PlanFor(c), preproc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := engine.NewRowPool(c.ImageSize, c.ImageSize, 0, tensor.FormatUint8HWC)
	files, err := filepath.Glob("../../../testdata/photos/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d photographs, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		row, err := rows.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Into(data, row); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, append([]byte(nil), row.Bytes()...))
	}
	return all
}

// TestStudy prints what each scheme costs with everything in fp8 that may be, over the project's photographs, and what
// calibration then chooses.
func TestStudy(t *testing.T) {
	if os.Getenv("VITRINE_FP8_STUDY") == "" {
		t.Skip("VITRINE_FP8_STUDY is not set")
	}
	for _, weights := range []struct {
		name, preset string
		outliers     bool
		plant        bool
	}{{"plain", "ViT-B-32-quickgelu", false, false}, {"outliers 30x", "ViT-B-32-quickgelu", true, false}, {"outliers 100x", "ViT-B-32-quickgelu", false, true},
		{"plain", "ViT-B-16", false, false}, {"plain", "ViT-L-14", false, false}} {
		t.Run(weights.preset+"/"+weights.name, func(t *testing.T) { study(t, weights.preset, weights.outliers, weights.plant) })
	}
}

// study prints the lines of one model.
func study(t *testing.T, preset string, outliers, planted bool) {
	c, _ := model.Preset(preset)
	m := synthetic(t, c, outliers)
	if planted {
		plant(m)
	}
	all := photographs(t, c)
	for _, s := range schemes {
		if s.name != "ours" && preset != "ViT-B-32-quickgelu" {
			continue
		}
		w, err := newTower(m, s.rules, 0)
		if err != nil {
			t.Fatal(err)
		}
		h := &search{tower: w, images: all}
		if err := h.observe(t.Context()); err != nil {
			t.Fatal(err)
		}
		worst, mean, err := h.measure(t.Context(), h.choice(h.parts(), nil), len(all))
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		t.Logf("%s: 1 - cosine %.2g at worst, %.2g in the mean", s.name, 1-worst, 1-mean)
	}
	k, err := Calibrate(t.Context(), m, all[:4], Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("calibrated with 4: %.0f %% in fp8, 1 - cosine %.2g of those, %.2g of all %d", 100*k.Share, 1-k.MinCosine, 1-reached(t, m, k, all), len(all))
}
