package scenario

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/target"
	"github.com/vitrine-project/vitrine/internal/wire"
)

// TestORTTrace compares with what Python's standard library adds up of the same file (testdata/ort_trace.py).
func TestORTTrace(t *testing.T) {
	trace, err := os.ReadFile("testdata/ort_trace.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/ort_trace.expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		Runs      []int64             `json:"runs_us"`
		Operators map[string][2]int64 `json:"operators"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	for skip, key := range []string{"0", "1"} {
		got, err := ReadORTTrace(bytes.NewReader(trace), skip)
		if err != nil {
			t.Fatal(err)
		}
		operators := map[string][2]int64{}
		for i, o := range got.Operators {
			operators[o.Name+"/"+o.Where] = [2]int64{o.Total.Microseconds(), int64(o.Count)}
			if i > 0 && o.Total > got.Operators[i-1].Total {
				t.Error("operators are not sorted by time")
			}
		}
		var runs []int64
		for _, r := range got.Runs {
			runs = append(runs, r.Microseconds())
		}
		if diff := cmp.Diff(expected[key].Operators, operators); diff != "" {
			t.Errorf("warm-up of %d: %s", skip, diff)
		}
		if diff := cmp.Diff(expected[key].Runs, runs); diff != "" {
			t.Errorf("warm-up of %d: %s", skip, diff)
		}
		if got.Nodes != 4 || got.CutOff {
			t.Errorf("%d nodes, cut off %v", got.Nodes, got.CutOff)
		}
	}
	if got, err := ReadORTTrace(bytes.NewReader(trace[:len(trace)/2]), 0); err != nil || !got.CutOff {
		t.Errorf("half a trace: %+v, %v", got, err)
	}
	if _, err := ReadORTTrace(bytes.NewReader(trace), 4); err == nil || !strings.Contains(err.Error(), "leaves none") {
		t.Errorf("all runs left out: %v", err)
	}
}

func TestNoORTTrace(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", "[", "[1]", `[{"cat":"Session"}]`, `[{"cat":1}]`} {
		if _, err := ReadORTTrace(strings.NewReader(text), 0); err == nil {
			t.Errorf("%q is taken for a trace", text)
		}
	}
}

func FuzzORTTrace(f *testing.F) {
	f.Add(`[{"cat":"Node","name":"a_kernel_time","ts":1,"dur":2,"args":{"op_name":"MatMul","provider":"CPU"}},{"cat":"Session","name":"model_run","ts":1,"dur":3}]`, 0)
	f.Add(`[{"cat":"Node"`, 1)
	f.Fuzz(func(t *testing.T, text string, warmup int) {
		got, err := ReadORTTrace(strings.NewReader(text), max(warmup, 0))
		if err == nil && len(got.Operators) == 0 && got.Inside != 0 {
			t.Error("time without operators")
		}
	})
}

func TestDescribeONNX(t *testing.T) {
	got, err := DescribeONNX("testdata/ort_trace.onnx")
	if err != nil || got.Opset != 17 || got.Nodes != 4 || got.Name != "ort_trace.onnx" || got.Bytes < 8192 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := DescribeONNX("testdata/ort_trace.json"); err == nil {
		t.Error("JSON is taken for a model")
	}
}

func FuzzONNX(f *testing.F) {
	f.Add([]byte{0x42, 0x02, 0x10, 0x0e, 0x3a, 0x02, 0x0a, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		if opset, nodes, err := onnxShape(b); err == nil && (opset == 0 || nodes < 0 || nodes > len(b)) {
			t.Errorf("opset %d, %d nodes in %d bytes", opset, nodes, len(b))
		}
	})
}

func testImage() *target.Image {
	m := &target.Image{Width: 4, Height: 2, JPEG: []byte("\xff\xd8 not looked at"), Tensor: make([]float32, 3*4*2)}
	for i := range m.Tensor {
		m.Tensor[i] = float32(math.Sin(float64(i))) * 2.1
	}
	return m
}

// TestBodies reads what the encoders write with the server's parser.
func TestBodies(t *testing.T) {
	m := testImage()
	b, header := binaryBody(m, 2, nil)
	text := jsonBody(m, 2, nil)
	var data [2][]byte
	for i, c := range []struct {
		body   []byte
		header int
	}{{b, header}, {text, len(text)}} {
		var r wire.Request
		if err := r.Parse(c.body, c.header, "m"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{2, 3, 2, 4}, r.Inputs[0].Shape); diff != "" {
			t.Error(diff)
		}
		data[i] = bytes.Clone(r.Inputs[0].Data)
	}
	if !bytes.Equal(data[0], data[1]) || len(data[0]) != 2*4*len(m.Tensor) {
		t.Error("JSON and binary hold other numbers")
	}
	var request struct{ Images []string }
	if err := json.Unmarshal(base64Body(m, 3, nil), &request); err != nil || len(request.Images) != 3 {
		t.Fatalf("%v, %v", request, err)
	}
	if jpeg, err := base64.StdEncoding.DecodeString(request.Images[2]); err != nil || !bytes.Equal(jpeg, m.JPEG) {
		t.Errorf("%q, %v", jpeg, err)
	}
}

func TestEncodersMeasure(t *testing.T) {
	for _, format := range []string{"json", "binary", "base64_jpeg"} {
		for name, f := range map[string]func(context.Context, string, *target.Image, int, int, int) (encoding, error){"go": encodeGo, "server": decodeServer} {
			e, err := f(t.Context(), format, testImage(), 2, 5, 1)
			if err != nil || len(e.times) != 5 || e.bytes != len(body(format, testImage(), 2, nil)) {
				t.Errorf("%s %s: %+v, %v", name, format, e, err)
			}
		}
	}
}

// TestPythonEncoder checks the script against the Go encoders, where a Python with numpy is.
func TestPythonEncoder(t *testing.T) {
	python := os.Getenv("VITRINE_PYTHON")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import numpy").Run() != nil {
		t.Skip("no Python with numpy")
	}
	for _, format := range []string{"json", "binary", "base64_jpeg"} {
		e, err := encodePython(t.Context(), python, format, testImage(), 2, 3, 1)
		ours := len(body(format, testImage(), 2, nil))
		if err != nil || len(e.times) != 3 || e.bytes < ours || e.bytes > ours+ours/3 { // json.dumps writes spaces
			t.Errorf("%s: %+v, %v; ours has %d bytes", format, e, err, ours)
		}
	}
}

func TestNoPython(t *testing.T) {
	for _, python := range []string{"", "no-such-python"} {
		if _, err := encodePython(t.Context(), python, "json", testImage(), 1, 1, 0); !errors.Is(err, errLeftOut) {
			t.Errorf("%q: %v is no reason to leave a cell out", python, err)
		}
	}
}

func TestProcess(t *testing.T) {
	var log bytes.Buffer
	p, err := startProcess("echo hello $WHO; sleep 600 & wait", map[string]string{"WHO": "you"}, &log)
	if err != nil {
		t.Fatal(err)
	}
	p.stop(5 * time.Second)
	if groupRuns(p.cmd.Process.Pid) {
		t.Error("the group still runs")
	}
	p, err = startProcess("trap '' TERM; echo deaf; sleep 600", nil, &log)
	if err != nil {
		t.Fatal(err)
	}
	p.stop(10 * time.Millisecond)
	if p.failure == nil {
		t.Error("a process that was killed ended well")
	}
}

// TestStopWaitsForTheWholeGroup stops a shell whose child takes its time.
func TestStopWaitsForTheWholeGroup(t *testing.T) {
	done := filepath.Join(t.TempDir(), "done")
	up := done + ".up"
	p, err := startProcess("sh -c 'trap \"sleep 0.2; touch "+done+"; exit\" TERM; touch "+up+"; while :; do sleep 0.01; done'; true", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := os.Stat(up); err != nil; _, err = os.Stat(up) {
		runtime.Gosched()
	}
	p.stop(time.Minute)
	if _, err := os.Stat(done); err != nil {
		t.Error("the child was not waited for")
	}
}

func TestWaitReady(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if _, err := waitReady(t.Context(), server.URL, nil, time.Minute); err != nil || asked.Load() != 4 {
		t.Errorf("%v after %d questions", err, asked.Load())
	}
	p, err := startProcess("exit 3", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked.Store(-1 << 30)
	if _, err := waitReady(t.Context(), server.URL, p, time.Minute); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a server that ended: %v", err)
	}
	if _, err := waitReady(t.Context(), server.URL, nil, 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "within 20ms") {
		t.Errorf("a server that is never ready: %v", err)
	}
}
