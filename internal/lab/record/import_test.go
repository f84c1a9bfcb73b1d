package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// imports loads text as a file of that name.
func imports(t *testing.T, name, text string) (*Data, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

// perfCSV is the example of perf_analyzer's documentation, one line with the columns that later versions
// and --collect-metrics add.
const perfCSV = `Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency
1,69.2,225,2148,64,206,11781,19,0,13891,18795,19753,21018
4,84.2,279,1604,33669,233,11731,18,1,47045,56545,59225,64886
`

func TestImportPerfCSV(t *testing.T) {
	data, err := imports(t, "perf.csv", perfCSV)
	if err != nil {
		t.Fatal(err)
	}
	run := data.Runs[0]
	if len(run.Cells) != 2 || run.Cells[1].Scenario != Concurrency || run.Cells[1].Params.Concurrency != 4 || run.Cells[1].Status() != OK {
		t.Fatalf("%+v", run.Cells)
	}
	got := map[string]float64{}
	for _, m := range run.Cells[0].Measures {
		got[m.Name+" "+m.Unit] = m.Values[0]
	}
	want := map[string]float64{
		"throughput images/s": 69.2, "latency_mean ms": 14.443, "client_send ms": 0.225, "network ms": 2.148, "server_queue ms": 0.064,
		"server_input ms": 0.206, "server_compute ms": 11.781, "server_output ms": 0.019, "client_receive ms": 0,
		"latency_p50 ms": 13.891, "latency_p90 ms": 18.795, "latency_p95 ms": 19.753, "latency_p99 ms": 21.018,
	}
	for name, v := range want {
		if g, ok := got[name]; !ok || g < v-1e-9 || g > v+1e-9 {
			t.Errorf("%s: %g, want %g", name, g, v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d measures, want %d", len(got), len(want))
	}
}

func TestImportPerfCSVWithGPUs(t *testing.T) {
	data, err := imports(t, "perf.csv", "Request Rate,Inferences/Second,Avg latency,Avg GPU Utilization,Avg GPU Power Usage,p50 latency\n"+
		"50,49.5,9000,GPU-a:0.25;GPU-b:0.5;,GPU-a:70;GPU-b:71.5;,8500,\n")
	if err != nil {
		t.Fatal(err)
	}
	c := data.Runs[0].Cells[0]
	if c.Scenario != OpenLoop || c.Params.Rate != 50 {
		t.Errorf("%+v", c.Cell)
	}
	want := []Measure{
		{Cell: 1, Name: "throughput", Unit: "images/s", Values: []float64{49.5}}, {Cell: 1, Name: "latency_mean", Unit: "ms", Values: []float64{9}},
		{Cell: 1, Name: "gpu_utilization", Unit: "%", Values: []float64{25, 50}}, {Cell: 1, Name: "gpu_power", Unit: "W", Values: []float64{70, 71.5}},
		{Cell: 1, Name: "latency_p50", Unit: "ms", Values: []float64{8.5}},
	}
	if diff := cmp.Diff(want, c.Measures); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

const perfExportText = `{"experiments":[{"experiment":{"mode":"concurrency","value":2},"requests":[
 {"timestamp":1700000000000001000,"request_inputs":{},"response_timestamps":[1700000000000004000,1700000000000005000],"response_outputs":[]},
 {"timestamp":1700000000000000000,"response_timestamps":[]}],
 "window_boundaries":[1700000000000000000,1700000000000009000]}],"version":"2.59.0","service_kind":"triton","endpoint":"127.0.0.1:8001"}`

func TestImportPerfJSON(t *testing.T) {
	data, err := imports(t, "profile.json", perfExportText)
	if err != nil {
		t.Fatal(err)
	}
	run := data.Runs[0]
	c := run.Cells[0]
	want := []Request{
		{Sent: 0, Done: 0, Error: "no answer"},
		{Due: 1000, Sent: 1000, FirstByte: 4000, Done: 5000, Status: 200},
	}
	if diff := cmp.Diff(want, c.Requests); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.End.Elapsed != 9*time.Microsecond || c.Params.Concurrency != 2 || run.Subjects[0].URL != "127.0.0.1:8001" || run.Manifest.Tool.Version != "2.59.0" {
		t.Errorf("%+v, %+v", c.End, run.Subjects)
	}
	if !run.Manifest.Started.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("started %v", run.Manifest.Started)
	}
}

func TestImportPlain(t *testing.T) {
	data, err := imports(t, "mine.json", `[
		{"subject": "PyTorch", "scenario": "single", "batch": 1, "labels": {"gpu": "A100"}, "latencies_ms": [10, 20.5]},
		{"subject": "PyTorch", "batch_results": {"32": {"error": "out of memory", "status": "timeout"}, "4": {"mean_ms": 134.2, "throughput": 29.8}}},
		{"subject": "Triton", "scenario": "concurrency", "concurrency": 8, "request_rate": 36.8}]`)
	if err != nil {
		t.Fatal(err)
	}
	run := data.Runs[0]
	if len(run.Subjects) != 2 || len(run.Cells) != 4 {
		t.Fatalf("%d subjects, %d cells", len(run.Subjects), len(run.Cells))
	}
	want := []Request{{Done: 10e6, Status: 200}, {Due: 10e6, Sent: 10e6, Done: 30.5e6, Status: 200}}
	if diff := cmp.Diff(want, run.Cells[0].Requests); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if run.Cells[0].End.Elapsed != 30500*time.Microsecond {
		t.Errorf("elapsed %v", run.Cells[0].End.Elapsed)
	}
	if four := run.Cells[1]; four.Params.Batch != 4 || four.Scenario != Batch || len(four.Measures) != 2 {
		t.Errorf("%+v", four)
	}
	if failed := run.Cells[2]; failed.Status() != Timeout || failed.End.Reasons[0] != "out of memory" {
		t.Errorf("%+v", failed.End)
	}
}

func TestImportSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a.csv", "x,y\n1,2\n", "must be perf_analyzer's"},
		{"a.csv", "Inferences/Second\n7\n", "line 2: neither a concurrency nor a request rate"},
		{"a.csv", "Concurrency,Inferences/Second\n1,NaN\n", "line 2: Inferences/Second is NaN"},
		{"a.json", `{"experiments": []}`, "no requests"},
		{"a.json", `[]`, "no results"},
		{"a.json", `{"latencies_ms": [1]}`, `result 1: no "subject"`},
		{"a.json", `{"subject": "x"}`, "neither latencies_ms"},
		{"a.json", `{"subject": "x", "latencies_ms": [1, -2]}`, "latency 2 is -2 ms"},
		{"a.json", `{"subject": "x", "batch_results": {"four": {}}}`, `"four" is no batch size`},
		{"a.json", `{"subject": "x", "status": "good"}`, `status "good"`},
		{"a.json", `hello`, "invalid character"},
	} {
		if _, err := imports(t, c.name, c.text); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add(true, []byte(perfCSV))
	f.Add(false, []byte(perfExportText))
	f.Add(false, []byte(`{"subject": "x", "latencies_ms": [1, 2], "batch_results": {"1": {"mean_ms": 3}}}`))
	f.Fuzz(func(t *testing.T, isCSV bool, text []byte) {
		name := "a.json"
		if isCSV {
			name = "a.csv"
		}
		events, err := importText(text, name, began)
		if err != nil {
			return
		}
		for _, e := range events { // what was imported can be written as a record and read again
			line, err := appendEvent(nil, e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseEvent(line); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	})
}
