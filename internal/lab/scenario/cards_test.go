package scenario

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// oneCard counts its readings as joules; it does not tell its power.
type oneCard struct{ reads atomic.Int64 }

func (c *oneCard) Cards() []gpu.Card { return []gpu.Card{{UUID: "GPU-1"}} }

func (c *oneCard) Read(int) (gpu.Reading, error) {
	return gpu.Reading{MemoryTotal: 80, MemoryUsed: 3, Utilization: .5, Power: -1, PowerLimit: 700, Energy: 100 + float64(c.reads.Add(1))}, nil
}

// TestCardsAreSampledWhereTheServerDoesNotTell measures an engine in process, a server without cards in its
// metrics, and one with.
func TestCardsAreSampledWhereTheServerDoesNotTell(t *testing.T) {
	var served atomic.Int64
	plain := httptest.NewServer(embedder(&served))
	defer plain.Close()
	telling := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			fmt.Fprintln(w, `nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25`)
			return
		}
		embedder(&served).ServeHTTP(w, r)
	}))
	defer telling.Close()
	study := oneStep([]plan.Target{
		{Name: "plain", URL: plain.URL, Format: "embed-raw", Metrics: plain.URL + "/metrics"},
		{Name: "silent", URL: plain.URL, Format: "embed-raw", Metrics: "off"},
		{Name: "telling", URL: telling.URL, Format: "embed-raw", Metrics: telling.URL + "/metrics"},
	}, plan.Block{Scenario: record.Single, Settings: plan.Settings{Requests: 3, Warmup: zero()}})
	run, tally := measure(t, study, func(r *Runner) { r.Cards = new(oneCard) })
	if tally.OK != 3 {
		t.Fatalf("%+v", tally)
	}
	for _, c := range run.Cells {
		var energy []float64
		for _, s := range c.Samples {
			if s.Source != "nvml" {
				continue
			}
			for _, v := range s.Values {
				switch {
				case v.Labels["gpu_uuid"] != "GPU-1", v.Name == "nv_gpu_power_usage":
					t.Errorf("%s: %+v", c.Subject, v)
				case v.Name == "nv_energy_consumption":
					energy = append(energy, v.Value)
				}
			}
		}
		switch n := len(energy); {
		case c.Subject == "telling" && n != 0:
			t.Errorf("a card was sampled twice: %v", energy)
		case c.Subject != "telling" && (n < 2 || energy[0] != 1 || energy[n-1] != float64(n)):
			t.Errorf("%s: energy %v", c.Subject, energy)
		}
	}
}

func TestOnThisMachine(t *testing.T) {
	for url, want := range map[string]bool{
		"": true, "http://127.0.0.1:8000": true, "http://localhost:8000": true, "http://[::1]:8000": true, "127.0.0.1:8001": true, "localhost:8001": true,
		"http://10.0.0.5:8000": false, "http://server:8000": false, "server:8001": false,
	} {
		if got := onThisMachine(&plan.Target{URL: url}); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
	if !onThisMachine(&plan.Target{URL: "http://10.0.0.5:8000", Server: "started"}) {
		t.Error("a server that the study starts is here")
	}
}

func TestIdleNeedsSomethingToRead(t *testing.T) {
	study := oneStep([]plan.Target{{Name: "silent", URL: "http://127.0.0.1:1", Format: "embed-raw", Metrics: "off"}},
		plan.Block{Scenario: record.Idle, Settings: plan.Settings{Duration: 1}})
	if _, tally := measure(t, study, nil); tally.Failed != 1 {
		t.Errorf("without metrics and cards: %+v", tally)
	}
	if _, tally := measure(t, study, func(r *Runner) { r.Cards = new(oneCard) }); tally.OK != 1 {
		t.Errorf("with cards: %+v", tally)
	}
}
