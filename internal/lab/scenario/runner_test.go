package scenario

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/watch"
)

const actAsServer = "VITRINE_TEST_ACT_AS_SERVER"

// TestMain lets the test binary be a server that scenarios start.
func TestMain(m *testing.M) {
	if address := os.Getenv(actAsServer); address != "" {
		fmt.Println("serving as", os.Getenv("NAME"))
		fmt.Fprintln(os.Stderr, http.ListenAndServe(address, embedder(new(atomic.Int64))))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// embedder answers /embed as the embed API does, and counts as Triton does.
func embedder(served *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /embed", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		served.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"embeddings":[[1,0]],"count":1,"model_info":{}}`)
	})
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE nv_inference_request_success counter\nnv_inference_request_success{model=\"m\",version=\"1\"} %d\n", served.Load())
	})
	return mux
}

// measure runs a study's cells and returns the record.
func measure(t *testing.T, study *plan.Study, change func(*Runner)) (*record.Run, Tally) {
	t.Helper()
	if err := study.Check(); err != nil {
		t.Fatal(err)
	}
	x, err := study.Expand("", plan.Exists)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run.jsonl.zst")
	w, err := record.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.Create(filepath.Join(t.TempDir(), "screen"))
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	started := time.Now()
	if err := w.Write(record.Manifest{Version: record.Version, Run: "0123456789abcdef", Started: started}); err != nil {
		t.Fatal(err)
	}
	r := &Runner{Study: study, Log: w, Started: started, View: watch.New(screen), Seed: 1, Lowest: 8, Highest: 1e5, Folder: t.TempDir(),
		Open: func(context.Context, *plan.Target) (*Engine, error) {
			return &Engine{Engine: null.New(null.Options{MaxBatch: 8}), Create: time.Millisecond, Server: record.Server{Software: "vitrine", Engine: "null"}}, nil
		}}
	if change != nil {
		change(r)
	}
	tally, err := r.Run(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := record.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return data.Runs[0], tally
}

func oneStep(targets []plan.Target, cells ...plan.Block) *plan.Study {
	s := &plan.Study{Version: plan.Version, Name: "test", Targets: targets, Steps: []plan.Step{{Cells: cells}}}
	for _, t := range targets {
		s.Steps[0].Targets = append(s.Steps[0].Targets, t.Name)
	}
	return s
}

func zero() *int { return new(int) }

// TestAFailedCellIsAResult measures a server that answers and one that is not there.
func TestAFailedCellIsAResult(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(embedder(&served))
	defer server.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	warm := 3
	run, tally := measure(t, oneStep([]plan.Target{
		{Name: "there", URL: server.URL, Format: "embed-raw", Metrics: server.URL + "/metrics"},
		{Name: "gone", URL: "http://" + nobody.Addr().String(), Format: "embed-raw"},
	}, plan.Block{Scenario: record.Single, Settings: plan.Settings{Requests: 20, Rounds: 2, Warmup: &warm}}), nil)
	if tally != (Tally{OK: 2, Failed: 2}) || len(run.Cells) != 4 {
		t.Fatalf("%+v, %d cells", tally, len(run.Cells))
	}
	for _, c := range run.Cells {
		if c.Subject == "gone" {
			if c.Status() != record.Failed || len(c.End.Reasons) == 0 {
				t.Errorf("a server that is not there: %+v", c.End)
			}
			continue
		}
		warmups := 0
		for _, q := range c.Requests {
			if q.Warmup {
				warmups++
			}
		}
		if len(c.Requests) != 23 || warmups != 3 || c.Params.InputBytes == 0 || c.Params.Input == "" {
			t.Errorf("%d requests, %d of warm-up, input %q", len(c.Requests), warmups, c.Params.Input)
		}
		if len(c.End.Checks) == 0 || !c.End.Checks[0].OK || c.End.Checks[0].Want != 20 {
			t.Errorf("the server's count is not checked: %+v", c.End.Checks)
		}
		if len(c.Samples) < 2 {
			t.Errorf("%d samples, want one before and one after", len(c.Samples))
		}
	}
	if served.Load() != 46 {
		t.Errorf("the server answered %d requests", served.Load())
	}
	if s, ok := run.Subject("there"); !ok || s.Format != "embed-raw" {
		t.Errorf("subject %+v", s)
	}
}

// TestCountsThatDisagree has a server whose metrics lose requests.
func TestCountsThatDisagree(t *testing.T) {
	var served, lost atomic.Int64
	mux := http.NewServeMux()
	mux.Handle("/embed", embedder(&served))
	mux.Handle("/metrics", embedder(&lost))
	server := httptest.NewServer(mux)
	defer server.Close()
	run, tally := measure(t, oneStep([]plan.Target{{Name: "a", URL: server.URL, Format: "embed-raw", Metrics: server.URL + "/metrics"}},
		plan.Block{Scenario: record.Single, Settings: plan.Settings{Requests: 20, Warmup: zero()}}), nil)
	if end := run.Cells[0].End; tally.Invalid != 1 || end.Status != record.Invalid || !strings.Contains(strings.Join(end.Reasons, " "), "server_requests") {
		t.Errorf("%+v, %+v", tally, end)
	}
}

// TestStartedServer has the runner start a process for a cold start and for what comes after it.
func TestStartedServer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	study := oneStep([]plan.Target{{Name: "a", Server: "s", URL: "http://" + address, Format: "embed-raw"}},
		plan.Block{Scenario: record.ColdStart, Settings: plan.Settings{Requests: 2}},
		plan.Block{Scenario: record.Single, Settings: plan.Settings{Requests: 5, Warmup: zero()}})
	study.Servers = []plan.Server{{Name: "s", Start: "exec " + self, Ready: "http://" + address + "/readyz", Metrics: "http://" + address + "/metrics",
		Env: map[string]string{actAsServer: address, "NAME": "{instances}"}}}
	var logs string
	run, tally := measure(t, study, func(r *Runner) { logs = r.Folder })
	if tally.OK != 2 {
		t.Fatalf("%+v: %+v", tally, run.Cells[0].End)
	}
	values := map[string][]float64{}
	for _, m := range run.Cells[0].Measures {
		values[m.Name] = m.Values
	}
	ready, answer, first := values["start_to_ready"], values["start_to_first_answer"], values["first_request"]
	if len(ready) != 2 || len(answer) != 2 || len(first) != 2 || ready[0] <= 0 || answer[0] <= ready[0] {
		t.Errorf("cold start: %v", values)
	}
	text, err := os.ReadFile(filepath.Join(logs, "s.log"))
	if err != nil || strings.Count(string(text), "serving as") != 2 { // the second start also serves the next cell
		t.Errorf("log %q, %v", text, err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("the server still runs")
	}
}

func TestAServerThatDoesNotStart(t *testing.T) {
	study := oneStep([]plan.Target{{Name: "a", Server: "s", URL: "http://127.0.0.1:1", Format: "embed-raw"}},
		plan.Block{Scenario: record.Single, Settings: plan.Settings{Requests: 5}})
	study.Servers = []plan.Server{{Name: "s", Start: "echo no such model; exit 3", Ready: "http://127.0.0.1:1/readyz"}}
	run, tally := measure(t, study, nil)
	if tally.Failed != 1 || !strings.Contains(run.Cells[0].End.Reasons[0], "exit status 3") {
		t.Errorf("%+v: %+v", tally, run.Cells[0].End)
	}
}

// TestRateSearch compares what the search says with its tries. Which of them pass is the machine's affair.
func TestRateSearch(t *testing.T) {
	server := httptest.NewServer(embedder(new(atomic.Int64)))
	defer server.Close()
	bound := 10 * time.Second
	run, tally := measure(t, oneStep([]plan.Target{{Name: "a", URL: server.URL, Format: "embed-raw"}},
		plan.Block{Scenario: record.RateSearch, Settings: plan.Settings{Bound: bound, Duration: 50 * time.Millisecond, Warmup: zero()}}),
		func(r *Runner) { r.Lowest, r.Highest = 100, 200 })
	best := 0.0
	for _, c := range run.Cells[1:] {
		if c.Scenario != record.OpenLoop || c.Params.Rate == 0 || c.Params.Bound != 0 || c.End == nil {
			t.Errorf("a try: %+v, %+v", c.Cell, c.End)
		}
		if c.Status() == record.OK {
			best = max(best, c.Params.Rate)
		}
	}
	cell := run.Cells[0]
	if best == 0 {
		if tally.Failed != 1 {
			t.Errorf("no try passed, and the search says %+v", cell.End)
		}
		return
	}
	if m := cell.Measures; len(m) != 1 || m[0].Name != "highest_rate" || m[0].Values[0] != best || len(run.Cells) < 3 {
		t.Errorf("%d cells, %+v; the best try is %v", len(run.Cells), m, best)
	}
}

func TestInProcess(t *testing.T) {
	engine := []plan.Target{{Name: "null", Format: "in-process", Engine: plan.Engine{Name: "null"}}}
	run, tally := measure(t, oneStep(engine,
		plan.Block{Scenario: record.Session, Settings: plan.Settings{Requests: 3}},
		plan.Block{Scenario: record.Compute, Settings: plan.Settings{Batch: []int{4}, Requests: 7, Warmup: zero()}},
		plan.Block{Scenario: record.Serialization, Settings: plan.Settings{Batch: []int{1}, Requests: 2, Encoders: []string{"go", "python"}, Formats: []string{"binary"}}},
		plan.Block{Scenario: record.Profile, Settings: plan.Settings{Requests: 2}}), nil)
	if want := (Tally{OK: 3, Failed: 1, LeftOut: 1}); tally != want {
		t.Errorf("%+v, want %+v", tally, want)
	}
	found := map[string]*record.CellData{}
	for _, c := range run.Cells {
		found[c.Scenario] = c
	}
	if m := found[record.Session].Measures; len(m) != 1 || len(m[0].Values) != 3 {
		t.Errorf("session: %+v", m)
	}
	if c := found[record.Compute]; len(c.Requests) != 7 || c.Requests[0].BytesIn != 4*4*512 {
		t.Errorf("compute: %d requests, %+v", len(c.Requests), c.End)
	}
	if m := found[record.Serialization].Measures; len(m) != 2 || m[1].Name != "payload" || m[1].Values[0] < 602112 || m[1].Values[0] > 602112+300 {
		t.Errorf("serialization: %+v", m)
	}
	if end := found[record.Profile].End; !strings.Contains(strings.Join(end.Reasons, ""), "cannot profile") {
		t.Errorf("the null engine was profiled: %+v", end)
	}
	if len(run.Notes) != 1 || !strings.Contains(run.Notes[0].Text, "Python") {
		t.Errorf("notes %+v", run.Notes)
	}
}

func TestMeasuredBefore(t *testing.T) {
	run, tally := measure(t, oneStep([]plan.Target{{Name: "null", Format: "in-process", Engine: plan.Engine{Name: "null"}}},
		plan.Block{Scenario: record.Compute, Settings: plan.Settings{Batch: []int{1, 4}, Rounds: 2, Requests: 3, Warmup: zero()}}),
		func(r *Runner) {
			r.LastCell = 9
			r.Measured = func(run plan.Run) bool { return run.Cell.Params.Batch == 4 || run.Round == 0 }
		})
	if tally != (Tally{OK: 1, Skipped: 3}) || len(run.Cells) != 1 || run.Cells[0].ID != 10 || run.Cells[0].Round != 1 {
		t.Errorf("%+v, %+v", tally, run.Cells)
	}
}

// TestTail: the end of a server's log is whole lines, the last ones, and nothing where there is no log.
func TestTail(t *testing.T) {
	folder := t.TempDir()
	s := servers{folder: folder}
	var long strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&long, "line %d\n", i)
	}
	for _, c := range []struct {
		name, text  string
		first, last string
		lines       int
	}{
		{"empty", "", "", "", 0},
		{"short", "one\ntwo\n", "one", "two", 2},
		{"unended", "one\ntwo", "one", "two", 2},
		{"long", long.String(), "line 1988", "line 1999", 12},
		{"one", strings.Repeat("x", 3*tailBytes), "", "", 0},
	} {
		if err := os.WriteFile(filepath.Join(folder, c.name+".log"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := s.tail(c.name)
		if len(got) != c.lines || c.lines > 0 && (got[0] != c.first || got[len(got)-1] != c.last) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if got := s.tail("absent"); got != nil {
		t.Errorf("of no log: %q", got)
	}
	if got := (&servers{}).tail("short"); got != nil {
		t.Errorf("where none is kept: %q", got)
	}
}
