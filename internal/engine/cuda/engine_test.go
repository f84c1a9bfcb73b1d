package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// quiet are options with a pretended GPU.
func quiet(g *drivertest.GPU, o Options) Options {
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	o.Open = func(int) (driver.GPU, error) { return g, nil }
	return o
}

func pretend(t *testing.T, m *model.Model, g *drivertest.GPU, o Options) *Engine {
	t.Helper()
	e, err := New(m, quiet(g, o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClosed(t, e, g) })
	return e
}

func checkClosed(t *testing.T, e *Engine, g *drivertest.GPU) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if l := g.Leaks(); len(l) > 0 {
		t.Errorf("left open: %v", l)
	}
}

// TestLayout: the structs that Go fills and kernels read have the same size; the kernels assert theirs.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"GemmArgs", unsafe.Sizeof(gemmArgs{}), 384},
		{"AttentionArgs", unsafe.Sizeof(attentionArgs{}), 56},
		{"NormArgs", unsafe.Sizeof(normArgs{}), 48},
		{"PatchArgs", unsafe.Sizeof(patchArgs{}), 56},
		{"GemmArgs.m", unsafe.Offsetof(gemmArgs{}.m), 320},
		{"GemmArgs.epsilon", unsafe.Offsetof(gemmArgs{}.epsilon), 364},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, the kernels have %d", c.name, c.got, c.want)
		}
	}
}

// names are the launches' kernels, without variants.
func names(launches []drivertest.Record) (s []string) {
	for _, l := range launches {
		name := l.Name
		if rest, ok := strings.CutPrefix(name, "gemm_"); ok {
			parts := strings.SplitN(rest, "_", 3)
			name = parts[len(parts)-1]
		}
		s = append(s, name)
	}
	return s
}

func runRows(t *testing.T, e *Engine, f tensor.Format, n int) {
	t.Helper()
	var rows []tensor.Row
	var out [][]float32
	for range n {
		r, err := e.NewRow(f)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		rows, out = append(rows, r), append(out, make([]float32, e.spec.Dim()))
	}
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		t.Fatal(err)
	}
}

// TestLaunches: the kernels of a forward pass in the paper's order, for each planned size.
func TestLaunches(t *testing.T) {
	g := drivertest.New()
	e := pretend(t, synthetic(t, small(model.QuickGELU), false), g, Options{Instances: 1, MaxBatch: 5})
	if want := []int{1, 2, 4, 5}; !slices.Equal(e.spec.Batches, want) {
		t.Fatalf("planned %v, want %v", e.spec.Batches, want)
	}
	want := []string{"patch_f16", "residual", "norm_f16",
		"norm", "attention_f16", "residual", "norm_quickgelu", "residual",
		"norm", "attention_f16", "residual", "norm_quickgelu", "residual",
		"norm_float"}
	for n := 1; n <= 5; n++ {
		runRows(t, e, tensor.FormatUint8HWC, n)
		launches := g.Launched()
		if got := names(launches); !slices.Equal(got, want) {
			t.Fatalf("batch of %d: launches %q, want %q", n, got, want)
		}
		i, _ := slices.BinarySearch(e.spec.Batches, n)
		if planned := e.spec.Batches[i]; int(launches[0].Grid.Y) != planned {
			t.Errorf("batch of %d: a graph for %d images, want one for %d", n, launches[0].Grid.Y, planned)
		}
		for j, l := range launches {
			if l.Overlap != (j > 0) {
				t.Errorf("kernel %d (%s): overlap %v", j, l.Name, l.Overlap)
			}
		}
	}
}

// TestMemory: what every product of every batch reads and writes is allocated, and what it writes is not
// what it reads, except a residual in place.
func TestMemory(t *testing.T) {
	for _, name := range []string{"ViT-B-32-quickgelu", "ViT-L-14"} {
		for _, p := range []engine.Precision{engine.FP16, engine.FP32} {
			if testing.Short() && name != "ViT-B-32-quickgelu" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", name, p), func(t *testing.T) {
				c, ok := model.Preset(name)
				if !ok {
					t.Fatal("no such preset")
				}
				c.Layers = 2
				g := drivertest.New()
				e := pretend(t, synthetic(t, c, false), g, Options{Instances: 1, MaxBatch: 33, Precision: p})
				for _, n := range e.spec.Batches {
					runRows(t, e, tensor.FormatUint8HWC, n)
					for _, l := range g.Launched() {
						if strings.HasPrefix(l.Name, "gemm_") {
							checkProduct(t, g, l, elementSize(p))
						}
					}
				}
			})
		}
	}
}

// checkProduct checks a product's addresses and its grid.
func checkProduct(t *testing.T, g *drivertest.GPU, l drivertest.Record, size int) {
	t.Helper()
	a := *(*gemmArgs)(unsafe.Pointer(&l.Args[0]))
	span := func(what string, at driver.Pointer, rows, stride, columns, size int) {
		if err := g.Allocated(at, ((rows-1)*stride+columns)*size); err != nil {
			t.Errorf("%s, m %d: %s: %v", l.Name, a.m, what, err)
		}
	}
	m, n, k := int(a.m), int(a.n), int(a.k)
	outSize := size
	if strings.HasSuffix(l.Name, string(normedFloat)) {
		outSize = 4
	}
	span("a", a.a, m, int(a.lda), k, size)
	span("w", a.w, n, k, k, size)
	span("out", a.out, m, int(a.ldOut), n, outSize)
	span("bias", a.bias, 1, 0, n, 4)
	if strings.HasSuffix(l.Name, string(residual)) {
		rows := m
		if a.residualRows > 0 {
			rows = int(a.residualRows)
		}
		span("residual", a.residual, rows, int(a.ldResidual), n, size)
		span("sums out", a.statsOut, m, int(a.partsOut), int(a.partsOut), 8)
	} else {
		span("sums", a.sums, 1, 0, n, 4)
		span("sums in", a.statsIn, (m-1)*int(a.statsStep)+1, int(a.partsIn), int(a.partsIn), 8)
	}
	if end := a.out + driver.Pointer(((m-1)*int(a.ldOut)+n)*outSize); a.out < a.a+driver.Pointer(((m-1)*int(a.lda)+k)*size) && a.a < end {
		t.Errorf("%s: out at %#x overlaps a at %#x", l.Name, a.out, a.a)
	}
	if strings.Contains(l.Name, "m2n2") || strings.Contains(l.Name, "k4") {
		if l.Grid.X%4 != 0 {
			t.Errorf("%s: a grid of %d blocks in clusters of 4", l.Name, l.Grid.X)
		}
	}
	if matrix, ok := g.Matrix(a.mapA); ok && (matrix.Data != a.a || matrix.Rows < m || matrix.Stride != int(a.lda)*size) {
		t.Errorf("%s: A is described as %+v", l.Name, matrix)
	}
}

// TestChoose: each product of each model has a variant at every size, on Hopper and elsewhere.
func TestChoose(t *testing.T) {
	for _, name := range []string{"ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336"} {
		c, ok := model.Preset(name)
		if !ok {
			t.Fatal("no such preset")
		}
		for _, p := range []struct {
			n, k int
			e    epilogue
		}{{3 * c.Width, c.Width, normed}, {2 * c.Width, c.Width, normed}, {c.Width, c.Width, normed}, {c.Width, c.Width, residual},
			{c.MLP, c.Width, normedGELU}, {c.Width, c.MLP, residual}, {c.EmbedDim, c.Width, normedFloat}} {
			for m := 1; m < 512*577; m = m*3 + 1 {
				for _, from := range [][]variant{append(slices.Clone(hopper), portable...), portable, reference} {
					v, err := choose(from, m, p.n, p.k, p.e, 132)
					if err != nil || !v.fits(p.n, p.k, p.e) || v.blocks(m, p.n, 132) < 1 {
						t.Errorf("%s %v, %d rows: %+v, %v", name, p, m, v, err)
					}
				}
			}
		}
	}
	if _, err := choose(hopper, 50, 100, 64, normed, 132); err == nil {
		t.Error("100 columns: want an error")
	}
}

func TestTuned(t *testing.T) {
	table := tuned()
	if len(table) == 0 {
		t.Fatal("nothing was measured")
	}
	for s, winners := range table {
		for _, w := range winners {
			if v, ok := measured(append(slices.Clone(hopper), portable...), w.m, s.n, s.k, s.e); !ok || v.name != w.name {
				t.Errorf("%v, %d rows: %s, got %q", s, w.m, w.name, v.name)
			}
		}
	}
	for _, bad := range []string{"norm 1 2\n", "norm a b c d\n"} {
		if _, err := parseTuned(bad); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

// TestTable: what the patch kernel reads of a run.
func TestTable(t *testing.T) {
	g := drivertest.New()
	e := pretend(t, synthetic(t, small(model.GELU), false), g, Options{Instances: 1, MaxBatch: 4})
	runRows(t, e, tensor.FormatFloat32CHW, 3)
	r := <-e.idle
	defer func() { e.idle <- r }()
	table := r.arena.pinned
	if f, n := binary.LittleEndian.Uint32(table), binary.LittleEndian.Uint32(table[4:]); f != 2 || n != 3 {
		t.Errorf("format %d, %d rows", f, n)
	}
	for i := range 3 {
		at := driver.Pointer(binary.LittleEndian.Uint64(table[tableHeader+8*i:]))
		if _, err := g.View(at, tensor.FormatFloat32CHW.Size(64, 64)); err != nil || at%16 != 0 {
			t.Errorf("row %d at %#x: %v", i, at, err)
		}
	}
}

// foreign is a row that another engine made.
type foreign struct{ memory []byte }

func (r foreign) Format() tensor.Format { return tensor.FormatUint8HWC }
func (r foreign) Bytes() []byte         { return r.memory }
func (r foreign) Release()              {}

// TestForeignRows are copied to pinned memory, because the device cannot read them.
func TestForeignRows(t *testing.T) {
	g := drivertest.New()
	e := pretend(t, synthetic(t, small(model.GELU), false), g, Options{Instances: 1, MaxBatch: 4})
	b := slices.Repeat([]byte{7}, tensor.FormatUint8HWC.Size(64, 64))
	if _, err := e.Run(t.Context(), []tensor.Row{foreign{b}}, [][]float32{make([]float32, 64)}); err != nil {
		t.Fatal(err)
	}
	r := <-e.idle
	defer func() { e.idle <- r }()
	got, err := g.View(driver.Pointer(binary.LittleEndian.Uint64(r.arena.pinned[tableHeader:])), len(b))
	if err != nil || !slices.Equal(got, b) {
		t.Errorf("the device does not find the pixels: %v", err)
	}
}

// TestFailures lets each call of loading fail in turn: an error with the driver's words, and nothing left.
func TestFailures(t *testing.T) {
	m := synthetic(t, small(model.GELU), false)
	refused := &driver.Error{Call: "cuSomething", Code: 999, Name: "CUDA_ERROR_UNKNOWN", Text: "unknown error"}
	for k := 0; ; k++ {
		g, calls := drivertest.New(), 0
		done := false
		g.Fail = func(string) error {
			if calls++; calls == k+1 && !done {
				done = true
				return refused
			}
			return nil
		}
		e, err := New(m, quiet(g, Options{Instances: 2, MaxBatch: 1}))
		g.Fail = nil
		if err == nil {
			if done {
				t.Fatalf("call %d failed and nobody noticed", k)
			}
			checkClosed(t, e, g)
			if k < 20 {
				t.Fatalf("only %d calls", k)
			}
			return
		}
		if !errors.Is(err, refused) || !strings.Contains(err.Error(), "unknown error") {
			t.Fatalf("call %d: %v", k, err)
		}
		if l := g.Leaks(); len(l) > 0 {
			t.Fatalf("call %d: left open: %v", k, l)
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	m := synthetic(t, small(model.GELU), false)
	g := drivertest.New()
	g.Room = 1 << 20
	_, err := New(m, quiet(g, Options{Instances: 1, MaxBatch: 64}))
	if driver.CodeOf(err) != driver.OutOfMemory || !strings.Contains(err.Error(), "MiB are free") {
		t.Errorf("want what was needed and what there is, got %v", err)
	}
	if l := g.Leaks(); len(l) > 0 {
		t.Errorf("left open: %v", l)
	}
}

// TestRunFails: a lost device makes the engine unavailable, another error only fails the batch.
func TestRunFails(t *testing.T) {
	for code, want := range map[driver.Code]fault.Kind{700: fault.Unavailable, 1: fault.Internal} {
		g := drivertest.New()
		e := pretend(t, synthetic(t, small(model.GELU), false), g, Options{Instances: 1, MaxBatch: 2})
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		g.Fail = func(call string) error {
			if call == "Synchronize" {
				return &driver.Error{Call: "cuStreamSynchronize", Code: code, Text: "it broke"}
			}
			return nil
		}
		_, err = e.Run(t.Context(), []tensor.Row{r}, [][]float32{make([]float32, 64)})
		if fault.KindOf(err) != want || !strings.Contains(err.Error(), "it broke") {
			t.Errorf("code %d: %v, want %v", code, err, want)
		}
		g.Fail = nil
		r.Release()
		runRows(t, e, tensor.FormatUint8HWC, 1)
	}
}

func TestNoPinnedMemory(t *testing.T) {
	g := drivertest.New()
	e := pretend(t, synthetic(t, small(model.GELU), false), g, Options{Instances: 1, MaxBatch: 2})
	g.Fail = func(call string) error {
		if call == "AllocHost" {
			return &driver.Error{Call: "cuMemHostAlloc", Code: driver.OutOfMemory, Text: "out of memory"}
		}
		return nil
	}
	if _, err := e.NewRow(tensor.FormatUint8HWC); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("want an exhausted fault, got %v", err)
	}
	g.Fail = nil
}

func TestNewRefuses(t *testing.T) {
	change := func(f func(c *model.Config)) model.Config {
		c := small(model.GELU)
		f(&c)
		return c
	}
	for _, c := range []struct {
		name, want string
		config     model.Config
		options    Options
	}{
		{"heads of 32", "heads of 64", change(func(c *model.Config) { c.Heads = 4 }), Options{}},
		{"narrow MLP", "multiples of 64", change(func(c *model.Config) { c.MLP = 100 }), Options{}},
		{"odd embedding", "multiples of 64", change(func(c *model.Config) { c.EmbedDim = 20 }), Options{}},
		{"odd patches", "multiple of 16 bytes", change(func(c *model.Config) { c.ImageSize, c.PatchSize = 33, 11 }), Options{}},
		{"int8", `no precision "int8"`, small(model.GELU), Options{Precision: "int8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(synthetic(t, c.config, false), quiet(drivertest.New(), c.options))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
		})
	}
	t.Run("old driver", func(t *testing.T) {
		g := drivertest.New()
		g.Device.Driver = 12040
		if _, err := New(synthetic(t, small(model.GELU), false), quiet(g, Options{})); err == nil || !strings.Contains(err.Error(), "CUDA 12.4 at most") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("old card", func(t *testing.T) {
		g := drivertest.New()
		g.Device.Capability = 75
		if _, err := New(synthetic(t, small(model.GELU), false), quiet(g, Options{})); err == nil || !strings.Contains(err.Error(), "8.0 (Ampere)") {
			t.Errorf("got %v", err)
		}
	})
}

// TestOtherCards: the portable product everywhere but on Hopper, without overlap before it.
func TestOtherCards(t *testing.T) {
	for capability, overlap := range map[driver.Capability]bool{80: false, 86: false, 89: false, 100: true} {
		g := drivertest.New()
		g.Device.Capability = capability
		e := pretend(t, synthetic(t, small(model.GELU), false), g, Options{Instances: 1, MaxBatch: 2})
		runRows(t, e, tensor.FormatUint8HWC, 2)
		for _, l := range g.Launched()[1:] {
			if l.Overlap != overlap {
				t.Errorf("%v: %s: overlap %v", capability, l.Name, l.Overlap)
			}
			if strings.HasPrefix(l.Name, "gemm_") && !strings.Contains(l.Name, "64x64") && !strings.Contains(l.Name, "128x128") {
				t.Errorf("%v: %s is for Hopper", capability, l.Name)
			}
		}
	}
}

// TestCloseWaits: rows and everything else live until the last run that began before Close has ended.
func TestCloseWaits(t *testing.T) {
	m := synthetic(t, small(model.GELU), false)
	synctest.Test(t, func(t *testing.T) {
		g := drivertest.New()
		e, err := New(m, quiet(g, Options{Instances: 1, MaxBatch: 1}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			t.Fatal(err)
		}
		proceed := make(chan struct{})
		var freed atomic.Int32
		g.Fail = func(call string) error {
			switch call {
			case "Synchronize":
				<-proceed
			case "Free", "FreeHost":
				freed.Add(1)
			}
			return nil
		}
		var runs sync.WaitGroup
		runs.Go(func() {
			if _, err := e.Run(t.Context(), []tensor.Row{r}, [][]float32{make([]float32, 64)}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		runs.Go(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // Close waits for the run, the run for us
		if n := freed.Load(); n > 0 {
			t.Errorf("%d pieces of memory were freed under a run", n)
		}
		close(proceed)
		runs.Wait()
		if l := g.Leaks(); len(l) > 0 {
			t.Errorf("left open: %v", l)
		}
	})
}

// TestCloseLost: a context that is lost and cannot even be bound is released, or the card would never return.
func TestCloseLost(t *testing.T) {
	g := drivertest.New()
	e, err := New(synthetic(t, small(model.GELU), false), quiet(g, Options{MaxBatch: 2}))
	if err != nil {
		t.Fatal(err)
	}
	released := 0
	g.Fail = func(call string) error {
		if call == "Close" {
			released++
		}
		return &driver.Error{Call: call, Code: 719, Name: "CUDA_ERROR_LAUNCH_FAILED", Text: "unspecified launch failure"}
	}
	if err := e.Close(); driver.CodeOf(err) != 719 {
		t.Errorf("closed with %v, want the driver's 719", err)
	}
	if released != 1 {
		t.Errorf("the context was released %d times, want once", released)
	}
}

// TestDefaultBatch: the larger a model, the fewer images fill a card.
func TestDefaultBatch(t *testing.T) {
	for name, want := range map[string]int{"ViT-B-32": 256, "ViT-B-16": 128, "ViT-L-14": 64, "ViT-L-14-336": 32} {
		c, ok := model.Preset(name)
		if !ok {
			t.Fatalf("no architecture %s", name)
		}
		o, err := Options{}.resolve(c)
		if err != nil || o.MaxBatch != want {
			t.Errorf("%s: %d %v, want %d", name, o.MaxBatch, err, want)
		}
		if o, err = (Options{MaxBatch: 7}).resolve(c); err != nil || o.MaxBatch != 7 {
			t.Errorf("%s: %d %v, want what was asked for", name, o.MaxBatch, err)
		}
	}
}
