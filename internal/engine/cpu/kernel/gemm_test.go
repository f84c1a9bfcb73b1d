package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

// product is one multiplication of a test: random operands with room around the rows.
type product struct {
	m, n, k, lda, ldc int
	a, w, bias, res   []float32
}

func newProduct(m, n, k int) *product {
	r := rand.New(rand.NewPCG(uint64(m)<<32|uint64(n), uint64(k)))
	fill := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(int32(r.Uint32())) * 0x1p-30
		}
		return x
	}
	p := &product{m: m, n: n, k: k, lda: k + 3, ldc: n + 5}
	p.a, p.w, p.bias, p.res = fill(m*p.lda), fill(n*k), fill(n), fill(m*p.ldc)
	return p
}

func (p *product) row(i int, dst []float32) { copy(dst, p.w[i*p.k:]) }

// exact is the float64 result of row i, column j before the epilogue, and the sum of its terms'
// magnitudes.
func (p *product) exact(i, j int, round func(float32) float32) (y, magnitude float64) {
	for k := range p.k {
		x := float64(round(p.a[i*p.lda+k])) * float64(round(p.w[j*p.k+k]))
		y += x
		magnitude += math.Abs(x)
	}
	return y, magnitude
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func rounding(p Precision) func(float32) float32 {
	if p == BF16 {
		return func(x float32) float32 { return fromBF16(toBF16(x)) }
	}
	return func(x float32) float32 { return x }
}

// check compares c with float64 within the bound of a float32 sum of k terms in order,
// k 2^-24 sum |a w|, of which random signs use far less: a quarter is allowed for long sums. The
// bfloat16 dot product rounds twice an element pair, so it has the same bound. Of a large product it
// looks at a sample that walks through all columns.
func (p *product) check(t *testing.T, c []float32, round func(float32) float32, e Epilogue) {
	t.Helper()
	budget := 1_000_000
	if testing.Short() {
		budget = 100_000
	}
	every := 1 + p.m*p.n*p.k/budget
	for gcd(every, p.n) != 1 {
		every++
	}
	for at := 0; at < p.m*p.n; at += every {
		i, j := at/p.n, at%p.n
		y, magnitude := p.exact(i, j, round)
		bound := (float64(p.k)/4 + 4) * 0x1p-24 * magnitude
		if e.Bias != nil {
			y += float64(e.Bias[j])
		}
		switch e.Activation {
		case ActGELU:
			y *= math.Erfc(-y/math.Sqrt2) / 2
		case ActQuickGELU:
			y /= 1 + math.Exp(-1.702*y)
		}
		if e.Residual != nil {
			y += float64(p.res[i*p.ldc+j])
		}
		got := float64(c[i*p.ldc+j])
		if d := math.Abs(got - y); !(d <= 1.2*bound+4e-6*(1+math.Abs(y))) {
			t.Fatalf("%dx%dx%d: c[%d,%d] = %v, want %v: off by %.3g, allowed %.3g", p.m, p.n, p.k, i, j, got, y, d, bound)
		}
	}
}

// forGemms runs f for every precision and variant that the machine has.
func forGemms(t *testing.T, f func(t *testing.T, p Precision, g *gemm)) {
	for _, p := range []Precision{F32, BF16} {
		gemms[p].ForTest(func(v cpufeat.Variant[*gemm]) {
			if v.Name() != v.Impl.name {
				t.Errorf("variant %s calls itself %s", v.Name(), v.Impl.name)
			}
			t.Run(p.String()+"/"+v.Name(), func(t *testing.T) { f(t, p, v.Impl) })
		})
	}
}

func testPool(t testing.TB, threads int) *Pool {
	p := NewPool(threads)
	t.Cleanup(p.Close)
	return p
}

func TestMulSmallShapes(t *testing.T) {
	pool := testPool(t, 2)
	forGemms(t, func(t *testing.T, p Precision, g *gemm) {
		for m := 1; m <= 64; m++ {
			for _, nk := range [][2]int{{1, 1}, {3, 2}, {31, 5}, {32, 16}, {33, 7}, {65, 33}, {48, 63}} {
				q := newProduct(m, nk[0], nk[1])
				c := make([]float32, len(q.res))
				packWith(g, q.n, q.k, q.row).Mul(pool, c, q.ldc, q.a, q.lda, m, Epilogue{})
				q.check(t, c, rounding(p), Epilogue{})
			}
		}
	})
}

func TestMulModelShapes(t *testing.T) {
	pool := testPool(t, 2)
	shapes := [][3]int{
		{50, 2304, 768}, {50, 768, 768}, {50, 3072, 768}, {50, 768, 3072}, {49, 768, 3072}, {1, 512, 768},
		{800, 2304, 768}, {800, 768, 3072}, {784, 768, 3072}, {16, 512, 768}, {150, 100, 1537}, {257, 64, 1600},
	}
	forGemms(t, func(t *testing.T, p Precision, g *gemm) {
		for _, s := range shapes {
			work := s[0] * s[1] * s[2]
			if g.name == "generic" && work > 100e6 || testing.Short() && work > 30e6 {
				continue // slow, and the smaller shapes have the same blocks
			}
			q := newProduct(s[0], s[1], s[2])
			c := make([]float32, len(q.res))
			packWith(g, q.n, q.k, q.row).Mul(pool, c, q.ldc, q.a, q.lda, q.m, Epilogue{Bias: q.bias})
			q.check(t, c, rounding(p), Epilogue{Bias: q.bias})
		}
	})
}

func TestMulEpilogues(t *testing.T) {
	pools := []*Pool{testPool(t, 1), testPool(t, 3)} // one packs blocks apart, the other together
	forGemms(t, func(t *testing.T, p Precision, g *gemm) {
		for _, s := range [][3]int{{7, 70, 40}, {50, 77, 1601}, {330, 32, 30}, {330, 35, 801}} {
			q := newProduct(s[0], s[1], s[2])
			w := packWith(g, q.n, q.k, q.row)
			for _, act := range []Activation{None, ActGELU, ActQuickGELU} {
				for set := range 8 {
					var e Epilogue
					e.Activation = act
					if set&1 != 0 {
						e.Bias = q.bias
					}
					c := slices.Repeat([]float32{99}, len(q.res))
					if set&2 != 0 {
						e.Residual = q.res
					}
					if set&4 != 0 { // in place
						copy(c, q.res)
						if e.Residual != nil {
							e.Residual = c
						}
					}
					before := slices.Clone(c)
					w.Mul(pools[set/2%2], c, q.ldc, q.a, q.lda, q.m, e)
					q.check(t, c, rounding(p), e)
					for i := range c {
						if i%q.ldc >= q.n && c[i] != before[i] {
							t.Fatalf("wrote between the rows, at %d", i)
						}
					}
				}
			}
		}
	})
}

// TestMulRowsAreIndependent holds that a row's bits depend on neither the batch nor the threads.
func TestMulRowsAreIndependent(t *testing.T) {
	pools := []*Pool{testPool(t, 1), testPool(t, 2), testPool(t, 5)}
	forGemms(t, func(t *testing.T, p Precision, g *gemm) {
		q := newProduct(330, 70, 1601)
		if g.name == "generic" {
			q = newProduct(330, 10, 801)
		}
		w := packWith(g, q.n, q.k, q.row)
		for _, e := range []Epilogue{{Bias: q.bias, Residual: q.res}, {Activation: ActGELU}, {Activation: ActQuickGELU, Bias: q.bias}} {
			want := make([]float32, len(q.res))
			w.Mul(pools[0], want, q.ldc, q.a, q.lda, q.m, e)
			for _, pool := range pools {
				for _, m := range []int{1, 13, 50, 105, 330} {
					for _, first := range []int{0, q.m - m} {
						c := make([]float32, m*q.ldc)
						part := e
						if e.Residual != nil {
							part.Residual = e.Residual[first*q.ldc:]
						}
						w.Mul(pool, c, q.ldc, q.a[first*q.lda:], q.lda, m, part)
						for i := range m {
							got, want := c[i*q.ldc:][:q.n], want[(first+i)*q.ldc:][:q.n]
							if !slices.Equal(got, want) {
								t.Fatalf("%d rows from %d on, %d threads: row %d differs from its bits among %d", m, first, pool.Threads(), i, q.m)
							}
						}
					}
				}
			}
		}
	})
}

func TestMulConcurrentCallers(t *testing.T) {
	pool := testPool(t, 2)
	q := newProduct(120, 96, 100)
	w := Pack(q.w, q.n, q.k, F32)
	results := make(chan []float32)
	const callers = 6
	for range callers {
		go func() {
			var c []float32
			for range 20 {
				c = make([]float32, len(q.res))
				w.Mul(pool, c, q.ldc, q.a, q.lda, q.m, Epilogue{Bias: q.bias})
			}
			results <- c
		}()
	}
	for range callers {
		q.check(t, <-results, rounding(F32), Epilogue{Bias: q.bias})
	}
}

func TestMulDoesNotAllocate(t *testing.T) {
	pool := testPool(t, 2)
	q := newProduct(50, 96, 100)
	w := Pack(q.w, q.n, q.k, BF16)
	c := make([]float32, len(q.res))
	mul := func() { w.Mul(pool, c, q.ldc, q.a, q.lda, q.m, Epilogue{Bias: q.bias, Activation: ActGELU}) }
	for range 20 { // each worker's scratch grows at its first part
		mul()
	}
	if n := testing.AllocsPerRun(50, mul); n > 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func TestMulRefusesShortSlices(t *testing.T) {
	pool := testPool(t, 1)
	q := newProduct(3, 8, 8)
	w := Pack(q.w, q.n, q.k, F32)
	c := make([]float32, len(q.res))
	for name, f := range map[string]func(){
		"a":        func() { w.Mul(pool, c, q.ldc, q.a[:2*q.lda+7], q.lda, 3, Epilogue{}) },
		"c":        func() { w.Mul(pool, c[:2*q.ldc+7], q.ldc, q.a, q.lda, 3, Epilogue{}) },
		"bias":     func() { w.Mul(pool, c, q.ldc, q.a, q.lda, 3, Epilogue{Bias: q.bias[:7]}) },
		"residual": func() { w.Mul(pool, c, q.ldc, q.a, q.lda, 3, Epilogue{Residual: q.res[:9]}) },
		"lda":      func() { w.Mul(pool, c, q.ldc, q.a, 7, 3, Epilogue{}) },
		"weights":  func() { Pack(q.w[:63], 8, 8, F32) },
		"empty":    func() { Pack(nil, 0, 8, F32) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	w.Mul(pool, nil, q.ldc, nil, q.lda, 0, Epilogue{}) // no rows: nothing to do
}

func TestPackMatchesPackFunc(t *testing.T) {
	q := newProduct(1, 45, 1601)
	for _, p := range []Precision{F32, BF16} {
		next := 0
		got := PackFunc(q.n, q.k, p, func(i int, dst []float32) {
			if i != next || len(dst) != q.k {
				t.Fatalf("row %d of %d floats asked for, want row %d of %d", i, len(dst), next, q.k)
			}
			next++
			q.row(i, dst)
		})
		want := Pack(q.w, q.n, q.k, p)
		bits := func(x float32) uint32 { return math.Float32bits(x) }
		if !slices.EqualFunc(got.data, want.data, func(a, b float32) bool { return bits(a) == bits(b) }) {
			t.Errorf("%s: Pack and PackFunc differ", p)
		}
		if got.Rows() != q.n || got.Cols() != q.k || got.Bytes() < int64(q.n*q.k*2) || got.Variant() == "" {
			t.Errorf("%s: %d by %d, %d bytes, %q", p, got.Rows(), got.Cols(), got.Bytes(), got.Variant())
		}
	}
}

func TestToBF16(t *testing.T) {
	inf := float32(math.Inf(1))
	tests := []struct {
		in   uint32
		want uint16
	}{
		{0, 0}, {0x80000000, 0x8000}, {math.Float32bits(1), 0x3f80}, {math.Float32bits(inf), 0x7f80},
		{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, // ties to even
		{0x7f7fffff, 0x7f80}, {0xff7fffff, 0xff80}, // overflow to infinity
		{0x00000001, 0}, {0x007fffff, 0}, {0x807fffff, 0x8000}, {0x00800000, 0x0080}, // subnormals to zero
		{0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1}, // NaN stays NaN
	}
	for _, tt := range tests {
		if got := toBF16(math.Float32frombits(tt.in)); got != tt.want {
			t.Errorf("toBF16(%#08x) = %#04x, want %#04x", tt.in, got, tt.want)
		}
	}
}

// TestConvertPairs holds every variant's conversion to toBF16, bit for bit, also at odd lengths.
func TestConvertPairs(t *testing.T) {
	forGemms(t, func(t *testing.T, p Precision, g *gemm) {
		if !g.pairs {
			return
		}
		r := rand.New(rand.NewPCG(1, 2))
		for n := 1; n < 200; n++ {
			src := make([]float32, n)
			for i := range src {
				src[i] = math.Float32frombits(r.Uint32())
			}
			dst := make([]float32, g.units(n))
			g.convert(dst, src)
			for i, x := range src {
				got := uint16(math.Float32bits(dst[i/2]) >> (16 * (i % 2)))
				if got != toBF16(x) {
					t.Fatalf("%#08x became %#04x, want %#04x", math.Float32bits(x), got, toBF16(x))
				}
			}
			if n%2 != 0 && math.Float32bits(dst[n/2])>>16 != 0 {
				t.Fatal("the missing half of a pair is not zero")
			}
		}
	})
}

func BenchmarkMul(b *testing.B) {
	shapes := [][3]int{
		{50, 2304, 768}, {50, 768, 768}, {50, 3072, 768}, {50, 768, 3072}, {49, 768, 3072},
		{800, 2304, 768}, {800, 768, 768}, {800, 3072, 768}, {800, 768, 3072}, {784, 768, 3072},
	}
	for _, p := range []Precision{F32, BF16} {
		for _, s := range shapes {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/threads=%d", p, s[0], s[1], s[2], threads), func(b *testing.B) {
					benchmarkMul(b, p, s, threads)
				})
			}
		}
	}
}

func benchmarkMul(b *testing.B, p Precision, s [3]int, threads int) {
	pool := testPool(b, threads)
	q := newProduct(s[0], s[1], s[2])
	w := Pack(q.w, q.n, q.k, p)
	c := make([]float32, len(q.res))
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		w.Mul(pool, c, q.ldc, q.a, q.lda, q.m, Epilogue{Bias: q.bias})
		best = min(best, time.Since(start))
	}
	flop := 2 * float64(q.m*q.n*q.k)
	b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(flop/best.Seconds()/1e9, "best-GFLOP/s")
}

// BenchmarkEncoder runs the 48 products of ViT-B/32's encoder, each with its own weights as in the
// model, so that a small batch reads them from memory. The best run is reported too: others' load
// only ever adds time.
func BenchmarkEncoder(b *testing.B) {
	layers := [][2]int{{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}}
	for _, p := range []Precision{F32, BF16} {
		var ws []*Matrix
		flop := 0.0
		for range 12 {
			for _, s := range layers {
				ws = append(ws, PackFunc(s[0], s[1], p, func(i int, dst []float32) {
					for k := range dst {
						dst[k] = float32((i*7+k*3)%11-5) / 16
					}
				}))
				flop += 2 * 50 * float64(s[0]*s[1])
			}
		}
		for _, batch := range []int{1, 4, 8, 16} {
			m := 50 * batch
			x, c := make([]float32, m*3072), make([]float32, m*3072)
			b.Run(fmt.Sprintf("%s/b%d", p, batch), func(b *testing.B) {
				pool := testPool(b, 2)
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					for _, w := range ws {
						w.Mul(pool, c, w.n, x, w.k, m, Epilogue{})
					}
					best = min(best, time.Since(start))
				}
				b.ReportMetric(best.Seconds()*1e3, "best-ms")
				b.ReportMetric(flop*float64(batch)/best.Seconds()/1e9, "best-GFLOP/s")
			})
		}
	}
}
