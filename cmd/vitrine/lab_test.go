package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// counter reads one counter of a server's metrics, summed over its series.
func counter(t *testing.T, s *running, name string) (sum float64) {
	t.Helper()
	status, _, body := do(t, http.MethodGet, s.metrics+"/metrics", nil)
	if status != http.StatusOK {
		t.Fatalf("metrics: %d", status)
	}
	series := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (\S+)$`)
	for _, m := range series.FindAllSubmatch(body, -1) {
		v, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func loadRecord(t *testing.T, path string) *record.Run {
	t.Helper()
	data, err := record.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Runs) != 1 {
		t.Fatalf("%d runs in %s", len(data.Runs), path)
	}
	return data.Runs[0]
}

// TestBench measures a server in every format and compares the record with the server's own counts.
func TestBench(t *testing.T) {
	s := start(t, "--engine", "null")
	path := filepath.Join(t.TempDir(), "b.jsonl.zst")
	formats := []string{"embed-base64", "embed-raw", "embed-batch", "openai", "oip-json", "oip-binary", "oip-binary-u8", "oip-raw"}
	args := []string{"bench", "batch", "--batch", "1,3", "--requests", "6", "--warmup", "2", "--rounds", "2", "--out", path, "--quiet",
		"--metrics-url", s.metrics + "/metrics", "--label", "machine=test", "--label", "embed-raw:price=2", "--seed", "5"}
	for _, f := range formats {
		args = append(args, "--target", s.url, "--name", f, "--format", f)
	}
	before := counter(t, s, "nv_inference_count")
	r := call(t, args...)
	// Two formats take one image a request: their batches of three are cells that fail with the reason.
	if r.code != exitFailure || !strings.Contains(r.err, errCells.Error()) {
		t.Fatalf("exit code %d\n%s\n%s", r.code, r.err, r.out)
	}
	run := loadRecord(t, path)
	if len(run.Cells) != len(formats)*2*2 || run.Manifest.Seed != 5 || run.Manifest.Labels["machine"] != "test" {
		t.Fatalf("%d cells, manifest %+v", len(run.Cells), run.Manifest)
	}
	images := 0
	for _, c := range run.Cells {
		if c.Params.Batch == 3 && (c.Subject == "embed-raw" || c.Subject == "oip-raw") {
			if c.Status() != record.Failed {
				t.Errorf("%s takes three images: %+v", c.Subject, c.End)
			}
			continue
		}
		if c.Status() != record.OK || len(c.Requests) != 8 {
			t.Errorf("%s: %d requests, %+v", c.Key, len(c.Requests), c.End)
		}
		for _, q := range c.Requests {
			if q.Error != "" || q.Status != http.StatusOK || q.Due > q.Sent || q.Sent >= q.Done || q.BytesOut == 0 || q.BytesIn == 0 {
				t.Errorf("%s: %+v", c.Key, q)
			}
		}
		images += len(c.Requests) * c.Params.Batch
	}
	if got := counter(t, s, "nv_inference_count") - before; int(got) != images {
		t.Errorf("the server computed %v images, the record holds %d", got, images)
	}
	subject, _ := run.Subject("embed-raw")
	if subject.Labels["price"] != "2" || subject.Labels["machine"] != "test" || subject.Server.Engine == "" {
		t.Errorf("subject %+v", subject)
	}
	if !strings.Contains(r.out, "P50 MS") || !strings.Contains(r.out, path) {
		t.Errorf("printed\n%s", r.out)
	}
}

func TestBenchOpenLoopThroughALink(t *testing.T) {
	s := start(t, "--engine", "null")
	path := filepath.Join(t.TempDir(), "b.jsonl.zst")
	call(t, "bench", "single", "--target", s.url, "--metrics-url", "off", "--requests", "5", "--link", "none", "--link", "rtt=60ms", "--new-connection",
		"--out", path, "--quiet").want(t, exitOK, "")
	fastest := map[string]int64{}
	for _, c := range loadRecord(t, path).Cells {
		for _, q := range c.Requests {
			if d := q.Done - q.Sent; fastest[c.Params.Link] == 0 || d < fastest[c.Params.Link] {
				fastest[c.Params.Link] = d
			}
		}
	}
	// A new connection takes one round trip and the request another.
	if len(fastest) != 2 || fastest["rtt=60ms"] < 120e6 {
		t.Errorf("fastest requests: %v ns", fastest)
	}
}

// TestStudyResumes measures a study, cuts cells away by measuring only a part first, and goes on.
func TestStudyResumes(t *testing.T) {
	s := start(t, "--engine", "null")
	dir := t.TempDir()
	plan := filepath.Join(dir, "small.yaml")
	text := fmt.Sprintf(`version: 1
name: small
defaults: {requests: 4, warmup: 1, rounds: 2}
targets:
  - {name: raw, url: "%s", format: embed-raw, metrics: "%s/metrics"}
  - {name: gone, url: "http://127.0.0.1:1", format: embed-raw}
steps:
  - {id: "4", title: first, targets: [raw, gone], cells: [{scenario: single}]}
`, s.url, s.metrics)
	if err := os.WriteFile(plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	study := []string{"bench", "study", plan, "--out", out, "--quiet"}
	if r := call(t, append(study, "--list")...); r.code != exitOK || !strings.Contains(r.out, "4/single/raw/batch=1/concurrency=1/input=photo:224x224:q85 round 2") {
		t.Errorf("%d\n%s%s", r.code, r.out, r.err)
	}
	call(t, study...).want(t, exitFailure, errCells.Error())
	call(t, study...).want(t, exitUsage, "--resume goes on with it")
	r := call(t, append(study, "--resume")...)
	if r.code != exitFailure || !strings.Contains(r.out, "0 ok, 2 failed, 2 measured before") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
	run := loadRecord(t, filepath.Join(out, "small.jsonl.zst"))
	ids, requests := map[int]bool{}, 0
	for _, c := range run.Cells {
		if ids[c.ID] {
			t.Errorf("cell %d is there twice", c.ID)
		}
		ids[c.ID] = true
		requests += len(c.Requests)
	}
	if len(run.Cells) != 6 || requests != 2*5 || run.Manifest.Plan != text {
		t.Errorf("%d cells, %d requests", len(run.Cells), requests)
	}
	if err := os.WriteFile(plan, []byte(text+"# changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, append(study, "--resume")...).want(t, exitUsage, "has changed since its record was begun")
}

// TestReferenceStudy checks the study that the project ships, in all its editions.
func TestReferenceStudy(t *testing.T) {
	file := filepath.Join("..", "..", "studies", "reference.yaml")
	for _, edition := range []string{"gpu", "cpu", "ci"} {
		r := call(t, "bench", "study", file, "--edition", edition, "--list")
		if r.code != exitOK || !strings.Contains(r.out, "4/single/Vitrine JPEG/") || !strings.Contains(r.out, "6B/concurrency/") {
			t.Errorf("%s: exit code %d\n%s%s", edition, r.code, r.out, r.err)
		}
		if edition != "gpu" && !strings.Contains(r.out, "step 5B (TensorRT EP against ONNX CUDA EP) is not part of edition") {
			t.Errorf("%s: what is left out is not said:\n%s", edition, r.out)
		}
	}
	call(t, "bench", "study", file, "--edition", "tpu", "--list").want(t, exitUsage, "the study has ci, cpu, cpu-short, gpu, gpu-short")
	r := call(t, "bench", "study", file, "--edition", "gpu-short", "--list")
	for _, want := range []string{"5C/batch/Vitrine TRT/", "5C/batch/Vitrine ONNX/", "5C/batch/Vitrine PyTorch/", "5C/batch/Vitrine (Binary)/", "5C/batch/Triton ONNX/", "5C/batch/PyTorch FastAPI CUDA/", "5D/idle/", "9B/compute/TRT engine, staged/"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("gpu-short: no %s in\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "Triton TRT/") {
		t.Errorf("gpu-short waits for Triton to build an engine:\n%s", r.out)
	}
}

// TestReportAndCompare go from a record to documents.
func TestReportAndCompare(t *testing.T) {
	s := start(t, "--engine", "null")
	dir := t.TempDir()
	path := filepath.Join(dir, "b.jsonl.zst")
	call(t, "bench", "single", "--target", s.url, "--target", s.url, "--name", "A", "--name", "B", "--format", "embed-base64", "--format", "embed-raw",
		"--metrics-url", s.metrics+"/metrics", "--requests", "30", "--rounds", "4", "--out", path, "--quiet", "--title", "Two formats").want(t, exitOK, "")
	if r := call(t, "report", path); r.code != exitOK || !strings.Contains(r.out, "# Two formats") || !strings.Contains(r.out, "| A |") {
		t.Errorf("%d %s\n%s", r.code, r.err, r.out)
	}
	html, charts := filepath.Join(dir, "r.html"), filepath.Join(dir, "charts")
	call(t, "report", path, "--format", "html", "--out", html, "--charts", charts).want(t, exitOK, "")
	if text, err := os.ReadFile(html); err != nil || !strings.Contains(string(text), "<svg") || strings.Contains(string(text), "http-equiv=\"refresh\"") {
		t.Errorf("%v, %d bytes", err, len(text))
	}
	if files, err := filepath.Glob(filepath.Join(charts, "*.svg")); err != nil || len(files) == 0 {
		t.Errorf("charts: %q, %v", files, err)
	}
	r := call(t, "report", path, "--format", "json")
	var doc struct {
		Schema   int
		Sections []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || doc.Schema == 0 || len(doc.Sections) == 0 {
		t.Errorf("%v: %+v", err, doc)
	}
	if r := call(t, "report", "--info", path); r.code != exitOK || !strings.Contains(r.out, "8 cells: 8 ok") || !strings.Contains(r.out, "subject B (embed-raw)") {
		t.Errorf("%d %s\n%s", r.code, r.err, r.out)
	}
	if r := call(t, "compare", path+"@A", path+"@B"); r.code != exitOK || !strings.Contains(r.out, "B") {
		t.Errorf("%d %s\n%s", r.code, r.err, r.out)
	}
	call(t, "compare", path+"@A", path+"@C").want(t, exitUsage, `no subject "C"`)
	call(t, "report", filepath.Join(dir, "none.jsonl")).want(t, exitFailure, "none.jsonl")
}

func TestProfileOfATrace(t *testing.T) {
	data := filepath.Join("..", "..", "internal", "lab", "scenario", "testdata")
	path := filepath.Join(t.TempDir(), "p.jsonl.zst")
	r := call(t, "bench", "profile", "--ort-trace", filepath.Join(data, "ort_trace.json"), "--onnx", filepath.Join(data, "ort_trace.onnx"),
		"--warmup", "1", "--out", path)
	if r.code != exitOK || !strings.Contains(r.out, "MatMul") || !strings.Contains(r.out, "Softmax") {
		t.Fatalf("%d %s\n%s", r.code, r.err, r.out)
	}
	c := loadRecord(t, path).Cells[0]
	if len(c.Operators) != 3 || len(c.Models) != 1 || c.Models[0].Nodes != 4 || c.Models[0].Opset != 17 {
		t.Errorf("%+v", c)
	}
	call(t, "bench", "profile", "--ort-trace", filepath.Join(data, "ort_trace.onnx"), "--out", filepath.Join(t.TempDir(), "q.jsonl.zst")).
		want(t, exitFailure, "ort_trace.onnx")
}

func TestBenchInProcess(t *testing.T) {
	dir := t.TempDir()
	tiny := filepath.Join(models, "tiny-gelu")
	path := filepath.Join(dir, "c.jsonl.zst")
	call(t, "bench", "profile", "--engine", "cpu", "--model", tiny, "--batch", "2", "--requests", "3", "--out", path, "--quiet", "--threads", "1").want(t, exitOK, "")
	c := loadRecord(t, path).Cells[0]
	calls := 0
	for _, o := range c.Operators {
		calls += o.Count
	}
	if len(c.Operators) == 0 || calls == 0 {
		t.Errorf("operators %+v", c.Operators)
	}
	path = filepath.Join(dir, "s.jsonl.zst")
	call(t, "bench", "session", "--engine", "cpu", "--model", tiny, "--requests", "3", "--out", path, "--quiet", "--threads", "1").want(t, exitOK, "")
	if m := loadRecord(t, path).Cells[0].Measures; len(m) != 1 || len(m[0].Values) != 3 || m[0].Values[0] <= 0 {
		t.Errorf("%+v", m)
	}
}

// TestBenchViews looks at what scenarios show beside their cells.
func TestBenchViews(t *testing.T) {
	s := start(t, "--engine", "null")
	for _, c := range []struct{ args, want []string }{
		{[]string{"breakdown", "--requests", "20", "--format", "oip-binary"}, []string{"COMPONENT", "Network"}},
		{[]string{"batching", "--requests", "20", "--concurrency", "4"}, []string{"Model executions", "Avg batch size"}},
		{[]string{"idle", "--duration", "1ms"}, []string{"nv_cpu_memory_used_bytes"}},
		{[]string{"cold-start", "--requests", "3"}, []string{"first request", "ms"}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := call(t, slices.Concat([]string{"bench"}, c.args, []string{"--target", s.url, "--metrics-url", s.metrics + "/metrics", "--quiet"})...)
			for _, want := range c.want {
				if r.code != exitOK || !strings.Contains(r.out, want) {
					t.Errorf("exit code %d, no %q in\n%s%s", r.code, want, r.out, r.err)
				}
			}
			if files, err := filepath.Glob("bench-" + c.args[0] + "-*.jsonl.zst"); err != nil || len(files) != 1 {
				t.Errorf("records %q, %v", files, err)
			}
		})
	}
}

// TestLink puts a network before a server and asks through it.
func TestLink(t *testing.T) {
	s := start(t, "--engine", "null")
	c := vitrine(t, "link", "--listen", "127.0.0.1:0", "--to", strings.TrimPrefix(s.url, "http://"), "--link", "rtt=80ms")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if err != nil || address == "" {
		t.Fatalf("printed %q, %v", line, err)
	}
	began := time.Now()
	if status, _, _ := do(t, http.MethodGet, "http://"+address+"/healthz", nil); status != http.StatusOK {
		t.Errorf("status %d through the link", status)
	}
	if took := time.Since(began); took < 160*time.Millisecond { // to connect, and to ask
		t.Errorf("two round trips of 80 ms took %v", took)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("asked to stop: %v", err)
	}
}

func TestACommandLineNamesNoFolders(t *testing.T) {
	for in, want := range map[string]string{
		"/usr/local/bin/vitrine": "vitrine", "--out=/home/me/r.jsonl.zst": "--out=r.jsonl.zst", "python=/opt/venv/bin/python": "python=python",
		"http://127.0.0.1:8000/metrics": "http://127.0.0.1:8000/metrics", "studies/reference.yaml": "studies/reference.yaml",
		"fastapi_options=--python /opt/venv/bin/python": "fastapi_options=--python python", "./vitrine": "./vitrine",
	} {
		if got := absolutePath.ReplaceAllString(in, "$1"); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

func TestBenchUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"single", "--format", "soap"}, `format "soap": want one of embed-base64`},
		{[]string{"single", "--target", "::"}, "want a URL such as"},
		{[]string{"single", "--target", "a", "--target", "b", "--format", "embed-raw", "--format", "embed-raw", "--format", "embed-raw"}, "3 --format for 2 --target"},
		{[]string{"single", "--target", "http://a", "--target", "http://a"}, "give each a --name"},
		{[]string{"single", "--label", "price"}, "want KEY=VALUE"},
		{[]string{"single", "--label", "X:price=3"}, `no target is called "X"`},
		{[]string{"single", "--header", "none"}, "want NAME: VALUE"},
		{[]string{"batch", "--batch", "0"}, "batch: 0 is not between"},
		{[]string{"rate"}, "--rate is missing"},
		{[]string{"rate", "--search"}, "--search needs --bound"},
		{[]string{"rate", "--search", "--bound", "1s", "--rate", "5"}, "leave --rate out"},
		{[]string{"rate", "--rate", "5", "--arrival", "sometimes"}, "want one of poisson, constant"},
		{[]string{"scaling", "--instances", "1,2"}, "needs --start"},
		{[]string{"serialization", "--encoding", "xml"}, `formats: "xml"`},
		{[]string{"study"}, "accepts 1 arg"},
		{[]string{"study", "none.yaml", "--out", "x"}, "none.yaml"},
		{[]string{"study", "none.yaml", "--set", "x"}, "want NAME=VALUE"},
		{[]string{"nothing"}, "nothing"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Chdir(t.TempDir())
			call(t, append([]string{"bench"}, c.args...)...).want(t, exitUsage, c.want)
			if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
				t.Errorf("files were made: %v", files)
			}
		})
	}
	for _, args := range [][]string{{"link"}, {"link", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--link", "rtt=fast"}, {"compare", "a"}, {"report"}} {
		call(t, args...).want(t, exitUsage, "")
	}
}
