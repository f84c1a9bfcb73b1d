package enginetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// breakage names the environment variable that makes TestBroken run the suite on a broken engine.
const breakage = "VITRINE_ENGINETEST_BREAKAGE"

// breakages are engines that break the contract in one way, and the part of the suite that must notice.
var breakages = map[string]struct {
	noticed string
	run     func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error)
}{
	"mixes up rows": {"BatchedEqualsSingle", func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
		t, err := e.Run(ctx, rows, out)
		if err == nil && len(out) > 2 {
			copy(out[0], out[1])
		}
		return t, err
	}},
	"leaves the last row out": {"BatchedEqualsSingle", func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
		if n := len(rows); n > 1 && n <= 5 && len(out) == n && rows[0] != nil {
			return e.Run(ctx, rows[:n-1], out[:n-1])
		}
		return e.Run(ctx, rows, out)
	}},
	"writes past an output": {"KeepsNoReferences", func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
		t, err := e.Run(ctx, rows, out)
		if err == nil && len(out) > 1 {
			_ = append(out[0], 0)
		}
		return t, err
	}},
	"keeps an output": {"KeepsNoReferences", func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
		if kept != nil {
			kept[0]++
		}
		t, err := e.Run(ctx, rows, out)
		if err == nil {
			kept = out[0]
		}
		return t, err
	}},
	"takes anything": {"RefusesBadBatches", func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
		t, err := e.Run(ctx, rows, out)
		if len(rows) > 5 {
			err = nil
		}
		return t, err
	}},
	"fails after a cancelled run": {"Cancelled", func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
		if ctx.Err() != nil {
			spoilt = true
		}
		if spoilt {
			return engine.Timings{}, errors.New("stuck")
		}
		return e.Run(ctx, rows, out)
	}},
}

var (
	kept   []float32
	spoilt bool
)

type broken struct {
	*null.Engine
	run func(e *null.Engine, ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error)
}

func (b broken) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	return b.run(b.Engine, ctx, rows, out)
}

// TestBroken is the other process of TestSuiteNotices; by itself it does nothing.
func TestBroken(t *testing.T) {
	b, ok := breakages[os.Getenv(breakage)]
	if !ok {
		t.Skip("run by TestSuiteNotices")
	}
	enginetest.Run(t, func(*testing.T) engine.Engine {
		return broken{null.New(null.Options{Width: 8, Height: 8, Dim: 16, MaxBatch: 5}), b.run}
	})
}

func TestSuiteNotices(t *testing.T) {
	for name, b := range breakages {
		t.Run(name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestBroken$", "-test.v")
			c.Env = append(os.Environ(), breakage+"="+name)
			out, err := c.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+b.noticed) {
				t.Errorf("the suite's part %s did not notice (%v):\n%s", b.noticed, err, out)
			}
		})
	}
}

func TestCosine(t *testing.T) {
	for _, c := range []struct {
		a, b []float32
		want float64
	}{
		{[]float32{1, 0}, []float32{3, 0}, 1},
		{[]float32{1, 0}, []float32{0, 2}, 0},
		{[]float32{1, 2}, []float32{-2, -4}, -1},
		{[]float32{0, 0}, []float32{1, 1}, 0},
	} {
		if got := enginetest.Cosine(c.a, c.b); got-c.want > 1e-12 || c.want-got > 1e-12 {
			t.Errorf("%v, %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
