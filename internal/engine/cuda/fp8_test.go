package cuda

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// calibrationOf has scales that differ for every layer; qkv and mlp say which are in fp8 where they may be.
func calibrationOf(m *model.Model, qkv, mlp bool) *fp8.Calibration {
	c := &fp8.Calibration{WeightsHash: m.WeightsHash, Blocks: make([]fp8.Block, m.Config.Layers)}
	for i := range c.Blocks {
		s := float32(1+i) / 64
		if qkv && i > 0 {
			c.Blocks[i].QKV = s
		}
		if mlp && i < len(c.Blocks)-1 {
			c.Blocks[i].FC1, c.Blocks[i].FC2 = 2*s, 4*s
		}
	}
	return c
}

// deep is small with a block more, so that one is neither first nor last.
func deep(act model.Activation) model.Config {
	c := small(act)
	c.Layers = 3
	return c
}

// answers makes a pretended GPU write embeddings: value(i) for element i of each.
func answers(t *testing.T, g *drivertest.GPU, value func(i int) float32) {
	g.Ran = func(r drivertest.Record) {
		if !strings.HasSuffix(r.Name, "_"+string(normedFloat)) {
			return
		}
		a := *(*gemmArgs)(unsafe.Pointer(&r.Args[0]))
		b, err := g.View(a.out, int(a.m*a.n)*4)
		if err != nil {
			t.Error(err)
			return
		}
		for i, f := 0, tensor.Float32s(b); i < len(f); i++ {
			f[i] = value(i % int(a.n))
		}
	}
}

// cards are two pretended GPUs: float32's and fp8's, in the order in which they are opened.
type cards struct {
	float, eight *drivertest.GPU
	opened       int
}

func newCards(t *testing.T) *cards {
	c := &cards{float: drivertest.New(), eight: drivertest.New()}
	answers(t, c.float, func(i int) float32 { return float32(i + 1) })
	answers(t, c.eight, func(i int) float32 { return float32(i + 1) })
	return c
}

func (c *cards) options(o Options) Options {
	o = quiet(nil, o)
	o.Precision = engine.FP8
	o.Open = func(int) (driver.GPU, error) {
		c.opened++
		if c.opened == 1 {
			return c.float, nil
		}
		return c.eight, nil
	}
	return o
}

// pretendFP8 makes an engine in fp8 on pretended GPUs.
func pretendFP8(t *testing.T, m *model.Model, c *fp8.Calibration, o Options) (*Engine, *drivertest.GPU) {
	t.Helper()
	both := newCards(t)
	o.Calibration = c
	e, err := New(m, both.options(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkClosed(t, e, both.eight)
		if l := both.float.Leaks(); len(l) > 0 {
			t.Errorf("float32 left open: %v", l)
		}
	})
	both.eight.Launched() // of the check
	return e, both.eight
}

// TestFP8Launches: which products are in fp8, which make a copy for the next, and which stay as they are.
func TestFP8Launches(t *testing.T) {
	m := synthetic(t, deep(model.QuickGELU), false)
	for _, c := range []struct {
		name     string
		qkv, mlp bool
		want     []string // of three blocks
	}{
		{"all", true, true, []string{
			"norm", "attention_f16", "residual_copy", "fp8_norm_quickgelu", "fp8_residual",
			"fp8_norm", "attention_f16", "residual_copy", "fp8_norm_quickgelu", "fp8_residual",
			"fp8_norm", "attention_f16", "residual", "norm_quickgelu", "residual"}},
		{"mlp", false, true, []string{
			"norm", "attention_f16", "residual_copy", "fp8_norm_quickgelu", "fp8_residual",
			"norm", "attention_f16", "residual_copy", "fp8_norm_quickgelu", "fp8_residual",
			"norm", "attention_f16", "residual", "norm_quickgelu", "residual"}},
		{"qkv", true, false, []string{
			"norm", "attention_f16", "residual", "norm_quickgelu", "residual_copy",
			"fp8_norm", "attention_f16", "residual", "norm_quickgelu", "residual_copy",
			"fp8_norm", "attention_f16", "residual", "norm_quickgelu", "residual"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, g := pretendFP8(t, m, calibrationOf(m, c.qkv, c.mlp), Options{Instances: 1, MaxBatch: 2})
			if e.spec.Precision != engine.FP8 {
				t.Errorf("precision %s", e.spec.Precision)
			}
			runRows(t, e, tensor.FormatUint8HWC, 2)
			want := slices.Concat([]string{"patch_f16", "residual", "norm_f16"}, c.want, []string{"norm_float"})
			if got := names(g.Launched()); !slices.Equal(got, want) {
				t.Errorf("launches %q, want %q", got, want)
			}
		})
	}
}

// TestFP8Memory: what every product of every batch reads and writes is allocated and described as what it is, and a
// copy is written where the next product reads it, in the scale that this one expects.
func TestFP8Memory(t *testing.T) {
	for _, name := range []string{"ViT-B-32-quickgelu", "ViT-L-14"} {
		if testing.Short() && name != "ViT-B-32-quickgelu" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, _ := model.Preset(name)
			c.Layers = 3
			m := synthetic(t, c, false)
			e, g := pretendFP8(t, m, calibrationOf(m, true, true), Options{Instances: 1, MaxBatch: 33})
			for _, n := range e.spec.Batches {
				runRows(t, e, tensor.FormatUint8HWC, n)
				checkFP8(t, g, g.Launched())
			}
		})
	}
}

// stored is what a kernel left in E4M3.
type stored struct {
	at       driver.Pointer
	ld       int32
	outScale float32
}

func checkFP8(t *testing.T, g *drivertest.GPU, launches []drivertest.Record) {
	t.Helper()
	var last stored
	eights := 0
	for _, l := range launches {
		if !strings.HasPrefix(l.Name, "gemm_") {
			continue
		}
		parts := strings.SplitN(l.Name, "_", 4)
		e := epilogue(parts[3])
		if !e.scaled() {
			checkProduct(t, g, l, 2)
			continue
		}
		if want := int(unsafe.Sizeof(scaledArgs{})); len(l.Args) != want {
			t.Fatalf("%s: %d bytes of arguments, want %d", l.Name, len(l.Args), want)
		}
		a := *(*scaledArgs)(unsafe.Pointer(&l.Args[0]))
		checkScaled(t, g, l.Name, e, &a)
		if e.fp8() {
			eights++
			if a.a != last.at || a.lda%last.ld != 0 { // the last block's query reads every so many rows
				t.Errorf("%s reads %#x, E4M3 was written at %#x", l.Name, a.a, last.at)
			}
			if s := firstFloat(t, g, a.scales) * last.outScale; !(s > 0 && s < 1e3) {
				t.Errorf("%s: scales of %g, and the input was stored times %g", l.Name, s/last.outScale, last.outScale)
			}
		}
		switch {
		case e.activates():
			last = stored{a.out, a.ldOut, a.outScale}
		case a.copy != 0:
			last = stored{a.copy, a.ldCopy, a.outScale}
		}
	}
	if want := 2*2 + 2; eights < want {
		t.Errorf("%d products in fp8, want at least %d", eights, want)
	}
}

func firstFloat(t *testing.T, g *drivertest.GPU, at driver.Pointer) float32 {
	t.Helper()
	b, err := g.View(at, 4)
	if err != nil {
		t.Fatal(err)
	}
	return tensor.Float32s(b)[0]
}

// checkScaled checks a product around fp8 as checkProduct does others.
func checkScaled(t *testing.T, g *drivertest.GPU, name string, e epilogue, a *scaledArgs) {
	t.Helper()
	m, n, k := int(a.m), int(a.n), int(a.k)
	span := func(what string, at driver.Pointer, rows, stride, columns, size int) {
		if _, err := g.View(at, ((rows-1)*stride+columns)*size); err != nil {
			t.Errorf("%s, m %d: %s: %v", name, m, what, err)
		}
	}
	size, outSize, element := 2, 2, driver.Float16
	if e.fp8() {
		size, element = 1, driver.Uint8
		span("scales", a.scales, 1, 0, n, 4)
	}
	if e.activates() {
		outSize = 1
	}
	span("a", a.a, m, int(a.lda), k, size)
	span("w", a.w, n, k, k, size)
	span("out", a.out, m, int(a.ldOut), n, outSize)
	for what, tm := range map[string]driver.TensorMap{"A": a.mapA, "W": a.mapW} {
		if matrix, ok := g.Matrix(tm); !ok || matrix.Element != element || matrix.Columns != k {
			t.Errorf("%s: %s is described as %+v", name, what, matrix)
		}
	}
	if e.activates() || a.copy != 0 {
		if !(a.outScale > 0) {
			t.Errorf("%s stores E4M3 times %g", name, a.outScale)
		}
	}
	if a.copy != 0 {
		span("copy", a.copy, m, int(a.ldCopy), n, 1)
		if a.copy == a.a || a.copy == a.out {
			t.Errorf("%s: the copy at %#x overwrites an operand or the result", name, a.copy)
		}
	}
	if (e == residualCopy) != (!e.fp8() && a.copy != 0) {
		t.Errorf("%s: copy %#x", name, a.copy)
	}
}

// TestFP8Weights: what is packed is the folded weights within E4M3's step, and the sums are those of what is
// packed.
func TestFP8Weights(t *testing.T) {
	m := synthetic(t, deep(model.GELU), true)
	c := calibrationOf(m, true, true)
	e, g := pretendFP8(t, m, c, Options{Instances: 1, MaxBatch: 1})
	from, to := &m.Weights.Blocks[1], &e.weights.blocks[1]
	for _, layer := range []struct {
		name   string
		l      linear
		w      model.Tensor
		gamma  *model.Tensor
		input  float32
		output float32
	}{
		{"qkv", to.queryKeyValue, from.QKV.Weight, &from.LN1.Weight, c.Blocks[1].QKV, 0},
		{"fc1", to.fc1, from.FC1.Weight, &from.LN2.Weight, c.Blocks[1].FC1, c.Blocks[1].FC2},
		{"fc2", to.fc2, from.FC2.Weight, nil, c.Blocks[1].FC2, c.Blocks[2].QKV},
	} {
		l := layer.l
		if l.size != 1 || l.input != layer.input || l.output != layer.output {
			t.Errorf("%s: size %d, input %g, output %g", layer.name, l.size, l.input, l.output)
		}
		view := func(at driver.Pointer, n int) []byte {
			b, err := g.View(at, n)
			if err != nil {
				t.Fatalf("%s: %v", layer.name, err)
			}
			return b
		}
		codes, scales := view(l.weight, l.n*l.k), tensor.Float32s(view(l.scales, 4*l.n))
		w := layer.w.Float32s(nil)
		for i := range l.n {
			var sum, top float64
			row := w[i*l.k : (i+1)*l.k]
			for j, x := range row {
				want := float64(x)
				if layer.gamma != nil {
					want *= float64(layer.gamma.Float32s(nil)[j])
				}
				got := float64(tensor.E4M3ToFloat32(codes[i*l.k+j])) * float64(scales[i]) / float64(l.input)
				sum += got
				top = max(top, math.Abs(want))
				if d := math.Abs(got - want); d > math.Abs(want)/16*1.01 && d > top*1e-4 {
					t.Fatalf("%s [%d,%d]: %g, want %g", layer.name, i, j, got, want)
				}
			}
			if layer.gamma != nil {
				if got := float64(tensor.Float32s(view(l.sums, 4*l.n))[i]); math.Abs(got-sum) > 1e-5*top*float64(l.k) {
					t.Fatalf("%s: sum of row %d is %g, want %g", layer.name, i, got, sum)
				}
			}
		}
	}
	if b := &e.weights.blocks[0]; b.queryKeyValue.size != 2 || b.fc1.size != 1 || b.fc2.output != c.Blocks[1].QKV {
		t.Errorf("first block: %+v", b)
	}
	if b := &e.weights.blocks[2]; b.queryKeyValue.size != 1 || b.fc1.size != 2 || b.out.output != 0 {
		t.Errorf("last block: %+v", b)
	}
}

// TestFP8IsChecked: an engine whose answers are not float32's is refused, and leaves nothing.
func TestFP8IsChecked(t *testing.T) {
	m := synthetic(t, deep(model.GELU), false)
	for _, c := range []struct {
		name  string
		value func(i int) float32
		want  string // "" for success
	}{
		{"near", func(i int) float32 { return float32(i+1) * (1 + 0.02*float32(i%2)) }, ""},
		{"far", func(i int) float32 { return float32(i+1) * (1 + 0.2*float32(i%2)) }, "too far from this device's own float32"},
		{"zero", func(int) float32 { return 0 }, "too far"},
		{"not a number", func(int) float32 { return float32(math.NaN()) }, "too far"},
	} {
		t.Run(c.name, func(t *testing.T) {
			both := newCards(t)
			answers(t, both.eight, c.value)
			e, err := New(m, both.options(Options{Calibration: calibrationOf(m, true, true), Instances: 1, MaxBatch: 2}))
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkClosed(t, e, both.eight)
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
			if l := append(both.eight.Leaks(), both.float.Leaks()...); len(l) > 0 {
				t.Errorf("left open: %v", l)
			}
		})
	}
}

func TestFP8Refuses(t *testing.T) {
	m := synthetic(t, deep(model.GELU), false)
	other := synthetic(t, deep(model.QuickGELU), false)
	odd := deep(model.GELU)
	odd.Width, odd.Heads = 192, 3
	narrow := synthetic(t, odd, false)
	for _, c := range []struct {
		name, want  string
		model       *model.Model
		calibration *fp8.Calibration
		capability  driver.Capability
	}{
		{"no calibration", "needs a calibration", m, nil, 90},
		{"other weights", "the calibration is of the weights", m, calibrationOf(other, true, true), 90},
		{"other depth", "3 blocks", synthetic(t, small(model.GELU), false),
			&fp8.Calibration{WeightsHash: synthetic(t, small(model.GELU), false).WeightsHash, Blocks: make([]fp8.Block, 3)}, 90},
		{"Ampere", "needs compute capability 9.0", m, calibrationOf(m, true, true), 80},
		{"Blackwell", "needs compute capability 9.0", m, calibrationOf(m, true, true), 100},
		{"odd width", "multiples of 128", narrow, calibrationOf(narrow, true, true), 90},
	} {
		t.Run(c.name, func(t *testing.T) {
			both := newCards(t)
			both.float.Device.Capability, both.eight.Device.Capability = c.capability, c.capability
			_, err := New(c.model, both.options(Options{Calibration: c.calibration, Instances: 1, MaxBatch: 2}))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
			if l := append(both.eight.Leaks(), both.float.Leaks()...); len(l) > 0 {
				t.Errorf("left open: %v", l)
			}
		})
	}
}

// TestFP8Failures lets each driver call of the engine in fp8 fail in turn, the check's runs among them.
func TestFP8Failures(t *testing.T) {
	m := synthetic(t, deep(model.GELU), false)
	for k := 0; ; k++ {
		both, calls, failed := newCards(t), 0, false
		both.eight.Fail = func(call string) error {
			if calls++; calls == k+1 && !failed {
				failed = true
				return &driver.Error{Call: call, Code: 999, Name: "CUDA_ERROR_UNKNOWN", Text: "unknown error"}
			}
			return nil
		}
		e, err := New(m, both.options(Options{Calibration: calibrationOf(m, true, true), Instances: 1, MaxBatch: 1}))
		both.eight.Fail = nil
		if err == nil {
			checkClosed(t, e, both.eight)
			if failed || k < 100 {
				t.Fatalf("after %d calls: failed %v", k, failed)
			}
			return
		}
		if !strings.Contains(err.Error(), "unknown error") {
			t.Fatalf("call %d: %v", k, err)
		}
		if l := append(both.eight.Leaks(), both.float.Leaks()...); len(l) > 0 {
			t.Fatalf("call %d: left open: %v", k, l)
		}
	}
}

// TestChooseFP8: each product that may be in fp8, or makes a copy for one that is, has a variant at every size.
func TestChooseFP8(t *testing.T) {
	all := slices.Concat(hopper, portable, hopperFP8)
	for _, name := range []string{"ViT-B-32", "ViT-B-16", "ViT-L-14"} {
		c, _ := model.Preset(name)
		for _, p := range []struct {
			n, k int
			e    epilogue
		}{{3 * c.Width, c.Width, fp8Normed}, {2 * c.Width, c.Width, fp8Normed}, {c.Width, c.Width, fp8Normed}, {c.Width, c.Width, residualCopy},
			{c.MLP, c.Width, fp8NormedGELU}, {c.MLP, c.Width, fp8NormedQuickGELU}, {c.Width, c.MLP, fp8Residual}, {c.Width, c.MLP, residualCopy}} {
			for m := 1; m < 40000; m = m*3 + 1 {
				v, err := choose(all, m, p.n, p.k, p.e, 132)
				if err != nil || !v.fits(p.n, p.k, p.e) || v.blocks(m, p.n, 132) < 1 {
					t.Errorf("%s %v, %d rows: %+v, %v", name, p, m, v, err)
				}
			}
		}
	}
}

// TestFP8Layout: as TestLayout.
func TestFP8Layout(t *testing.T) {
	for what, c := range map[string][2]uintptr{
		"ScaledArgs":           {unsafe.Sizeof(scaledArgs{}), 448},
		"ScaledArgs.scales":    {unsafe.Offsetof(scaledArgs{}.scales), 384},
		"ScaledArgs.copy":      {unsafe.Offsetof(scaledArgs{}.copy), 392},
		"ScaledArgs.out_scale": {unsafe.Offsetof(scaledArgs{}.outScale), 400},
		"ScaledArgs.ldcopy":    {unsafe.Offsetof(scaledArgs{}.ldCopy), 404},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %d, the kernels have %d", what, c[0], c[1])
		}
	}
}

// TestFP8SharedMemory: every kernel's need is within what a multiprocessor gives as many blocks as the table says.
func TestFP8SharedMemory(t *testing.T) {
	for _, v := range hopperFP8 {
		for _, e := range v.epilogues {
			// 228 KiB a multiprocessor, of which each block takes 1 KiB for itself.
			if need := (v.shared(e) + 1024) * v.perSM; need > 228<<10 {
				t.Errorf("%s %s: %d blocks need %d bytes", v.name, e, v.perSM, need)
			}
		}
	}
}
