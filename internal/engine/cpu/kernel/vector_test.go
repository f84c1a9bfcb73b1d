package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// lengths are multiples of the step, so that every variant takes them whole, and the portable tails.
var lengths = []int{1, 15, 16, 32, 48, 64, 100, 768, 1024, 3072}

// eachVariant runs f with every variant that the machine has.
func eachVariant(t *testing.T, f func(t *testing.T, o *vectorOps)) {
	vectors.ForTest(func(v cpufeat.Variant[*vectorOps]) {
		t.Run(v.Name(), func(t *testing.T) { f(t, v.Impl) })
	})
}

func random(r *rand.Rand, n int, scale float64) []float32 {
	x := tensor.AlignedFloat32s(n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
	return x
}

func double(x []float32) []float64 {
	d := make([]float64, len(x))
	for i, v := range x {
		d[i] = float64(v)
	}
	return d
}

func checkClose(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tolerance) {
			t.Fatalf("%s: [%d] = %g, want %g, off by %g, more than %g", what, i, got[i], w, d, tolerance)
		}
	}
}

func TestLayerNorm(t *testing.T) {
	eachVariant(t, func(t *testing.T, o *vectorOps) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, n := range lengths {
			src, gamma, beta := random(r, n, 3), random(r, n, 1), random(r, n, 1)
			for i := range src {
				src[i] += 5
			}
			want := referenceNorm(double(src), double(gamma), double(beta), 1e-5)
			dst := make([]float32, n)
			o.norm(dst, src, gamma, beta, 1e-5)
			checkClose(t, fmt.Sprint("length ", n), dst, want, 1e-5)
			o.norm(src, src, gamma, beta, 1e-5)
			checkClose(t, fmt.Sprint("in place, length ", n), src, want, 1e-5)
		}
	})
}

func referenceNorm(x, gamma, beta []float64, eps float64) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(variance+eps)*gamma[i] + beta[i]
	}
	return y
}

// sweep covers both tails, the steep part and the values around 0.
func sweep() []float32 {
	var x []float32
	for v := -120.0; v < 120; v += 0.37 {
		x = append(x, float32(v))
	}
	for v := -8.0; v < 8; v += 0.001 {
		x = append(x, float32(v))
	}
	return append(x, 0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1e-38, -1e-42, 1e6, -1e6)
}

func TestActivations(t *testing.T) {
	for _, c := range []struct {
		name      string
		apply     func(*vectorOps, []float32)
		reference func(float64) float64
	}{
		{"gelu", (*vectorOps).applyGELU, func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }},
		{"quick_gelu", (*vectorOps).applyQuickGELU, func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T, o *vectorOps) {
				in := sweep()
				got := append([]float32(nil), in...)
				c.apply(o, got)
				for i, x := range in {
					// An absolute error below 1e-6, and where the value is large its own rounding.
					want := c.reference(float64(x))
					if d := math.Abs(float64(got[i]) - want); !(d < max(1e-6, math.Abs(want)*2.5e-7)) {
						t.Fatalf("f(%g) = %g, want %g", x, got[i], want)
					}
				}
				nan := []float32{15: float32(math.NaN())}
				if c.apply(o, nan); nan[15] == nan[15] || nan[0] != 0 {
					t.Errorf("NaN became %g, 0 became %g", nan[15], nan[0])
				}
			})
		})
	}
}

func TestSoftmax(t *testing.T) {
	eachVariant(t, func(t *testing.T, o *vectorOps) {
		r := rand.New(rand.NewPCG(3, 4))
		const rows = 3
		for _, n := range lengths {
			for _, spread := range []float64{0.1, 5, 300} {
				columns := roundUp(n)
				x := random(r, rows*columns, spread)
				if n > 20 {
					x[n-1] = float32(math.Inf(-1))
				}
				in := double(x)
				o.softmaxRows(x, rows, columns, n, 0.125)
				for i := range rows {
					want := referenceSoftmax(in[i*columns:][:n], 0.125)
					checkClose(t, fmt.Sprintf("length %d, spread %g", n, spread), x[i*columns:][:columns], append(want, make([]float64, columns-n)...), 2e-6)
				}
			}
		}
	})
}

func referenceSoftmax(x []float64, scale float64) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Exp((v - top) * scale)
		sum += y[i]
	}
	for i := range y {
		y[i] /= sum
	}
	return y
}

func TestAttention(t *testing.T) {
	eachVariant(t, func(t *testing.T, o *vectorOps) {
		for _, c := range []struct{ queries, tokens, dim int }{
			{50, 50, 64}, {1, 50, 64}, {145, 145, 64}, {17, 17, 16}, {5, 5, 20},
			{65, 65, 80}, {61, 61, 88}, {1, 1, 8}, {2, 3, 1},
		} {
			t.Run(fmt.Sprintf("%dx%dx%d", c.queries, c.tokens, c.dim), func(t *testing.T) {
				testAttention(t, o, c.queries, c.tokens, c.dim)
			})
		}
	})
}

func testAttention(t *testing.T, o *vectorOps, queries, tokens, dim int) {
	const heads = 3
	r := rand.New(rand.NewPCG(5, uint64(tokens*dim)))
	stride := 3 * heads * dim
	qkv := random(r, tokens*stride+vectorStep, 1.5)[:tokens*stride]
	out := make([]float32, queries*heads*dim)
	const untouched = 12345
	for i := range out {
		out[i] = untouched
	}
	scratch := random(r, AttentionScratch(queries, tokens, dim), 1e30) // whatever was there before
	o.attention(Head{
		Out: out[dim:], OutStride: heads * dim,
		Query: qkv[dim:], QueryStride: stride,
		Key: qkv[(heads+1)*dim:], Value: qkv[(2*heads+1)*dim:], KeyStride: stride,
		Queries: queries, Tokens: tokens, Dim: dim,
	}, scratch)
	at := func(token, matrix, d int) float64 { return float64(qkv[token*stride+(matrix*heads+1)*dim+d]) }
	for i := range queries {
		want := make([]float64, dim)
		scores := make([]float64, tokens)
		for j := range scores {
			for d := range dim {
				scores[j] += at(i, 0, d) * at(j, 1, d)
			}
		}
		for j, p := range referenceSoftmax(scores, 1/math.Sqrt(float64(dim))) {
			for d := range dim {
				want[d] += p * at(j, 2, d)
			}
		}
		row := out[i*heads*dim:][:heads*dim]
		checkClose(t, fmt.Sprint("query ", i), row[dim:2*dim], want, 1e-5)
		for d := range dim {
			if row[d] != untouched || row[2*dim+d] != untouched {
				t.Fatalf("query %d: a neighbouring head was written", i)
			}
		}
	}
}

func BenchmarkAttention(b *testing.B) {
	for _, tokens := range []int{50, 197, 257, 577} {
		b.Run(fmt.Sprint(tokens), func(b *testing.B) {
			const dim, stride = 64, 2304
			qkv := random(rand.New(rand.NewPCG(1, 1)), tokens*stride, 1)
			h := Head{Out: make([]float32, tokens*768), OutStride: 768, Query: qkv, QueryStride: stride,
				Key: qkv[768:], Value: qkv[1536:], KeyStride: stride, Queries: tokens, Tokens: tokens, Dim: dim}
			scratch := make([]float32, AttentionScratch(tokens, tokens, dim))
			b.ReportAllocs()
			for b.Loop() {
				Attention(h, scratch)
			}
			b.ReportMetric(float64(4*tokens*tokens*dim)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkElementwise(b *testing.B) {
	x, gamma, beta := random(rand.New(rand.NewPCG(1, 1)), 768, 1), make([]float32, 768), make([]float32, 768)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"layer_norm", func() { LayerNorm(x, x, gamma, beta, 1e-5) }},
		{"gelu", func() { GELU(x) }},
		{"quick_gelu", func() { QuickGELU(x) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				c.run()
			}
		})
	}
}
