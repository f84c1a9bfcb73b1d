package onnxruntime

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

const models = "../../../testdata/models/"

func mustOpen(t testing.TB, ref string) *model.Model {
	t.Helper()
	m, err := model.Open(t.Context(), ref, model.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start makes an engine with the tests' library.
func start(t testing.TB, m *model.Model, o Options) *Engine {
	t.Helper()
	o.Library, o.Logger = testLibrary(t), quiet()
	if o.Cache == "" {
		o.Cache = t.TempDir()
	}
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

// variants are what the tests' library and machine can run, by name.
func variants(t *testing.T) map[string]Options {
	t.Helper()
	api, err := Load(testLibrary(t), CPU)
	if err != nil {
		t.Fatal(err)
	}
	has, err := api.Providers()
	if err != nil {
		t.Fatal(err)
	}
	devices, _ := driver.Count() // no driver is no device
	all := map[string]Options{}
	for _, p := range Providers() {
		if !slices.Contains(has, fullNames[p].name) || p.onDevice() && devices == 0 {
			continue
		}
		for _, precision := range append([]engine.Precision{engine.FP32, engine.FP16}, reduced[p]...) {
			if p == OpenVINO && precision == engine.FP16 {
				continue // its processor plug-in converts float16 graphs
			}
			name := string(p) + "/" + string(precision)
			all[name] = Options{Provider: p, Precision: precision}
			if p.onDevice() {
				all[name+"/graph"] = Options{Provider: p, Precision: precision, CUDAGraph: true}
			}
		}
	}
	if plugin := os.Getenv("VITRINE_OPENVINO_PLUGIN"); plugin != "" { // for an ONNX Runtime without OpenVINO
		for _, precision := range []engine.Precision{engine.FP32, engine.BF16} {
			all["openvino-plugin/"+string(precision)] = Options{Provider: OpenVINO, Plugin: plugin, Precision: precision}
		}
	}
	return all
}

func TestCompliance(t *testing.T) {
	cache := t.TempDir()
	m := mustOpen(t, models+"tiny-gelu")
	for name, o := range variants(t) {
		o.Threads, o.Instances, o.MaxBatch, o.Cache = 2, 2, 5, cache
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine { return start(t, m, o) })
		})
	}
}

// images are some rows, and what the processor's own engine makes of them in float32.
func images(t *testing.T, m *model.Model, n int) (pixels [][]byte, want [][]float32) {
	t.Helper()
	exact, err := cpu.New(m, cpu.Options{Precision: engine.FP32, MaxBatch: n, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer exact.Close()
	rows, want := fill(t, exact, tensor.FormatUint8HWC, n)
	if _, err := exact.Run(t.Context(), rows, want); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		pixels = append(pixels, slices.Clone(r.Bytes()))
	}
	return pixels, want
}

func fill(t testing.TB, e engine.Engine, f tensor.Format, n int) (rows []tensor.Row, out [][]float32) {
	t.Helper()
	s := e.Spec()
	for i := range n {
		r, err := e.NewRow(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Release)
		enginetest.Fill(r, s.Width, s.Height, uint64(i))
		rows, out = append(rows, r), append(out, make([]float32, s.Dim()))
	}
	return rows, out
}

// TestGolden compares with the native engine, which is compared with open_clip.
func TestGolden(t *testing.T) {
	testLibrary(t)
	for _, name := range []string{"tiny-gelu", "tiny-quickgelu", "tiny-quickgelu-hf"} {
		m := mustOpen(t, models+name)
		pixels, want := images(t, m, 3)
		for variant, o := range variants(t) {
			t.Run(name+"/"+variant, func(t *testing.T) {
				enginetest.Golden(t, start(t, m, o), pixels, want)
			})
		}
		for _, opset := range []int{14, 16, 20} {
			t.Run(name+"/opset", func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "m.onnx")
				if err := model.ExportONNX(m, path, model.ONNXOptions{Opset: opset, ExternalData: opset == 16}); err != nil {
					t.Fatal(err)
				}
				enginetest.Golden(t, start(t, mustOpen(t, path), Options{}), pixels, want)
			})
		}
	}
}

// sharing is the environment variable that makes TestShares share its threads.
const sharing = "VITRINE_TEST_SHARED_THREADS"

// TestShares is the other process of TestSharedThreads, in which no model has decided otherwise before; by
// itself it does nothing.
func TestShares(t *testing.T) {
	if os.Getenv(sharing) == "" {
		t.Skip("run by TestSharedThreads")
	}
	m := mustOpen(t, models+"tiny-gelu")
	pixels, want := images(t, m, 3)
	for range 2 {
		enginetest.Golden(t, start(t, m, Options{Shared: true, Threads: 2, NoSpin: true}), pixels, want)
	}
	enginetest.Golden(t, start(t, m, Options{}), pixels, want) // threads of its own beside the shared ones
}

func TestSharedThreads(t *testing.T) {
	library := testLibrary(t)
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestShares$", "-test.v")
	c.Env = append(os.Environ(), sharing+"=1")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestShares") {
		t.Errorf("%v\n%s", err, out)
	}
	start(t, mustOpen(t, models+"tiny-gelu"), Options{})
	_, err := New(mustOpen(t, models+"tiny-gelu"), Options{Library: library, Shared: true, Cache: t.TempDir(), Logger: quiet()})
	if !errors.Is(err, capi.ErrEnvironment) {
		t.Errorf("threads that are shared too late: %v", err)
	}
}

// TestFiles runs graphs that PyTorch exported: other names, channels last, float16, a fixed batch, several
// outputs. testdata/graphs.py made them and what onnx's reference implementation gives for them.
func TestFiles(t *testing.T) {
	testLibrary(t)
	for _, f := range graphs(t) {
		t.Run(f.File, func(t *testing.T) {
			m := mustOpen(t, filepath.Join("testdata", f.File))
			if got := m.Config.ImageSize; got != f.Side {
				t.Fatalf("images of %d pixels, want %d", got, f.Side)
			}
			e := start(t, m, Options{})
			pixels := make([][]byte, f.Images)
			for i := range pixels {
				for at := range 3 * f.Side * f.Side {
					pixels[i] = append(pixels[i], byte((at*7+i*31)%251))
				}
			}
			if f.Images > e.Spec().MaxBatch {
				t.Fatalf("batches of %d, want %d", e.Spec().MaxBatch, f.Images)
			}
			enginetest.Golden(t, e, pixels, f.Embeddings)
		})
	}
}

func TestFormatsAgree(t *testing.T) {
	m := mustOpen(t, models+"tiny-gelu")
	e := start(t, m, Options{})
	c := m.Config
	rows, fromBytes := fill(t, e, tensor.FormatUint8HWC, 2)
	planes, fromFloats := fill(t, e, tensor.FormatFloat32CHW, 2)
	for i := range rows {
		f, area := tensor.Float32s(planes[i].Bytes()), c.ImageSize*c.ImageSize
		for at, v := range rows[i].Bytes() {
			f[at%3*area+at/3] = (float32(v)/255 - c.Mean[at%3]) / c.Std[at%3]
		}
	}
	for _, b := range []struct {
		rows []tensor.Row
		out  [][]float32
	}{{rows, fromBytes}, {planes, fromFloats}} {
		if _, err := e.Run(t.Context(), b.rows, b.out); err != nil {
			t.Fatal(err)
		}
	}
	for i := range fromBytes {
		if !slices.Equal(fromBytes[i], fromFloats[i]) {
			t.Errorf("image %d: bytes and floats give different embeddings", i)
		}
	}
}

// TestCancelStopsARun ends a batch that takes seconds while it is computed.
func TestCancelStopsARun(t *testing.T) {
	testLibrary(t)
	if testing.Short() {
		t.Skip("a large model, and -short")
	}
	m := mustOpen(t, "synthetic:ViT-B-32")
	e := start(t, m, Options{MaxBatch: 64, Threads: 1})
	rows, out := fill(t, e, tensor.FormatUint8HWC, 64)
	began := time.Now()
	if _, err := e.Run(t.Context(), rows[:4], out[:4]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Since(began))
	defer cancel()
	if _, err := e.Run(ctx, rows, out); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sixteen times the work within the same time: %v", err)
	}
	if _, err := e.Run(t.Context(), rows[:1], out[:1]); err != nil {
		t.Errorf("after a run that was ended: %v", err)
	}
}

func TestProfile(t *testing.T) {
	m := mustOpen(t, models+"tiny-quickgelu")
	e := start(t, m, Options{MaxBatch: 2})
	rows, out := fill(t, e, tensor.FormatUint8HWC, 1)
	run := func() {
		t.Helper()
		if _, err := e.Run(t.Context(), rows, out); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if len(e.Operators()) != 0 {
		t.Error("something was measured unasked")
	}
	e.Profile(true)
	run()
	calls := func() int64 {
		for _, o := range e.Operators() {
			if o.Name == "Softmax" {
				return o.Calls
			}
		}
		return 0
	}
	if n := calls(); n != 2 {
		t.Errorf("%d calls of Softmax in one run of two blocks", n)
	}
	run()
	e.Profile(false)
	run()
	if n := calls(); n != 4 {
		t.Errorf("%d calls of Softmax in two runs", n)
	}
	e.Profile(true)
	e.Profile(false)
	if n := calls(); n != 0 {
		t.Errorf("%d calls after a profile from zero", n)
	}
	if e.profile.folder != "" {
		t.Error("the traces' folder is still there")
	}
}

func TestExportIsCached(t *testing.T) {
	cache := t.TempDir()
	m := mustOpen(t, models+"tiny-gelu")
	first := start(t, m, Options{Cache: cache})
	st, err := os.Stat(first.source.path)
	if err != nil {
		t.Fatal(err)
	}
	second := start(t, m, Options{Cache: cache})
	again, err := os.Stat(second.source.path)
	if err != nil || !os.SameFile(st, again) || !again.ModTime().Equal(st.ModTime()) {
		t.Errorf("exported twice: %v", err)
	}
	if half := start(t, m, Options{Cache: cache, Precision: engine.FP16}); half.source.path == first.source.path {
		t.Error("fp16 shares fp32's file")
	}
}

func TestProviderThatTheLibraryLacks(t *testing.T) {
	library := testLibrary(t)
	_, err := New(mustOpen(t, models+"tiny-gelu"), Options{Library: library, Provider: CUDA, Cache: t.TempDir(), Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "onnxruntime-gpu") {
		t.Skipf("this library has CUDA: %v", err)
	}
	if !strings.Contains(err.Error(), "CPUExecutionProvider") || !strings.Contains(err.Error(), library) {
		t.Errorf("got %v", err)
	}
}

func TestBrokenFileIsAnError(t *testing.T) {
	library := testLibrary(t)
	m := mustOpen(t, models+"tiny-gelu")
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := model.ExportONNX(m, path, model.ONNXOptions{}); err != nil {
		t.Fatal(err)
	}
	broken := mustOpen(t, path)
	broken.ONNX.Output.Name = "no such output"
	e, err := New(broken, Options{Library: library, Cache: t.TempDir(), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	rows, out := fill(t, e, tensor.FormatUint8HWC, 1)
	if _, err := e.Run(t.Context(), rows, out); fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "no such output") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("gone"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(broken, Options{Library: library, Cache: t.TempDir(), Logger: quiet()}); err == nil || !strings.Contains(err.Error(), "CreateSession") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkForward is a ViT-B/32 of synthetic weights.
func BenchmarkForward(b *testing.B) {
	testLibrary(b)
	enginetest.Bench(b, start(b, mustOpen(b, "synthetic:ViT-B-32"), Options{}), 1, 4, 16)
}

// BenchmarkOperators tells where its time goes.
func BenchmarkOperators(b *testing.B) {
	testLibrary(b)
	enginetest.BenchOperators(b, start(b, mustOpen(b, "synthetic:ViT-B-32"), Options{}), 1, 16)
}
