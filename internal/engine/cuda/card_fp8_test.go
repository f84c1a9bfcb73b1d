package cuda

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// These tests need a Hopper card; workshop/cuda/fp8.sh runs them all.

// onHopper calls f as withCard does, and skips on other cards.
func onHopper(t *testing.T, f func(c *card)) {
	t.Helper()
	withCard(t, func(c *card) {
		if i := c.Info(); i.Capability != 90 {
			t.Skipf("%s has compute capability %s", i.Name, i.Capability)
		}
		f(c)
	})
}

// Tolerances of products of E4M3 whose operands are exact. Hopper keeps about 14 bits while it adds them up
// (DeepSeek-V3's report, section 3.3.2), so they are wider than fp16's. What is stored as E4M3 is compared with the
// unrounded result, and with the rounded one: few may round to a neighbour.
const (
	fp8Tolerance      = 3e-3
	e4m3Tolerance     = 0.03
	e4m3SameTolerance = 0.02
)

// codes are n numbers in E4M3, and what they are worth.
func codes(seed uint64, n int, mean float32, scale func(i int) float32) (code []byte, value []float32) {
	code, value = make([]byte, n), normal(engine.FP32, seed, n, 1)
	for i := range value {
		code[i] = tensor.Float32ToE4M3((value[i] + mean) * 16)
		value[i] = scale(i) * tensor.E4M3ToFloat32(code[i])
	}
	return code, value
}

func (c *card) putBytes(b []byte) driver.Pointer {
	c.t.Helper()
	at := c.alloc(len(b))
	c.check(c.CopyIn(at, b))
	return at
}

// narrowCase is a product whose operands are E4M3.
func (c *card) narrowCase(m, n, k int) *productCase {
	q := &productCase{m: m, n: n, k: k}
	const input = 1.0 / 32
	scales := make([]float32, n)
	for i := range scales {
		scales[i] = float32(1+i%7) / 2048
	}
	a, aValues := codes(1, m*k, 0.25, func(int) float32 { return input })
	w, wValues := codes(2, n*k, 0, func(i int) float32 { return scales[i/k] })
	q.a, q.w = aValues, wValues
	c.derive(q, engine.FP16)
	for i := range scales {
		scales[i] *= input
	}
	q.layer.weight, q.layer.size, q.layer.input = c.putBytes(w), 1, input
	q.layer.scales = c.put(engine.FP32, scales)
	q.src = view{c.putBytes(a), m, k, 1}
	return q
}

// getE4M3 are n numbers that were stored in E4M3 with a scale.
func (c *card) getE4M3(at driver.Pointer, n int, scale float32) []float32 {
	c.t.Helper()
	b := tensor.AlignedBytes(n)
	c.check(c.CopyOut(b, at))
	f := make([]float32, n)
	for i := range f {
		f[i] = scale * tensor.E4M3ToFloat32(b[i])
	}
	return f
}

// checkE4M3 compares what was stored in E4M3 with the result that is wanted.
func (c *card) checkE4M3(what string, at driver.Pointer, scale float32, want []float64) {
	c.t.Helper()
	got := c.getE4M3(at, len(want), scale)
	if r := relative(got, want); r > e4m3Tolerance {
		c.t.Errorf("%s: error %.2g, want at most %g", what, r, e4m3Tolerance)
	}
	same := make([]float64, len(want))
	for i, x := range want {
		same[i] = float64(scale * tensor.E4M3ToFloat32(tensor.Float32ToE4M3(float32(x)/scale)))
	}
	if r := relative(got, same); r > e4m3SameTolerance {
		c.t.Errorf("%s: error %.2g against the rounded result, want at most %g", what, r, e4m3SameTolerance)
	}
}

// TestCardFP8Products compares every variant around fp8 with float64.
func TestCardFP8Products(t *testing.T) {
	onHopper(t, func(c *card) {
		l := c.launcher(engine.FP8, 50)
		for _, size := range [][3]int{{50, 768, 256}, {333, 768, 768}, {100, 768, 3072}} {
			narrow, wide := c.narrowCase(size[0], size[1], size[2]), c.productCase(engine.FP16, size[0], size[1], size[2])
			for _, v := range hopperFP8 {
				for _, e := range v.epilogues {
					q := wide
					if e.fp8() {
						q = narrow
					}
					if v.fits(q.n, q.k, e) {
						c.scaledProduct(l, q, v, e)
					}
				}
			}
		}
	})
}

// scaledProduct runs one product around fp8 and compares all that it stores; a residual with a copy and, where
// the kernel can, without.
func (c *card) scaledProduct(l *launcher, q *productCase, v variant, e epilogue) {
	c.t.Helper()
	what := fmt.Sprintf("%d x %d x %d %s %s", q.m, q.n, q.k, v.name, e)
	want := q.want(e)
	const stored = 1.0 / 64 // about what calibration makes of numbers up to 14
	g := q.args(e)
	g.outScale = 1 / float32(stored)
	narrow := c.alloc(q.m * q.n)
	if e.adds() {
		g.copy, g.ldCopy = narrow, int32(q.n)
	}
	dst := q.dst
	if e.activates() {
		dst = view{narrow, q.m, q.n, 1}
	}
	c.check(c.Fill(q.dst.at, 0xff, q.m*q.n*4))
	c.check(c.Fill(q.statsOut, 0xff, q.m*q.n*8))
	l.productWith(v, dst, q.layer, q.src, e, g)
	c.check(l.err)
	if err := c.Synchronize(c.stream); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	limit := tolerance[engine.FP16]
	if e.fp8() {
		limit = fp8Tolerance
	}
	if !e.activates() {
		if r := relative(c.get(engine.FP16, q.dst.at, q.m*q.n), want); r > limit {
			c.t.Errorf("%s: error %.2g, want at most %g", what, r, limit)
		}
	}
	if e.activates() || e.adds() {
		c.checkE4M3(what+" in E4M3", narrow, stored, want)
	}
	if !e.adds() {
		return
	}
	if r := c.checkSums(q, v, want); r > limit {
		c.t.Errorf("%s: error of the sums %.2g", what, r)
	}
	if e == fp8Residual {
		g.copy = 0
		c.check(c.Fill(q.dst.at, 0xff, q.m*q.n*4))
		l.productWith(v, q.dst, q.layer, q.src, e, g)
		c.wait(l)
		if r := relative(c.get(engine.FP16, q.dst.at, q.m*q.n), want); r > limit {
			c.t.Errorf("%s without a copy: error %.2g", what, r)
		}
	}
}

// photographs are the project's, as rows hold them.
func photographs(t testing.TB, c model.Config) (images [][]byte) {
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
		images = append(images, append([]byte(nil), row.Bytes()...))
	}
	return images
}

// calibrated is a calibration with images; a goal of 0 is the usual one.
func calibrated(t testing.TB, m *model.Model, images [][]byte, goal float64) *fp8.Calibration {
	t.Helper()
	c, err := fp8.Calibrate(t.Context(), m, images, fp8.Options{MinCosine: goal})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f %% of the products in fp8, emulated cosine %.6f at least", 100*c.Share, c.MinCosine)
	return c
}

// needHopper skips where there is no Hopper card, before anything slow.
func needHopper(t *testing.T) { t.Helper(); onHopper(t, func(*card) {}) }

func TestCardFP8Compliance(t *testing.T) {
	needHopper(t)
	m := synthetic(t, deep(model.GELU), false)
	c := calibrated(t, m, fp8.Photos(m.Config.ImageSize), 0)
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		return openCard(t, m, Options{Precision: engine.FP8, Calibration: c, Instances: 3, MaxBatch: 24})
	})
}

// TestCardFP8AgainstCPU compares photographs with the processor's engine in float32, on the models that are served.
// Some of the photographs are not in the calibration.
func TestCardFP8AgainstCPU(t *testing.T) {
	needHopper(t)
	for _, name := range []string{"ViT-B-32-quickgelu", "ViT-B-32", "ViT-B-16", "ViT-L-14"} {
		for _, outliers := range []bool{false, true} {
			c, _ := model.Preset(name)
			if outliers && name != "ViT-B-32" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", name, outliers), func(t *testing.T) {
				m := synthetic(t, c, outliers)
				images := photographs(t, c)
				k := calibrated(t, m, images[:4], 0)
				enginetest.Golden(t, openCard(t, m, Options{Precision: engine.FP8, Calibration: k, Instances: 1, MaxBatch: 8}),
					images, embeddings(t, m, images))
			})
		}
	}
}

// embeddings are those of the processor's engine in float32.
func embeddings(t testing.TB, m *model.Model, images [][]byte) (want [][]float32) {
	t.Helper()
	e := openOracle(t, m)
	for _, pixels := range images {
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		copy(r.Bytes(), pixels)
		out := [][]float32{make([]float32, e.Spec().Dim())}
		if _, err := e.Run(t.Context(), []tensor.Row{r}, out); err != nil {
			t.Fatal(err)
		}
		r.Release()
		want = append(want, out[0])
	}
	return want
}

// TestCardFP8Speed prints the time of a batch of each size in fp16, in fp8 as calibrated, and with everything in fp8
// that may be, where the device's own check lets that pass.
func TestCardFP8Speed(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	needHopper(t)
	c, _ := model.Preset("ViT-B-32-quickgelu")
	m := synthetic(t, c, false)
	images := photographs(t, c)
	for _, o := range []struct {
		name    string
		options Options
	}{
		{"fp16", Options{Precision: engine.FP16}},
		{"calibrated", Options{Precision: engine.FP8, Calibration: calibrated(t, m, images, 0)}},
		{"all", Options{Precision: engine.FP8, Calibration: calibrated(t, m, images, math.SmallestNonzeroFloat64)}},
	} {
		t.Run(o.name, func(t *testing.T) {
			o.options.Instances, o.options.MaxBatch = 1, 512
			e, err := New(m, o.options)
			if err != nil {
				t.Skip(err)
			}
			defer e.Close()
			fmt.Println(o.name)
			r := <-e.idle
			if err := driver.Do(e.gpu, func() error { return e.speed(t, r) }); err != nil {
				t.Fatal(err)
			}
			e.idle <- r
		})
	}
}

// TestCardFP8ProductSpeed prints the time of every variant around fp8 for each product of each batch size, beside the
// best of fp16.
func TestCardFP8ProductSpeed(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	onHopper(t, func(c *card) {
		l := c.launcher(engine.FP8, 50)
		const most, launches = 512 * 50, 16
		a, w, out := c.alloc(2*most*3072), c.alloc(2*launches*768*3072), c.alloc(2*most*3072)
		narrow, stats := c.alloc(most*3072), c.put(engine.FP32, make([]float32, most*64))
		for _, at := range []struct {
			p     driver.Pointer
			bytes int
		}{{a, 2 * most * 3072}, {w, 2 * launches * 768 * 3072}, {out, 2 * most * 3072}} {
			c.check(c.Fill(at.p, 0x2a, at.bytes)) // 0.05 in fp16, 1.25 in E4M3
		}
		zeros := c.put(engine.FP32, make([]float32, 3072))
		for _, layer := range layers {
			for _, batch := range []int{1, 8, 32, 128, 512} {
				c.speedOf(l, layer.name, layer.e, batch*50, func(v variant, e epilogue, i int) {
					size := 2
					if e.fp8() {
						size = 1
					}
					g := scaledArgs{gemmArgs: gemmArgs{statsIn: stats, statsStep: 1, partsIn: 6, residual: out, ldResidual: int32(layer.n), statsOut: stats}, outScale: 1}
					if e.adds() {
						g.copy, g.ldCopy = narrow, int32(layer.n)
					}
					each := driver.Pointer(i * layer.n * layer.k * size)
					l.productWith(v, view{out, batch * 50, layer.n, 2}, linear{weight: w + each, n: layer.n, k: layer.k, size: size, bias: zeros, sums: zeros, scales: zeros},
						view{a, batch * 50, layer.k, size}, e, g)
				}, layer.n, layer.k, launches)
			}
		}
	})
}

// speedOf prints the times of a product's variants around fp8, and of the one that fp16 takes.
func (c *card) speedOf(l *launcher, name string, e epilogue, m int, launch func(v variant, e epilogue, i int), n, k, launches int) {
	own, err := choose(l.module.variants, m, n, k, e, c.Info().Multiprocessors)
	c.check(err)
	fmt.Printf("%s %5d rows: fp16 %s %.1f |", name, m, own.name, c.time(launches, func(i int) { launch(own, e, i) }))
	kinds := []epilogue{e.inFP8()}
	if e.adds() {
		kinds = append(kinds, residualCopy)
	}
	for _, e := range kinds {
		picked, err := choose(l.module.variants, m, n, k, e, c.Info().Multiprocessors)
		for _, v := range hopperFP8 {
			if err != nil || !v.fits(n, k, e) {
				continue
			}
			mark := ""
			if v.name == picked.name {
				mark = "*"
			}
			fmt.Printf(" %s%s %s %.1f", mark, v.name, e, c.time(launches, func(i int) { launch(v, e, i) }))
		}
	}
	fmt.Println()
	c.check(l.err)
}
