package scenario

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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

// cardsPage is a page of dcgm-exporter that counts its readings as millijoules, and one that tells of no card.
func cardsPage(reads *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\",UUID=\"GPU-1\",Hostname=\"secret\",pod=\"p\"} %d\nup{Hostname=\"secret\"} 1\n", reads.Add(1))
	})
	mux.HandleFunc("/other", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") })
	return mux
}

// TestDeviceMetrics: a second address has the figures of the cards, in place of this machine's and of the server's page,
// and its failure is said and spoils nothing else.
func TestDeviceMetrics(t *testing.T) {
	var served, reads atomic.Int64
	telling := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			fmt.Fprintf(w, "nv_gpu_utilization{gpu_uuid=\"GPU-1\"} 0.25\nnv_energy_consumption{gpu_uuid=\"GPU-1\"} 1\nnv_inference_request_success{model=\"m\"} %d\n", served.Load())
			return
		}
		embedder(&served).ServeHTTP(w, r)
	}))
	defer telling.Close()
	exporter := httptest.NewServer(cardsPage(&reads))
	defer exporter.Close()
	page := telling.URL + "/metrics"
	study := oneStep([]plan.Target{
		{Name: "both", URL: telling.URL, Format: "embed-raw", Metrics: page, DeviceMetrics: exporter.URL + "/metrics"},
		{Name: "alone", URL: telling.URL, Format: "embed-raw", Metrics: "off", DeviceMetrics: exporter.URL + "/metrics"},
		{Name: "wrong", URL: telling.URL, Format: "embed-raw", Metrics: page, DeviceMetrics: exporter.URL + "/other"},
		{Name: "gone", URL: telling.URL, Format: "embed-raw", Metrics: page, DeviceMetrics: exporter.URL + "/none"},
	}, plan.Block{Scenario: record.Single, Settings: plan.Settings{Requests: 3, Warmup: zero()}})
	run, tally := measure(t, study, func(r *Runner) { r.Cards = new(oneCard) })
	if tally.OK != 4 {
		t.Fatalf("%+v", tally)
	}
	for _, c := range run.Cells {
		sources := map[string]int{}
		for _, s := range c.Samples {
			sources[s.Source]++
			checkSource(t, c.Subject, s)
		}
		reason := strings.Join(c.End.Reasons, "; ")
		switch c.Subject {
		case "both":
			if sources["dcgm"] < 2 || sources["server"] < 2 || reason != "" {
				t.Errorf("both: %v, %q", sources, reason)
			}
		case "alone":
			if sources["dcgm"] < 2 || sources["server"] != 0 || reason != "" {
				t.Errorf("alone: %v, %q", sources, reason)
			}
		case "wrong":
			if !strings.Contains(reason, "metrics of the cards") || !strings.Contains(reason, "tells of no card") {
				t.Errorf("wrong: %q", reason)
			}
		case "gone":
			if !strings.Contains(reason, "metrics of the cards") || !strings.Contains(reason, "404") || sources["server"] < 2 {
				t.Errorf("gone: %v, %q", sources, reason)
			}
		}
	}
}

// checkSource checks that each source tells what it should and nothing that names a machine.
func checkSource(t *testing.T, subject string, s record.Sample) {
	t.Helper()
	for _, v := range s.Values {
		ofCard := strings.HasPrefix(v.Name, "nv_gpu_") || strings.HasPrefix(v.Name, "nv_energy") || strings.HasPrefix(v.Name, "DCGM_")
		if ofCard != (s.Source == "dcgm") || s.Source == "nvml" {
			t.Errorf("%s: the source %s has %s", subject, s.Source, v.Name)
		}
		if v.Labels["Hostname"] != "" || v.Labels["pod"] != "" {
			t.Errorf("%s: %s keeps %v", subject, v.Name, v.Labels)
		}
	}
}

// TestDeviceMetricsOfTheServer: a study's server has the address for all its targets, and a target may have another.
func TestDeviceMetricsOfTheServer(t *testing.T) {
	r := &Runner{Study: &plan.Study{Servers: []plan.Server{{Name: "s", DeviceMetrics: "http://s:9400/metrics"}}}}
	for _, c := range []struct {
		target plan.Target
		want   string
	}{
		{plan.Target{Server: "s"}, "http://s:9400/metrics"}, {plan.Target{Server: "s", DeviceMetrics: "http://t/m"}, "http://t/m"},
		{plan.Target{DeviceMetrics: "http://t/m"}, "http://t/m"}, {plan.Target{}, ""},
	} {
		if got := r.deviceURL(&c.target); got != c.want {
			t.Errorf("%+v: %q, want %q", c.target, got, c.want)
		}
	}
}

// TestIdleOfCardsAlone: the cards' own address is enough to sample a server without load.
func TestIdleOfCardsAlone(t *testing.T) {
	var reads atomic.Int64
	exporter := httptest.NewServer(cardsPage(&reads))
	defer exporter.Close()
	for path, want := range map[string]Tally{"/metrics": {OK: 1}, "/other": {Failed: 1}} {
		study := oneStep([]plan.Target{{Name: "silent", URL: "http://127.0.0.1:1", Format: "embed-raw", Metrics: "off", DeviceMetrics: exporter.URL + path}},
			plan.Block{Scenario: record.Idle, Settings: plan.Settings{Duration: 1}})
		if _, tally := measure(t, study, nil); tally != want {
			t.Errorf("%s: %+v, want %+v", path, tally, want)
		}
	}
}
