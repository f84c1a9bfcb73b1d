package model

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"
)

// numpyCase is an entry of testdata/synthetic.json, which testdata/synthetic.py wrote.
type numpyCase struct {
	Dims     struct{ Image, Patch, Width, Layers, MLP, Embed int }
	Seed     uint64
	Outliers bool
	SHA256   string
	First    map[string][]float32
	Channels []int
}

func TestSyntheticEqualsNumPy(t *testing.T) {
	var cases []numpyCase
	readJSON(t, "testdata/synthetic.json", &cases)
	if len(cases) < 4 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, n := range cases {
		c, _ := Preset("ViT-B-32")
		c.ImageSize, c.PatchSize, c.Width, c.Layers, c.MLP, c.EmbedDim = n.Dims.Image, n.Dims.Patch, n.Dims.Width, n.Dims.Layers, n.Dims.MLP, n.Dims.Embed
		c.Heads = c.Width / 32
		m, err := Synthetic(c, SyntheticOptions{Seed: n.Seed, Outliers: n.Outliers})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, x := range m.Tensors() {
			h.Write(x.Data)
			if first, ok := n.First[x.Name]; ok && !slices.Equal(first, x.Float32s(nil)[:3]) {
				t.Errorf("%s starts %v, NumPy's %v", x.Name, x.Float32s(nil)[:3], first)
			}
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != n.SHA256 {
			t.Errorf("%+v: sha256 %s, NumPy's %s", n.Dims, got, n.SHA256)
		}
		if got := outlierChannels(c, n.Seed); !slices.Equal(got, n.Channels) {
			t.Errorf("outlier channels %v, NumPy's %v", got, n.Channels)
		}
	}
}

func TestSyntheticMagnitudes(t *testing.T) {
	c, _ := Preset("ViT-B-32")
	c.Layers = 2
	m, err := Synthetic(c, SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := m.Weights
	for _, c := range []struct {
		t           Tensor
		mean, sigma float64
	}{
		{w.Blocks[0].QKV.Weight, 0, 1 / math.Sqrt(768)}, {w.Blocks[1].LN2.Weight, 1, 0.125}, {w.Blocks[0].FC1.Bias, 0, 0.0625},
		{w.Patch, 0, 1 / math.Sqrt(3072)}, {w.Proj, 0, 1 / math.Sqrt(768)},
	} {
		var sum, sq float64
		values := c.t.vector()
		for _, x := range values {
			sum += x
			sq += x * x
		}
		n := float64(len(values))
		mean := sum / n
		sigma := math.Sqrt(sq/n - mean*mean)
		// Five standard errors of each estimate.
		if math.Abs(mean-c.mean) > 5*c.sigma/math.Sqrt(n) || math.Abs(sigma/c.sigma-1) > 5/math.Sqrt(2*n) {
			t.Errorf("%s: mean %g, deviation %g, want %g, %g", c.t.Name, mean, sigma, c.mean, c.sigma)
		}
	}
}

func TestSyntheticReferences(t *testing.T) {
	for _, c := range []struct {
		spec, name, tag, arch string
		act                   Activation
		options               SyntheticOptions
	}{
		{"", "ViT-B-32", "openai", "ViT-B-32", QuickGELU, SyntheticOptions{}},
		{":ViT-B-32", "ViT-B-32", "", "ViT-B-32", GELU, SyntheticOptions{}},
		{"?seed=2", "ViT-B-32", "openai", "ViT-B-32", QuickGELU, SyntheticOptions{Seed: 2}},
		{":ViT-L-14/openai?outliers=1&seed=3", "ViT-L-14", "openai", "ViT-L-14", QuickGELU, SyntheticOptions{Seed: 3, Outliers: true}},
		{":ViT-L-14-336-quickgelu", "ViT-L-14-336-quickgelu", "", "ViT-L-14-336", QuickGELU, SyntheticOptions{}},
	} {
		r, err := parseSynthetic(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		if r.name != c.name || r.tag != c.tag || r.config.Architecture != c.arch || r.config.Activation != c.act || r.options != c.options {
			t.Errorf("%s: %+v", c.spec, r)
		}
	}
}

func TestOpenSynthetic(t *testing.T) {
	m := mustOpen(t, "synthetic")
	want := Source{Reference: "synthetic", ModelName: "ViT-B-32", Pretrained: "openai", Synthetic: true}
	if m.Source != want {
		t.Errorf("%+v, want %+v", m.Source, want)
	}
}

func TestSyntheticReferencesRefused(t *testing.T) {
	for ref, want := range map[string]string{
		"synthetic:ViT-Z":             `no architecture "ViT-Z"`,
		"synthetic:ViT-B-32/laion":    "openai or to none",
		"synthetic?seed=-1":           `option "seed"`,
		"synthetic?outliers=many":     `option "outliers"`,
		"synthetic:ViT-B-32?colour=1": `option "colour"`,
	} {
		if _, err := Open(t.Context(), ref, OpenOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", ref, want, err)
		}
	}
}

func BenchmarkSynthetic(b *testing.B) {
	c, _ := Preset("ViT-B-32")
	for b.Loop() {
		if _, err := Synthetic(c, SyntheticOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	c, _ := Preset("ViT-B-32")
	m, err := Synthetic(c, SyntheticOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4 * m.Parameters())
	for b.Loop() {
		if _, err := m.hash(); err != nil {
			b.Fatal(err)
		}
	}
}
