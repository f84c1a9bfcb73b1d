package cpu

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// counted is splitmix64's output number i for a key, as in testdata/golden.py.
func counted(key, i uint64) uint64 {
	z := key + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// formulaTensor is formula of testdata/golden.py.
func formulaTensor(index int, name string, shape ...int) model.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	f := tensor.AlignedFloat32s(n)
	norm := strings.Contains("."+name, ".ln_") && strings.HasSuffix(name, "weight")
	for i := range f {
		f[i] = (float32(counted(uint64(index)<<40, uint64(i))>>40)*0x1p-23 - 1) * 0.125
		if norm {
			f[i] = 1 + 2*f[i]
		}
	}
	return model.Tensor{Name: name, DType: tensor.FP32, Shape: shape, Data: tensor.BytesOf(f)}
}

// formulaModel is the model whose weights testdata/golden.py computes by formula.
func formulaModel(c model.Config) *model.Model {
	index := 0
	next := func(name string, shape ...int) model.Tensor {
		t := formulaTensor(index, name, shape...)
		index++
		return t
	}
	norm := func(name string) model.Norm {
		return model.Norm{Weight: next(name+".weight", c.Width), Bias: next(name+".bias", c.Width)}
	}
	linear := func(name string, n, k int) model.Linear {
		return model.Linear{Weight: next(name+"weight", n, k), Bias: next(name+"bias", n)}
	}
	m := &model.Model{Config: c}
	w := &m.Weights
	w.Patch = next("conv1.weight", c.Width, 3, c.PatchSize, c.PatchSize)
	w.Class = next("class_embedding", c.Width)
	w.Position = next("positional_embedding", c.Tokens(), c.Width)
	w.PreNorm = norm("ln_pre")
	for i := range c.Layers {
		at := fmt.Sprintf("transformer.resblocks.%d.", i)
		w.Blocks = append(w.Blocks, model.Block{
			LN1: norm(at + "ln_1"), QKV: linear(at+"attn.in_proj_", 3*c.Width, c.Width),
			Out: linear(at+"attn.out_proj.", c.Width, c.Width),
			LN2: norm(at + "ln_2"), FC1: linear(at+"mlp.c_fc.", c.MLP, c.Width), FC2: linear(at+"mlp.c_proj.", c.Width, c.MLP),
		})
	}
	w.PostNorm = norm("ln_post")
	w.Proj = next("proj", c.Width, c.EmbedDim)
	return m
}

// formulaPixels is pixels of testdata/golden.py.
func formulaPixels(number, size int) []byte {
	b := make([]byte, 3*size*size)
	for i := range b {
		b[i] = byte(counted(uint64(1000+number)<<40, uint64(i)) >> 56 >> number)
	}
	return b
}

func config(image, patch, width, layers, heads, mlp, embed int, act model.Activation) model.Config {
	return model.Config{
		Architecture: "test", ImageSize: image, PatchSize: patch, Width: width, Layers: layers, Heads: heads, MLP: mlp,
		EmbedDim: embed, Activation: act, Epsilon: 1e-5,
		Mean:          [3]float32{0.48145466, 0.4578275, 0.40821073},
		Std:           [3]float32{0.26862954, 0.26130258, 0.27577711},
		Interpolation: "bicubic", ResizeMode: "shortest",
	}
}

// referenceEmbedding is the forward pass in float64, a sum at a time, for all tokens through all layers.
func referenceEmbedding(m *model.Model, pixels []byte) []float64 {
	c, w := m.Config, &m.Weights
	grid := c.ImageSize / c.PatchSize
	x := make([][]float64, c.Tokens())
	x[0] = doubles(w.Class)
	for t := range grid * grid {
		patch := []float64{}
		for channel := range 3 {
			for py := range c.PatchSize {
				for px := range c.PatchSize {
					at := ((t/grid*c.PatchSize+py)*c.ImageSize + t%grid*c.PatchSize + px) * 3
					patch = append(patch, (float64(pixels[at+channel])/255-float64(c.Mean[channel]))/float64(c.Std[channel]))
				}
			}
		}
		x[t+1] = product(model.Linear{Weight: w.Patch}, patch)
	}
	for t, position := 0, doubles(w.Position); t < len(x); t++ {
		x[t] = normalise(w.PreNorm, sum(x[t], position[t*c.Width:][:c.Width]), c)
	}
	for _, b := range w.Blocks {
		x = referenceBlock(b, x, c)
	}
	proj, out := doubles(w.Proj), make([]float64, c.EmbedDim)
	for k, v := range normalise(w.PostNorm, x[0], c) {
		for j := range out {
			out[j] += v * proj[k*c.EmbedDim+j]
		}
	}
	return out
}

func referenceBlock(b model.Block, x [][]float64, c model.Config) [][]float64 {
	qkv := make([][]float64, len(x))
	for t := range x {
		qkv[t] = product(b.QKV, normalise(b.LN1, x[t], c))
	}
	y := make([][]float64, len(x))
	for t := range x {
		mixed := make([]float64, c.Width)
		for h := range c.Heads {
			referenceHead(mixed[h*c.HeadDim():][:c.HeadDim()], qkv, t, h, c)
		}
		y[t] = sum(x[t], product(b.Out, mixed))
		hidden := product(b.FC1, normalise(b.LN2, y[t], c))
		for i, v := range hidden {
			if c.Activation == model.QuickGELU {
				hidden[i] = v / (1 + math.Exp(-1.702*v))
			} else {
				hidden[i] = v / 2 * (1 + math.Erf(v/math.Sqrt2))
			}
		}
		y[t] = sum(y[t], product(b.FC2, hidden))
	}
	return y
}

func referenceHead(dst []float64, qkv [][]float64, query, head int, c model.Config) {
	d := c.HeadDim()
	weights, total := make([]float64, len(qkv)), 0.0
	for t := range qkv {
		score := 0.0
		for i := range d {
			score += qkv[query][head*d+i] * qkv[t][c.Width+head*d+i]
		}
		weights[t] = math.Exp(score / math.Sqrt(float64(d)))
		total += weights[t]
	}
	for t := range qkv {
		for i := range d {
			dst[i] += weights[t] / total * qkv[t][2*c.Width+head*d+i]
		}
	}
}

func doubles(t model.Tensor) []float64 {
	f := t.Float32s(nil)
	d := make([]float64, len(f))
	for i, v := range f {
		d[i] = float64(v)
	}
	return d
}

func sum(a, b []float64) []float64 {
	c := make([]float64, len(a))
	for i := range a {
		c[i] = a[i] + b[i]
	}
	return c
}

func product(l model.Linear, x []float64) []float64 {
	w, n := doubles(l.Weight), l.Weight.Shape[0]
	y := make([]float64, n)
	if l.Bias.Shape != nil {
		copy(y, doubles(l.Bias))
	}
	for i := range y {
		for k, v := range x {
			y[i] += w[i*len(x)+k] * v
		}
	}
	return y
}

func normalise(n model.Norm, x []float64, c model.Config) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	g, b, y := doubles(n.Weight), doubles(n.Bias), make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(variance+float64(c.Epsilon))*g[i] + b[i]
	}
	return y
}

func singles(d []float64) []float32 {
	f := make([]float32, len(d))
	for i, v := range d {
		f[i] = float32(v)
	}
	return f
}

func open(t testing.TB, m *model.Model, o Options) *Engine {
	t.Helper()
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
