package scenario

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// explaining counts its runs with profiling and without.
type explaining struct {
	engine.Engine
	on            atomic.Bool
	timed, untold atomic.Int64
}

func (e *explaining) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if e.on.Load() {
		e.timed.Add(1)
	} else {
		e.untold.Add(1)
	}
	return e.Engine.Run(ctx, rows, out)
}

func (e *explaining) Profile(on bool) { e.on.Store(on) }

func (e *explaining) Operators() []engine.OperatorTime {
	n := e.timed.Load()
	return []engine.OperatorTime{{Name: "qkv", Calls: n, Total: time.Duration(n) * time.Millisecond, Where: "device", FLOPs: 10 * n, Bytes: 20 * n}}
}

func (e *explaining) Explain() engine.Explanation {
	return engine.Explanation{Means: "by a sundial", PeakFLOPs: 1e15}
}

// TestProfileExplained: an engine whose profile costs time is timed without it too, and what it says is recorded.
func TestProfileExplained(t *testing.T) {
	e := &explaining{Engine: null.New(null.Options{MaxBatch: 8})}
	warm := 2
	run, tally := measure(t, oneStep([]plan.Target{{Name: "sundial", Format: "in-process", Engine: plan.Engine{Name: "null"}}},
		plan.Block{Scenario: record.Profile, Settings: plan.Settings{Batch: []int{4}, Requests: 3, Warmup: &warm}}), func(r *Runner) {
		r.Open = func(context.Context, *plan.Target) (*Engine, error) { return &Engine{Engine: e}, nil }
	})
	if tally.OK != 1 {
		t.Fatalf("%+v: %+v", tally, run.Cells[0].End)
	}
	c := run.Cells[0]
	want := []record.Operator{{Cell: c.ID, Name: "qkv", Total: 3 * time.Millisecond, Count: 3, Where: "device", FLOPs: 30, Bytes: 60}}
	if d := cmp.Diff(want, c.Operators); d != "" {
		t.Error(d)
	}
	if n := e.untold.Load(); n != 2+3 || e.on.Load() {
		t.Errorf("%d runs without profiling, which is on: %v; want a warm-up of 2 and 3", n, e.on.Load())
	}
	if len(c.Measures) != 2 || c.Measures[0].Name != "peak_flops" || c.Measures[0].Values[0] != 1e15 || len(c.Measures[1].Values) != 3 ||
		!strings.Contains(c.Measures[1].Note, "4 rows without profiling; operators: by a sundial") {
		t.Errorf("%+v", c.Measures)
	}
}
