package plan

import (
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

func TestEstimate(t *testing.T) {
	cell := func(scenario, target string, instances, requests int, d time.Duration) Run {
		return Run{Cell: Cell{Scenario: scenario, Target: target, Params: record.Params{Instances: instances, Requests: requests, Duration: d}}}
	}
	for _, c := range []struct {
		name string
		runs []Run
		want time.Duration
	}{
		{"nothing", nil, 0},
		{"three starts", []Run{cell(record.ColdStart, "a", 0, 3, 0)}, aroundRun + 3*serverStart},
		{"two rounds on one server", []Run{cell(record.Single, "a", 0, 9, time.Second), cell(record.Single, "a", 0, 9, time.Second)},
			2*(aroundRun+time.Second) + serverStart},
		{"more instances", []Run{cell(record.Concurrency, "a", 1, 0, time.Second), cell(record.Concurrency, "a", 2, 0, time.Second)},
			2*(aroundRun+time.Second) + 2*serverStart},
		{"counted", []Run{cell(record.Serialization, "e", 0, 10, 0)}, aroundRun + countedRun + serverStart},
	} {
		if got := Estimate(c.runs); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
