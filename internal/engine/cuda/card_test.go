package cuda

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/kernels"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// The tests in card_*.go run on a GPU and skip where there is none.

// card is a GPU with what a test allocated on it.
type card struct {
	driver.GPU
	t      testing.TB
	stream driver.Stream

	allocated []driver.Pointer
}

// withCard calls f on a thread where the GPU is current.
func withCard(t testing.TB, f func(c *card)) {
	t.Helper()
	g, err := driver.Open(0)
	if errors.Is(err, driver.ErrNoDriver) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = driver.Do(g, func() error {
		c := &card{GPU: g, t: t}
		c.stream = must(c, func() (driver.Stream, error) { return g.NewStream() })
		f(c)
		for _, p := range c.allocated {
			c.check(c.Free(p))
		}
		return g.CloseStream(c.stream)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](c *card, f func() (T, error)) T {
	c.t.Helper()
	v, err := f()
	c.check(err)
	return v
}

func (c *card) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// alloc is memory full of 0xff: NaN in every type.
func (c *card) alloc(bytes int) driver.Pointer {
	c.t.Helper()
	p := must(c, func() (driver.Pointer, error) { return c.Alloc(bytes) })
	c.allocated = append(c.allocated, p)
	c.check(c.Fill(p, 0xff, bytes))
	return p
}

func (c *card) put(precision engine.Precision, f []float32) driver.Pointer {
	c.t.Helper()
	p := &packer{precision: precision, size: elementSize(precision)}
	b := make([]byte, p.size*len(f))
	for i, x := range f {
		p.put(b, i, x)
	}
	at := c.alloc(len(b))
	c.check(c.CopyIn(at, b))
	return at
}

func (c *card) get(precision engine.Precision, at driver.Pointer, n int) []float32 {
	c.t.Helper()
	size := elementSize(precision)
	b := tensor.AlignedBytes(size * n)
	c.check(c.CopyOut(b, at))
	f := make([]float32, n)
	for i := range f {
		switch precision {
		case engine.FP16:
			f[i] = tensor.FP16ToFloat32(uint16(b[2*i]) | uint16(b[2*i+1])<<8)
		case engine.BF16:
			f[i] = tensor.BF16ToFloat32(uint16(b[2*i]) | uint16(b[2*i+1])<<8)
		default:
			f[i] = tensor.Float32s(b)[i]
		}
	}
	return f
}

func (c *card) launcher(precision engine.Precision, tokens int) *launcher {
	c.t.Helper()
	return c.launcherFor("", precision, tokens)
}

func (c *card) launcherFor(target kernels.Target, precision engine.Precision, tokens int) *launcher {
	c.t.Helper()
	m := must(c, func() (*module, error) {
		return load(c.GPU, precision, sharedSizes{patch: 3 * 224 * 32, attention: attentionShared(precision, tokens)}, target)
	})
	return &launcher{gpu: c.GPU, stream: c.stream, module: m, precision: precision, epsilon: 1e-5, overlap: m.target.Waits()}
}

// wait runs what was launched.
func (c *card) wait(l *launcher) {
	c.t.Helper()
	c.check(l.err)
	c.check(c.Synchronize(c.stream))
}

// time is the time of one of the repetitions of what record launches, in microseconds: the fastest of five
// launches of a graph.
func (c *card) time(repetitions int, record func(i int)) float64 {
	c.t.Helper()
	g := must(c, func() (driver.Graph, error) {
		return c.Capture(c.stream, func() error {
			for i := range repetitions {
				record(i)
			}
			return nil
		})
	})
	from, to := must(c, c.NewEvent), must(c, c.NewEvent)
	best := math.Inf(1)
	for i := range 6 {
		c.check(c.Record(from, c.stream))
		c.check(c.LaunchGraph(g, c.stream))
		c.check(c.Record(to, c.stream))
		c.check(c.Synchronize(c.stream))
		ms := must(c, func() (float32, error) { return c.Elapsed(from, to) })
		if i > 0 {
			best = min(best, float64(ms))
		}
	}
	c.check(errors.Join(c.CloseGraph(g), c.CloseEvent(from), c.CloseEvent(to)))
	return 1000 * best / float64(repetitions)
}

// normal are n normally distributed numbers as the precision stores them.
func normal(precision engine.Precision, seed uint64, n int, deviation float64) []float32 {
	p := &packer{precision: precision}
	rng := rand.New(rand.NewPCG(seed, 7))
	f := make([]float32, n)
	for i := range f {
		f[i] = p.rounded(float32(rng.NormFloat64() * deviation))
	}
	return f
}

// relative is ||got - want|| / ||want||; NaN counts as infinite.
func relative(got []float32, want []float64) float64 {
	var d, w float64
	for i, x := range want {
		e := float64(got[i]) - x
		d += e * e
		w += x * x
	}
	r := math.Sqrt(d / w)
	if math.IsNaN(r) {
		return math.Inf(1)
	}
	return r
}

// tolerance of an operator whose operands are exact in the precision: the rounding of its result, and of
// what attention rounds in between.
var tolerance = map[engine.Precision]float64{engine.FP32: 2e-6, engine.FP16: 5e-4, engine.BF16: 4e-3}

// productReference is src W^T in float64, on all processors.
func productReference(a, w []float32, m, n, k int) []float64 {
	out := make([]float64, m*n)
	var wg sync.WaitGroup
	for i := range m {
		wg.Go(func() {
			for j := range n {
				var s float64
				for x := range k {
					s += float64(a[i*k+x]) * float64(w[j*k+x])
				}
				out[i*n+j] = s
			}
		})
	}
	wg.Wait()
	return out
}

func activated(e epilogue, x float64) float64 {
	switch e {
	case normedQuickGELU, fp8NormedQuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case normedGELU, fp8NormedGELU:
		return 0.5 * x * (1 + math.Erf(x/math.Sqrt2))
	}
	return x
}

// productCase is one product with everything that any epilogue reads.
type productCase struct {
	m, n, k           int
	parts             int // partial sums of a row: odd and even numbers are read differently
	a, w, bias, old   []float32
	product           []float64
	mean, scale, sums []float64
	layer             linear
	src, dst, add     view
	stats, statsOut   driver.Pointer
}

func (c *card) productCase(p engine.Precision, m, n, k int) *productCase {
	q := &productCase{m: m, n: n, k: k, a: normal(p, 1, m*k, 1), w: normal(p, 2, n*k, 0.05)}
	for i := range q.a {
		q.a[i] = (&packer{precision: p}).rounded(q.a[i] + 0.25) // a mean that is not zero
	}
	c.derive(q, p)
	q.layer.weight, q.layer.size = c.put(p, q.w), elementSize(p)
	q.src = view{c.put(p, q.a), m, k, elementSize(p)}
	return q
}

// derive computes and places everything but the operands, which are exact already; p is what is stored and added.
func (c *card) derive(q *productCase, p engine.Precision) {
	m, n, k := q.m, q.n, q.k
	q.parts, q.bias, q.old = 5+m%2, normal(engine.FP32, 3, n, 1), normal(p, 4, m*n, 1)
	q.product = productReference(q.a, q.w, m, n, k)
	parts := make([]float32, m*q.parts*2)
	for i := range m {
		var s, ss float64
		for x, v := range q.a[i*k : (i+1)*k] {
			s += float64(v)
			ss += float64(v) * float64(v)
			parts[(i*q.parts+x%q.parts)*2] += v
			parts[(i*q.parts+x%q.parts)*2+1] += v * v
		}
		mean := s / float64(k)
		q.mean = append(q.mean, mean)
		q.scale = append(q.scale, 1/math.Sqrt(ss/float64(k)-mean*mean+1e-5))
	}
	sums := make([]float32, n)
	for j := range n {
		var s float64
		for _, v := range q.w[j*k : (j+1)*k] {
			s += float64(v)
		}
		q.sums = append(q.sums, s)
		sums[j] = float32(s)
	}
	q.layer = linear{n: n, k: k, bias: c.put(engine.FP32, q.bias), sums: c.put(engine.FP32, sums)}
	q.add = view{c.put(p, q.old), m, n, elementSize(p)}
	q.stats, q.statsOut = c.put(engine.FP32, parts), c.alloc(m*n*8)
	q.dst = view{c.alloc(m * n * 4), m, n, elementSize(p)}
}

func (q *productCase) args(e epilogue) scaledArgs {
	if e.adds() {
		return scaledArgs{gemmArgs: gemmArgs{residual: q.add.at, ldResidual: int32(q.n), statsOut: q.statsOut}}
	}
	return scaledArgs{gemmArgs: gemmArgs{statsIn: q.stats, statsStep: 1, partsIn: int32(q.parts)}}
}

func (q *productCase) want(e epilogue) []float64 {
	out := make([]float64, len(q.product))
	for at, x := range q.product {
		i, j := at/q.n, at%q.n
		if e.adds() {
			out[at] = x + float64(q.bias[j]) + float64(q.old[at])
		} else {
			out[at] = activated(e, q.scale[i]*(x-q.mean[i]*q.sums[j])+float64(q.bias[j]))
		}
	}
	return out
}

// checkSums compares the sums that the residual epilogue leaves.
func (c *card) checkSums(q *productCase, v variant, want []float64) float64 {
	parts := q.n / v.partColumns
	got := c.get(engine.FP32, q.statsOut, q.m*parts*2)
	var sums []float32
	var ref []float64
	for i := range q.m {
		var s, ss, rs, rss float64
		for p := range parts {
			s += float64(got[(i*parts+p)*2])
			ss += float64(got[(i*parts+p)*2+1])
		}
		for _, x := range want[i*q.n : (i+1)*q.n] {
			rs += x
			rss += x * x
		}
		sums, ref = append(sums, float32(s), float32(ss)), append(ref, rs, rss)
	}
	return relative(sums, ref)
}

// TestCardProducts compares every variant with float64.
func TestCardProducts(t *testing.T) {
	for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
		if only := os.Getenv("VITRINE_CARD_PRECISION"); only != "" && string(p) != only {
			continue
		}
		withCard(t, func(c *card) {
			l := c.launcher(p, 50)
			t.Logf("%s %s on %s: %d variants", l.module.target, p, c.Info().Name, len(l.module.variants))
			for _, size := range [][3]int{{50, 768, 256}, {333, 768, 768}} {
				q := c.productCase(p, size[0], size[1], size[2])
				for _, v := range l.module.variants {
					for _, e := range v.epilogues {
						if !v.fits(q.n, q.k, e) {
							t.Errorf("%s does not fit %v", v.name, size)
							continue
						}
						c.check(c.Fill(q.dst.at, 0xff, q.m*q.n*4))
						c.check(c.Fill(q.statsOut, 0xff, q.m*q.n*8))
						l.productWith(v, q.dst, q.layer, q.src, e, q.args(e))
						c.check(l.err)
						if err := c.Synchronize(c.stream); err != nil {
							t.Fatalf("%s %s %s: %v", p, v.name, e, err)
						}
						out := p
						if e == normedFloat {
							out = engine.FP32
						}
						want := q.want(e)
						limit := tolerance[p]
						if r := relative(c.get(out, q.dst.at, q.m*q.n), want); r > limit {
							t.Errorf("%s %v %s %s: error %.2g", p, size, v.name, e, r)
						}
						if e == residual {
							if r := c.checkSums(q, v, want); r > 1e-4 {
								t.Errorf("%s %v %s: error of the sums %.2g", p, size, v.name, r)
							}
						}
					}
				}
			}
		})
	}
}

// TestCardAddInPlace: fewer rows than the result are added over and over, in place, with strides.
func TestCardAddInPlace(t *testing.T) {
	withCard(t, func(c *card) {
		l := c.launcher(engine.FP16, 50)
		q := c.productCase(engine.FP16, 100, 768, 768)
		q.add.rows = 50
		l.add(q.dst, q.layer, q.src, q.add.first(50), q.statsOut, view{})
		c.wait(l)
		want := q.want(residual)
		for i := range want {
			want[i] += float64(q.old[i%(50*768)]) - float64(q.old[i])
		}
		if r := relative(c.get(engine.FP16, q.dst.at, len(want)), want); r > 5e-4 {
			t.Errorf("repeated residual: error %.2g", r)
		}
		l.add(q.add.first(100), q.layer, q.src, view{q.add.at, 100, 768, 2}, q.statsOut, view{})
		c.wait(l)
		if r := relative(c.get(engine.FP16, q.add.at, len(want)), q.want(residual)); r > 5e-4 {
			t.Errorf("in place: error %.2g", r)
		}
	})
}

// TestCardAttention compares with float64.
func TestCardAttention(t *testing.T) {
	const heads, n = 2, 3
	for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
		for _, tokens := range []int{1, 17, 50, 64, 65, 197, 257, 577} {
			withCard(t, func(c *card) {
				l := c.launcher(p, tokens)
				width := heads * headDim
				f := normal(p, 9, n*tokens*3*width, 1)
				qkv := view{c.put(p, f), n * tokens, 3 * width, elementSize(p)}
				for _, queries := range []int{tokens, 1} {
					dst := view{c.alloc(n * queries * width * 4), n * queries, width, elementSize(p)}
					q := qkv
					if queries == 1 {
						q = qkv.every(tokens)
					}
					l.attention(dst, q, qkv.from(width), qkv.from(2*width), n, heads)
					c.wait(l)
					want := attentionReference(f, n, tokens, queries, heads)
					// The probabilities are rounded too.
					if r := relative(c.get(p, dst.at, len(want)), want); r > 2*tolerance[p] {
						t.Errorf("%s, %d tokens, %d queries: error %.2g", p, tokens, queries, r)
					}
				}
			})
		}
	}
}

func attentionReference(qkv []float32, n, tokens, queries, heads int) []float64 {
	width := heads * headDim
	out := make([]float64, n*queries*width)
	at := func(image, token, part, head, d int) float64 {
		return float64(qkv[(image*tokens+token)*3*width+part*width+head*headDim+d])
	}
	for image := range n {
		for head := range heads {
			for i := range queries {
				p := make([]float64, tokens)
				var sum float64
				for j := range p {
					for d := range headDim {
						p[j] += at(image, i, 0, head, d) * at(image, j, 1, head, d)
					}
					p[j] = math.Exp(p[j] / 8)
					sum += p[j]
				}
				for d := range headDim {
					var s float64
					for j := range p {
						s += p[j] / sum * at(image, j, 2, head, d)
					}
					out[(image*queries+i)*width+head*headDim+d] = s
				}
			}
		}
	}
	return out
}

// TestCardNorm compares with float64.
func TestCardNorm(t *testing.T) {
	for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
		for _, width := range []int{64, 768, 1024, 1408, 2048} {
			withCard(t, func(c *card) {
				const rows = 37
				l := c.launcher(p, 50)
				x, w, b := normal(p, 1, rows*width, 3), normal(engine.FP32, 2, width, 1), normal(engine.FP32, 3, width, 1)
				sums := c.alloc(rows * 8)
				v := view{c.put(p, x), rows, width, elementSize(p)}
				l.norm(v, norm{c.put(engine.FP32, w), c.put(engine.FP32, b)}, sums)
				c.wait(l)
				var want, wantSums []float64
				for i := range rows {
					row := normReference(x[i*width:(i+1)*width], w, b)
					want = append(want, row...)
					var s, ss float64
					for _, y := range row {
						s, ss = s+y, ss+y*y
					}
					wantSums = append(wantSums, s, ss)
				}
				if r := relative(c.get(p, v.at, len(want)), want); r > tolerance[p] {
					t.Errorf("%s, width %d: error %.2g", p, width, r)
				}
				if r := relative(c.get(engine.FP32, sums, len(wantSums)), wantSums); r > tolerance[p] {
					t.Errorf("%s, width %d: error of the sums %.2g", p, width, r)
				}
			})
		}
	}
}

func normReference(x, w, b []float32) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (float64(v)-mean)/math.Sqrt(variance+1e-5)*float64(w[i]) + float64(b[i])
	}
	return out
}

// layer is a product of a block.
type layer struct {
	name string
	n, k int
	e    epilogue
}

// fp8Layers are those of layers around fp8.
var fp8Layers = []layer{{"qkv", 2304, 768, fp8Normed}, {"out", 768, 768, residualCopy}, {"fc1", 3072, 768, fp8NormedQuickGELU}, {"fc2", 768, 3072, fp8Residual}}

// layers are the products of a ViT-B/32's block.
var layers = []layer{{"qkv", 2304, 768, normed}, {"out", 768, 768, residual}, {"fc1", 3072, 768, normedQuickGELU}, {"fc2", 768, 3072, residual}}

// TestCardProductSpeed prints the time of every variant for each product of each batch size, weights from
// the device's memory as in a forward pass: as many different ones as do not fit in the L2.
func TestCardProductSpeed(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	withCard(t, func(c *card) {
		const p, launches, most = engine.FP16, 64, 512 * 50
		l := c.launcher(p, 50)
		random := normal(p, 1, 1<<20, 1)
		fill := func(elements int) driver.Pointer {
			at := c.alloc(2 * elements)
			chunk := c.put(p, random)
			b := make([]byte, 2<<20)
			c.check(c.CopyOut(b, chunk))
			for i := 0; i < 2*elements; i += len(b) {
				c.check(c.CopyIn(at+driver.Pointer(i), b[:min(len(b), 2*elements-i)]))
			}
			return at
		}
		a, w, out := fill(most*3072), fill(launches*768*768*4), fill(most*3072)
		zeros := c.put(engine.FP32, make([]float32, 3072))
		stats := c.put(engine.FP32, make([]float32, most*64))
		for _, layer := range layers {
			for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512} {
				m := 50 * n
				picked, err := choose(l.module.variants, m, layer.n, layer.k, layer.e, c.Info().Multiprocessors)
				c.check(err)
				type result struct {
					name string
					us   float64
				}
				var results []result
				for _, v := range l.module.variants {
					if !v.fits(layer.n, layer.k, layer.e) || m > 3200 && v.rows == 64 && v.cols < 128 {
						continue
					}
					us := c.time(launches, func(i int) {
						g := scaledArgs{gemmArgs: gemmArgs{statsIn: stats, statsStep: 1, partsIn: 6, residual: out, ldResidual: int32(layer.n), statsOut: stats}}
						l.productWith(v, view{out, m, layer.n, 2}, linear{weight: w + driver.Pointer(i*layer.n*layer.k*2), n: layer.n, k: layer.k, size: 2, bias: zeros, sums: zeros},
							view{a, m, layer.k, 2}, layer.e, g)
					})
					results = append(results, result{v.name, us})
				}
				c.check(l.err)
				slices.SortFunc(results, func(x, y result) int { return int(math.Copysign(1, x.us-y.us)) })
				var line strings.Builder
				for _, r := range results[:min(7, len(results))] {
					mark := ""
					if r.name == picked.name {
						mark = "*"
					}
					fmt.Fprintf(&line, " %s%s %.1f", mark, r.name, r.us)
				}
				fmt.Printf("%s b%-3d %5.0f TF%s\n", layer.name, n, 2*float64(m)*float64(layer.n)*float64(layer.k)/results[0].us/1e6, line.String())
			}
		}
	})
}

// medianOf is the median of f's durations, microseconds.
func medianOf(n int, f func()) float64 {
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		f()
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return float64(times[n/2].Nanoseconds()) / 1000
}
