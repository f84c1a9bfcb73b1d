package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

const models = "../../testdata/models"

// expectation is one entry of expected.json, which testdata/models/make.py wrote with open_clip.
type expectation struct {
	Pattern []float64            `json:"pattern"`
	Photos  map[string][]float64 `json:"photos"`
}

func goldens(t *testing.T) map[string]expectation {
	t.Helper()
	var f struct{ Models map[string]expectation }
	readJSON(t, filepath.Join(models, "expected.json"), &f)
	return f.Models
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, ref string) *Model {
	t.Helper()
	m, err := Open(t.Context(), ref, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// TestTinyModelsComputeOpenCLIPsEmbeddings runs each stored model by the textbook in float64: a wrong
// place, order, transposition, activation or epsilon shows.
func TestTinyModelsComputeOpenCLIPsEmbeddings(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			m := mustOpen(t, filepath.Join(models, name))
			pixels := make([]float32, 3*m.Config.ImageSize*m.Config.ImageSize)
			s := span{dst: asBytes(pixels), key: syntheticKey(0, "pattern"), scale: float32(unit)}
			s.fill()
			got := forward(m, pixels)
			if cos := cosine(got, want.Pattern); cos < 1-1e-9 {
				t.Errorf("cosine %.12f", cos)
			}
			flipped := *m
			flipped.Config.Activation ^= 1
			if cos := cosine(forward(&flipped, pixels), want.Pattern); cos > 1-2e-5 {
				t.Errorf("the wrong activation would pass float32's contract: cosine %.9f", cos)
			}
		})
	}
}

func TestNamingSchemeDoesNotChangeTheHash(t *testing.T) {
	a, b := mustOpen(t, models+"/tiny-quickgelu"), mustOpen(t, models+"/tiny-quickgelu-hf")
	if a.WeightsHash != b.WeightsHash {
		t.Errorf("open_clip's %s, Hugging Face's %s", a.WeightsHash, b.WeightsHash)
	}
	if a.Config != b.Config {
		t.Errorf("configurations differ:\n%+v\n%+v", a.Config, b.Config)
	}
}

func cosine(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

// matrix is rows of float64.
type matrix [][]float64

func (t Tensor) rows() matrix {
	f := t.Float32s(nil)
	cols := t.Len() / t.Shape[0]
	out := make(matrix, t.Shape[0])
	for i := range out {
		for _, x := range f[i*cols : (i+1)*cols] {
			out[i] = append(out[i], float64(x))
		}
	}
	return out
}

func (t Tensor) vector() []float64 {
	t.Shape = []int{1, t.Len()}
	return t.rows()[0]
}

// times is x W^T + bias.
func (x matrix) times(w matrix, bias []float64) matrix {
	y := make(matrix, len(x))
	for i := range x {
		y[i] = make([]float64, len(w))
		for j := range w {
			for k, v := range w[j] {
				y[i][j] += x[i][k] * v
			}
			if bias != nil {
				y[i][j] += bias[j]
			}
		}
	}
	return y
}

func (x matrix) add(y matrix) {
	for i := range x {
		for j := range x[i] {
			x[i][j] += y[i][j]
		}
	}
}

func (x matrix) norm(n Norm, eps float64) matrix {
	weight, bias := n.Weight.vector(), n.Bias.vector()
	y := make(matrix, len(x))
	for i, row := range x {
		var mean, sq float64
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			sq += (v - mean) * (v - mean) / float64(len(row))
		}
		y[i] = make([]float64, len(row))
		for j, v := range row {
			y[i][j] = (v-mean)/math.Sqrt(sq+eps)*weight[j] + bias[j]
		}
	}
	return y
}

func (l Linear) apply(x matrix) matrix { return x.times(l.Weight.rows(), l.Bias.vector()) }

// forward is CLIP's image tower, written for reading.
func forward(m *Model, pixels []float32) []float64 {
	c, w, eps := m.Config, m.Weights, float64(m.Config.Epsilon)
	x := append(matrix{w.Class.vector()}, patches(c, pixels).times(w.Patch.rows(), nil)...)
	x.add(w.Position.rows())
	x = x.norm(w.PreNorm, eps)
	for _, b := range w.Blocks {
		x.add(b.Out.apply(attention(b.QKV.apply(x.norm(b.LN1, eps)), c.Heads)))
		h := b.FC1.apply(x.norm(b.LN2, eps))
		activate(h, c.Activation)
		x.add(b.FC2.apply(h))
	}
	class := matrix{x[0]}.norm(w.PostNorm, eps)[0]
	out := make([]float64, c.EmbedDim)
	for i, row := range w.Proj.rows() {
		for j, v := range row {
			out[j] += class[i] * v
		}
	}
	return out
}

func patches(c Config, pixels []float32) matrix {
	var out matrix
	n := c.ImageSize
	for top := 0; top < n; top += c.PatchSize {
		for left := 0; left < n; left += c.PatchSize {
			var row []float64
			for i := range 3 * c.PatchSize * c.PatchSize {
				ch, y, x := i/(c.PatchSize*c.PatchSize), i/c.PatchSize%c.PatchSize, i%c.PatchSize
				row = append(row, float64(pixels[ch*n*n+(top+y)*n+left+x]))
			}
			out = append(out, row)
		}
	}
	return out
}

func attention(qkv matrix, heads int) matrix {
	width := len(qkv[0]) / 3
	d := width / heads
	out := make(matrix, len(qkv))
	for i := range qkv {
		out[i] = make([]float64, width)
		for h := range heads {
			p := make([]float64, len(qkv))
			var sum float64
			for j := range qkv {
				for k := h * d; k < (h+1)*d; k++ {
					p[j] += qkv[i][k] * qkv[j][width+k] / math.Sqrt(float64(d))
				}
				p[j] = math.Exp(p[j])
				sum += p[j]
			}
			for j := range qkv {
				for k := h * d; k < (h+1)*d; k++ {
					out[i][k] += p[j] / sum * qkv[j][2*width+k]
				}
			}
		}
	}
	return out
}

func activate(x matrix, a Activation) {
	for i := range x {
		for j, v := range x[i] {
			if a == QuickGELU {
				x[i][j] = v / (1 + math.Exp(-1.702*v))
			} else {
				x[i][j] = v * 0.5 * (1 + math.Erf(v/math.Sqrt2))
			}
		}
	}
}
