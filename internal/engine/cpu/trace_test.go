package cpu

import (
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestTraceListsWhatTheProfileAddsUp holds the two against each other.
func TestTraceListsWhatTheProfileAddsUp(t *testing.T) {
	m, err := model.Synthetic(config(32, 8, 64, 2, 1, 128, 32, model.GELU), model.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, m, Options{})
	rows, out := fill(t, e, tensor.FormatUint8HWC, 3)
	run(t, e, rows, out)
	if calls := e.Calls(); len(calls) != 0 {
		t.Fatalf("%d calls before tracing", len(calls))
	}
	began := time.Now()
	e.Trace(true)
	for range 2 {
		run(t, e, rows, out)
	}
	e.Trace(false)
	run(t, e, rows, out)
	count, total, last := map[string]int64{}, map[string]time.Duration{}, began
	for i, c := range e.Calls() {
		if c.Start.Before(last) || c.Start.Add(c.Duration).After(time.Now()) || c.Instance != 0 {
			t.Fatalf("call %d: %+v after %v", i, c, last)
		}
		count[c.Name]++
		total[c.Name] += c.Duration
		last = c.Start.Add(c.Duration)
	}
	for _, o := range e.Operators() {
		if o.Calls == 0 || count[o.Name] != o.Calls || total[o.Name] != o.Total {
			t.Errorf("%s: %d calls, %v in the profile; %d, %v in the trace", o.Name, o.Calls, o.Total, count[o.Name], total[o.Name])
		}
	}
	e.Trace(true)
	if calls := e.Calls(); len(calls) != 0 {
		t.Errorf("%d calls after tracing began anew", len(calls))
	}
}
