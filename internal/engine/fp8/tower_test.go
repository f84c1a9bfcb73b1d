package fp8

import (
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"os"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// tiny is the tower of testdata/golden.py.
func tiny(act model.Activation) model.Config {
	c, _ := model.Preset("ViT-B-32")
	c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Heads, c.MLP, c.EmbedDim, c.Activation = 64, 16, 128, 3, 2, 256, 64, act
	return c
}

// pixels is image number of testdata/golden.py.
func pixels(number int) []byte {
	const size = 64
	var p []byte
	for y := range size {
		for x := range size {
			for c := range 3 {
				p = append(p, byte(x*(3+number)+y*(5+c)+x*y/(7+c)+40*number))
			}
		}
	}
	return p
}

func synthetic(t testing.TB, c model.Config, outliers bool) *model.Model {
	t.Helper()
	m, err := model.Synthetic(c, model.SyntheticOptions{Outliers: outliers})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, m *model.Model, r rules) *tower {
	t.Helper()
	w, err := newTower(m, r, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// TestEqualsTorch compares with what testdata/golden.py computed: magnitudes, embeddings in float32, and in fp8 with
// torch.float8_e4m3fn.
func TestEqualsTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Outliers, Quick bool
			Seen, Scales    []map[string]float64
			Plain, FP8      [][]float32
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) != 4 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, g := range golden.Cases {
		act := model.GELU
		if g.Quick {
			act = model.QuickGELU
		}
		w := open(t, synthetic(t, tiny(act), g.Outliers), ours)
		var images [][]byte
		for i := range g.Plain {
			images = append(images, pixels(i))
		}
		plain, err := w.embed(images, nil, func(block int, l layer, x []float32) {
			want := g.Seen[block][[]string{"qkv", "fc1", "fc2"}[l]]
			if got := float64(magnitude(x)); math.Abs(got-want) > 1e-3*want {
				t.Errorf("block %d, layer %d: magnitude %g, torch's %g", block, l, got, want)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		var blocks []Block
		for _, s := range g.Scales {
			blocks = append(blocks, Block{QKV: float32(s["qkv"]), FC1: float32(s["fc1"]), FC2: float32(s["fc2"])})
		}
		eight, err := w.embed(images, blocks, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range images {
			if c := Cosine(plain[i], g.Plain[i]); c < 1-1e-9 {
				t.Errorf("float32, outliers %v, image %d: 1 - cosine %.2g with torch", g.Outliers, i, 1-c)
			}
			// A sum in another order may round to another E4M3 number here and there.
			apart, error8 := 1-Cosine(eight[i], g.FP8[i]), 1-Cosine(g.Plain[i], g.FP8[i])
			t.Logf("outliers %v, quick %v, image %d: fp8 is %.2g from float32, %.2g from torch's fp8", g.Outliers, g.Quick, i, error8, apart)
			if apart > error8/20 {
				t.Errorf("fp8, outliers %v, image %d: 1 - cosine %.2g with torch, which is %.2g from float32", g.Outliers, i, apart, error8)
			}
		}
	}
}

// TestTowerEqualsEngine: in float32 the tower is the processor's engine.
func TestTowerEqualsEngine(t *testing.T) {
	m := synthetic(t, tiny(model.GELU), true)
	e, err := cpu.New(m, cpu.Options{Precision: engine.FP32, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := open(t, m, ours).embed([][]byte{pixels(0), pixels(5)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, number := range []int{0, 5} {
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		copy(r.Bytes(), pixels(number))
		out := [][]float32{make([]float32, 64)}
		if _, err := e.Run(t.Context(), []tensor.Row{r}, out); err != nil {
			t.Fatal(err)
		}
		if c := Cosine(got[i], out[0]); c < 1-1e-9 {
			t.Errorf("image %d: 1 - cosine %.2g", number, 1-c)
		}
		r.Release()
	}
}

func TestTowerRefuses(t *testing.T) {
	m := synthetic(t, tiny(model.GELU), false)
	if _, err := open(t, m, ours).embed([][]byte{make([]byte, 5)}, nil, nil); err == nil {
		t.Error("an image of five bytes: want an error")
	}
	broken := *m
	broken.Weights.Proj.Shape = []int{3, 3}
	if _, err := newTower(&broken, ours, 1); err == nil {
		t.Error("a projection of 3 by 3: want an error")
	}
	shallow := *m
	shallow.Config.Layers = 2
	if _, err := newTower(&shallow, ours, 1); err == nil {
		t.Error("blocks that the configuration does not have: want an error")
	}
}

func TestScales(t *testing.T) {
	for _, c := range []struct{ in, want float32 }{{448, 1}, {0, 1}, {0x1p-120, 1}, {4.48, 0.01}, {float32(math.Inf(1)), float32(math.Inf(1))}} {
		if got := scaleFor(c.in); got != c.want {
			t.Errorf("%g: scale %g, want %g", c.in, got, c.want)
		}
	}
	if m := magnitude([]float32{1, -3, 2}); m != 3 {
		t.Errorf("magnitude %g", m)
	}
	if m := magnitude([]float32{1, float32(math.NaN()), 2}); !math.IsInf(float64(m), 1) {
		t.Errorf("magnitude of a NaN: %g", m)
	}
	row := []float32{1, -0.5, 0.3, 0}
	codes := make([]byte, 4)
	scale := QuantiseRow(codes, row)
	for i, x := range row {
		if got := scale * tensor.E4M3ToFloat32(codes[i]); math.Abs(float64(got-x)) > math.Abs(float64(x))/16 {
			t.Errorf("%g became %g", x, got)
		}
	}
}
