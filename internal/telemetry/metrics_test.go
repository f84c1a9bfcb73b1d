package telemetry

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return strings.ReplaceAll(w.Body.String(), runtime.Version(), "GOVERSION")
}

// scenario is one request of two images in one batch of 4, one that failed, and what the fronts say.
func scenario() (*Metrics, *ModelMetrics) {
	const ms = time.Millisecond
	m := NewMetrics(MetricsOptions{Version: "1.2.3", Revision: "abc", Proc: "testdata/proc"})
	mm := m.Model(ModelLabels{
		Name: "openclip_vit_b32", Version: "1", Space: "s1", Engine: "null", Precision: "fp32", Synthetic: true,
	}, func() Live {
		return Live{Pending: 3, Queued: 5, InFlight: 7, Decoded: &DecodedBy{Processor: 30, Cards: 20, Returned: 1}, Devices: []Device{
			{Name: "gpu:0", UUID: "GPU-1badb002", Up: true, Running: 2, Executions: 40, Items: 300, Busy: 1500 * ms, Returns: 1, Failures: 1, Retries: 2},
			{Name: "gpu:1", Failures: 3},
		}}
	})
	mm.SetLoadDuration(1500 * ms)
	parts := []Timeline{
		with(line(0, 5, 6, 8, 9, 19, 20), 3*ms, ms, 4),
		with(line(0, 4, 5, 8, 9, 19, 20), 2*ms, ms, 4),
	}
	mm.ObserveExecution(4)
	folded := Fold(parts)
	mm.Observe(&folded, parts, Outcome{Answered: 2})
	var bad Timeline
	mm.Observe(&bad, []Timeline{with(line(0), ms, 0, 0)}, Outcome{Err: fault.New(fault.Exhausted, "full")})
	folded.At[Sent] = epoch.Add(21 * ms)
	m.ObserveRequest(&Record{Route: "/embed", Protocol: "http", Code: 200, Timeline: folded})
	m.ObserveRequest(&Record{Route: "/embed", Protocol: "http", Code: 429, Timeline: line(0, -1, -1, -1, -1, -1, -1, 1)})
	return m, mm
}

func TestScrape(t *testing.T) {
	m, _ := scenario()
	golden(t, "scrape.txt", scrape(m))
}

func TestForgetLeavesNothing(t *testing.T) {
	m, mm := scenario()
	mm.Forget()
	if text := scrape(m); strings.Contains(text, "openclip_vit_b32") {
		t.Error(text)
	}
	mm.Forget() // a second time does nothing
	again := m.Model(ModelLabels{Name: "openclip_vit_b32", Version: "1"}, nil)
	mm.Forget()
	again.ObserveExecution(1)
	if text := scrape(m); !strings.Contains(text, `nv_inference_exec_count{model="openclip_vit_b32",version="1"} 1`) {
		t.Error(text)
	}
}

// TestAnHeirGoesOnCounting exchanges a model for one of its name and version.
func TestAnHeirGoesOnCounting(t *testing.T) {
	m, old := scenario()
	labels := old.labels
	labels.Space = "s2"
	heir := m.Model(labels, func() Live {
		return Live{Pending: 1, Queued: 1, InFlight: 1, Decoded: &DecodedBy{Cards: 5}, Devices: []Device{{Name: "gpu:1", Up: true, Items: 5}, {Name: "gpu:0", Up: true, Items: 5}, {Name: "cpu", Up: true}}}
	})
	lines := func() map[string]bool {
		all := map[string]bool{}
		for l := range strings.Lines(scrape(m)) {
			all[strings.TrimSpace(l)] = true
		}
		return all
	}
	info := `vitrine_model_info{engine="null",model="openclip_vit_b32",precision="fp32",space="%s",synthetic="true",version="1"} 1`
	both := lines()
	for _, want := range []string{fmt.Sprintf(info, "s1"), fmt.Sprintf(info, "s2"), `vitrine_queue_depth{model="openclip_vit_b32",version="1"} 6`,
		`vitrine_device_items_total{device="gpu:0",gpu_uuid="GPU-1badb002",model="openclip_vit_b32",version="1"} 305`, `vitrine_device_up{device="gpu:1",gpu_uuid="",model="openclip_vit_b32",version="1"} 0`,
		`vitrine_device_up{device="cpu",gpu_uuid="",model="openclip_vit_b32",version="1"} 1`,
		`vitrine_decoded_images_total{by="card",model="openclip_vit_b32",version="1"} 25`, `vitrine_decode_returned_total{model="openclip_vit_b32",version="1"} 1`} {
		if !both[want] {
			t.Errorf("while both are there: no %s", want)
		}
	}
	old.Forget()
	heir.ObserveExecution(1)
	after := lines()
	for _, want := range []string{`nv_inference_exec_count{model="openclip_vit_b32",version="1"} 2`, fmt.Sprintf(info, "s2"), `vitrine_queue_depth{model="openclip_vit_b32",version="1"} 1`,
		`vitrine_device_up{device="gpu:1",gpu_uuid="",model="openclip_vit_b32",version="1"} 1`} {
		if !after[want] {
			t.Errorf("after the old one went: no %s", want)
		}
	}
	if after[fmt.Sprintf(info, "s1")] {
		t.Error("the old one's space is still there")
	}
	heir.Forget()
	if text := scrape(m); strings.Contains(text, "openclip_vit_b32") {
		t.Error(text)
	}
}

func TestReasonOf(t *testing.T) {
	for kind, want := range map[fault.Kind]Reason{
		fault.Exhausted: Rejected, fault.Timeout: Rejected, fault.Unavailable: Rejected,
		fault.Canceled: Cancelled, fault.Internal: Backend,
		fault.Invalid: Other, fault.TooLarge: Other, fault.UnsupportedMedia: Other, fault.Unimplemented: Other, fault.Mistaken: Other,
	} {
		if got := ReasonOf(fmt.Errorf("x: %w", fault.New(kind, "y"))); got != want {
			t.Errorf("%v: %v, want %v", kind, got, want)
		}
	}
	if ReasonOf(errors.New("plain")) != Backend {
		t.Error("an unknown error is the server's")
	}
}

func TestAClockThatGoesBackIsNoPanic(t *testing.T) {
	_, mm := scenario()
	back := line(9, 8, 7, 6, 5, 4, 3)
	mm.Observe(&back, []Timeline{back}, Outcome{Answered: 1})
}

func TestObserveAllocatesNothing(t *testing.T) {
	_, mm := scenario()
	parts := []Timeline{with(line(0, 5, 6, 8, 9, 19, 20), time.Millisecond, time.Millisecond, 4)}
	if n := testing.AllocsPerRun(100, func() { mm.Observe(&parts[0], parts, Outcome{Answered: 1}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCPUUtilisationIsThatSinceTheLastScrape(t *testing.T) {
	proc := t.TempDir()
	m := newMachine(proc)
	for _, c := range []struct {
		stat string
		want float64
		ok   bool
	}{
		{"cpu 100 0 100 700 100 0 0 0 0 0\n", 0.2, true},
		{"cpu 400 0 100 800 100 0 0 0 0 0\n", 0.75, true}, // 300 of 400 ticks
		{"cpu 400 0 100 800 100 0 0 0 0 0\n", 0, true},    // no time has passed
		{"cpu 400 0 100 900 100 0 0 0 300 0\n", 0, true},  // guest time is not counted twice
		{"cpu x 0 100 800 100\n", 0, false},
		{"intr 1\n", 0, false},
	} {
		if err := os.WriteFile(filepath.Join(proc, "stat"), []byte(c.stat), 0o600); err != nil {
			t.Fatal(err)
		}
		got, ok := m.busy()
		if ok != c.ok || max(got-c.want, c.want-got) > 1e-9 {
			t.Errorf("%q: %v, %v", c.stat, got, ok)
		}
	}
}

func TestMeminfo(t *testing.T) {
	for _, c := range []struct {
		in          string
		total, used uint64
		ok          bool
	}{
		{"MemTotal: 100 kB\nMemAvailable: 40 kB\n", 102400, 61440, true},
		{"MemTotal: 100 kB\n", 0, 0, false},
		{"MemTotal: 10 kB\nMemAvailable: 40 kB\n", 0, 0, false},
		{"MemTotal:\nMemAvailable: 1 kB", 0, 0, false},
		{"", 0, 0, false},
	} {
		total, used, ok := parseMeminfo(c.in)
		if total != c.total || used != c.used || ok != c.ok {
			t.Errorf("%q: %d, %d, %v", c.in, total, used, ok)
		}
	}
}

func TestNoProcNoMachineMetrics(t *testing.T) {
	m := NewMetrics(MetricsOptions{Proc: t.TempDir()})
	if text := scrape(m); strings.Contains(text, "nv_cpu") || !strings.Contains(text, "vitrine_build_info") {
		t.Error(text)
	}
}

func TestAccessLog(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	trace, _ := ParseTraceparent(example)
	AccessLog(l, &Record{
		ID: "r1", Trace: trace, Protocol: "http", Method: "POST", Route: "/embed", Code: 200, Model: "m", Items: 2,
		BytesIn: 100, BytesOut: 2000, Remote: "10.0.0.1:5", Timeline: with(line(0, 5, 6, 8, 9, 19, 20, 21), 3e6, 1e6, 4),
	})
	for i, err := range []error{
		fault.New(fault.Invalid, "not an image").In("images").At(1), fault.New(fault.Exhausted, "queue full"), errors.New("boom"),
		fault.New(fault.Mistaken, "no JSON"),
	} {
		AccessLog(l, &Record{
			ID: fmt.Sprint("e", i), Protocol: "grpc", Route: "ModelInfer", Code: 3, Err: err,
			Timeline: line(0, -1, -1, -1, -1, -1, -1, 1),
		})
	}
	golden(t, "access.log", out.String())
}
