package cuda

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// takes gives each kind of kernel a time of its own, milliseconds.
func takes(kernel string) float32 {
	switch {
	case strings.HasPrefix(kernel, "patch"):
		return 1
	case strings.HasPrefix(kernel, "norm"):
		return 2
	case strings.HasPrefix(kernel, "attention"):
		return 4
	case strings.HasSuffix(kernel, "residual"):
		return 8
	case strings.HasSuffix(kernel, "norm_float"):
		return 16
	}
	return 32
}

// TestProfile: each operator's calls and device time, nothing of the graphs that are launched ahead, and none of it
// before or after.
func TestProfile(t *testing.T) {
	g := drivertest.New()
	g.Takes = takes
	e := pretend(t, synthetic(t, small(model.QuickGELU), false), g, Options{Instances: 1, MaxBatch: 4})
	runRows(t, e, tensor.FormatUint8HWC, 3)
	e.Profile(true)
	g.Launched()
	runRows(t, e, tensor.FormatUint8HWC, 3)
	kernels := len(g.Launched())
	runRows(t, e, tensor.FormatUint8HWC, 4)
	e.Profile(false)
	runRows(t, e, tensor.FormatUint8HWC, 4)

	if kernels != 2*14 {
		t.Errorf("%d kernels of a profiled run, want a graph of 14 and 14 by themselves", kernels)
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	want := []engine.OperatorTime{
		{Name: "input", Calls: 2, Total: ms(2)}, {Name: "patch", Calls: 2, Total: ms(16)}, {Name: "norm", Calls: 2, Total: ms(4)},
		{Name: "qkv", Calls: 4, Total: ms(128)}, {Name: "attention", Calls: 4, Total: ms(16)}, {Name: "out", Calls: 4, Total: ms(32)},
		{Name: "fc1+activation", Calls: 4, Total: ms(128)}, {Name: "fc2", Calls: 4, Total: ms(32)}, {Name: "projection", Calls: 2, Total: ms(32)},
	}
	for i, o := range e.Operators() {
		if o.Name != want[i].Name || o.Calls != want[i].Calls || o.Total != want[i].Total || o.Where != "device" {
			t.Errorf("%+v, want %+v on the device", o, want[i])
		}
	}
	if x := e.Explain(); !strings.Contains(x.Means, "CUDA events") || strings.Contains(x.Means, "host was slower") {
		t.Errorf("%+v", x)
	}
	e.Profile(true)
	for _, o := range e.Operators() {
		if o.Calls != 0 || o.Total != 0 || o.FLOPs != 0 || o.Bytes != 0 {
			t.Errorf("after beginning anew: %+v", o)
		}
	}
}

// TestProfileCosts: the operations of a batch are those of the model's formula, and every kernel moves something.
func TestProfileCosts(t *testing.T) {
	c := small(model.QuickGELU)
	e := pretend(t, synthetic(t, c, false), drivertest.New(), Options{Instances: 1, MaxBatch: 4})
	e.Profile(true)
	runRows(t, e, tensor.FormatUint8HWC, 3) // padded to 4
	const n, tokens, width, mlp, embed, area = 4, 17, 128, 256, 64, 3 * 16 * 16
	// The last block's attention, out, fc1 and fc2 are of the class tokens alone; so few rows have all queries.
	want := map[string]int64{
		"input": 0, "norm": 0,
		"patch":          2 * n * tokens * width * area,
		"qkv":            2 * 2 * n * tokens * width * 3 * width,
		"attention":      2 * 2 * n * width * tokens * (tokens + 1),
		"out":            2 * n * width * width * (tokens + 1),
		"fc1+activation": 2 * n * width * mlp * (tokens + 1),
		"fc2":            2 * n * width * mlp * (tokens + 1),
		"projection":     2 * n * width * embed,
	}
	for _, o := range e.Operators() {
		if o.FLOPs != want[o.Name] {
			t.Errorf("%s: %d operations, want %d", o.Name, o.FLOPs, want[o.Name])
		}
		if o.Bytes <= 0 {
			t.Errorf("%s moves %d bytes", o.Name, o.Bytes)
		}
	}
}

// TestCosts by hand.
func TestCosts(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want cost
	}{
		{"product", productCost(50, 64, 128, 0, 2, normed), cost{2 * 50 * 64 * 128, 2*(50*128+64*128+50*64) + 4*64}},
		{"float out", productCost(3, 64, 128, 0, 2, normedFloat), cost{2 * 3 * 64 * 128, 2*(3*128+64*128) + 4*3*64 + 4*64}},
		{"residual", productCost(100, 64, 128, 50, 2, residual), cost{2 * 100 * 64 * 128, 2*(100*128+64*128+50*64+100*64) + 4*64}},
		{"attention", attentionCost(1, 50, 2).times(3), cost{3 * 4 * 50 * 64, 3 * 2 * 64 * (2 + 100)}},
		{"norm", normCost(7, 128, 4), cost{0, 2 * 7 * 128 * 4}},
		{"patch", patchCost(224, 50, 3072, 2).times(2), cost{0, 2 * (3*224*224 + 50*3072*2)}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
}

// TestPeaks: NVIDIA's data sheet of the H100 SXM has 989 TFLOP/s at its boost clock of 1,830 MHz, and 3.35 TB/s.
func TestPeaks(t *testing.T) {
	h100 := drivertest.New().Device
	h100.Clock = 1830000
	flops, bytes := peaks(h100, engine.FP16)
	if math.Abs(flops/989.4e12-1) > 0.001 || math.Abs(bytes/3.352e12-1) > 0.001 {
		t.Errorf("%.4g FLOP/s and %.4g bytes/s", flops, bytes)
	}
	if flops, _ := peaks(h100, engine.FP32); math.Abs(flops/61.8e12-1) > 0.01 { // 66.9 at 1,980 MHz
		t.Errorf("float32: %.4g FLOP/s", flops)
	}
	h100.Capability, h100.BusWidth = 121, 0
	if flops, bytes := peaks(h100, engine.FP16); flops != 0 || bytes != 0 {
		t.Errorf("an unknown card does %g FLOP/s and %g bytes/s", flops, bytes)
	}
}

// TestProfileLate: the card is given more to do until the host is ahead of it, and if the host never is, that is said.
func TestProfileLate(t *testing.T) {
	g := drivertest.New()
	e := pretend(t, synthetic(t, small(model.QuickGELU), false), g, Options{Instances: 1, MaxBatch: 1})
	e.Profile(true)
	g.Lag = 3
	g.Launched()
	runRows(t, e, tensor.FormatUint8HWC, 1)
	if n, want := len(g.Launched()), (1+2+4+8)*14+4*14; n != want {
		t.Errorf("%d kernels, want %d: 1, 2, 4 and 8 graphs ahead", n, want)
	}
	if o := e.Operators()[opQKV]; o.Calls != 2 {
		t.Errorf("%d calls, want those of the last try", o.Calls)
	}
	g.Lag = 1 << 20
	runRows(t, e, tensor.FormatUint8HWC, 1)
	if x := e.Explain(); !strings.Contains(x.Means, "in 1 of 2 runs the host was slower") {
		t.Errorf("%q", x.Means)
	}
}

// TestTrace: the calls of a run in their order, one after the other.
func TestTrace(t *testing.T) {
	g := drivertest.New()
	g.Takes = takes
	e := pretend(t, synthetic(t, small(model.QuickGELU), false), g, Options{Instances: 1, MaxBatch: 1})
	e.Trace(true)
	runRows(t, e, tensor.FormatUint8HWC, 1)
	e.Trace(false)
	runRows(t, e, tensor.FormatUint8HWC, 1)
	want := []string{"input", "patch", "norm", "qkv", "attention", "out", "fc1+activation", "fc2",
		"qkv", "attention", "out", "fc1+activation", "fc2", "projection"}
	var got []string
	calls := e.Calls()
	for i, c := range calls {
		got = append(got, c.Name)
		if i > 0 && !c.Start.Equal(calls[i-1].Start.Add(calls[i-1].Duration)) {
			t.Errorf("%s begins %v after the end of %s", c.Name, c.Start.Sub(calls[i-1].Start.Add(calls[i-1].Duration)), calls[i-1].Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	e.Trace(true)
	if calls := e.Calls(); len(calls) != 0 {
		t.Errorf("%d calls after beginning anew", len(calls))
	}
}

// TestProfileFailures: a call that fails in the middle fails the run with the driver's words, and the engine waits
// for the card before it gives the rows back.
func TestProfileFailures(t *testing.T) {
	m := synthetic(t, small(model.QuickGELU), false)
	for _, call := range []string{"NewEvent", "Record", "Launch", "Happened", "Elapsed", "LaunchGraph"} {
		t.Run(call, func(t *testing.T) {
			g := drivertest.New()
			e := pretend(t, m, g, Options{Instances: 1, MaxBatch: 1})
			e.Profile(true)
			refused, last := &driver.Error{Call: "cuSomething", Code: 1, Text: "it broke"}, ""
			g.Fail = func(c string) error {
				last = c
				if c == call {
					return refused
				}
				return nil
			}
			r, err := e.NewRow(tensor.FormatUint8HWC)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Release()
			if _, err := e.Run(t.Context(), []tensor.Row{r}, [][]float32{make([]float32, 64)}); !errors.Is(err, refused) {
				t.Errorf("got %v", err)
			}
			if last != "Synchronize" && call != "Elapsed" {
				t.Errorf("the last call was %s", last)
			}
			g.Fail = nil
			runRows(t, e, tensor.FormatUint8HWC, 1)
		})
	}
}
