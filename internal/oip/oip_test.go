package oip

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// echo answers its inputs.
type echo struct {
	meta   Metadata
	config Config
	hold   chan struct{} // closed lets requests go
	closed chan struct{}
}

func newEcho(name, version string) *echo {
	return &echo{
		meta: Metadata{Name: name, Version: version,
			Inputs:  []TensorSpec{{Name: "x", DType: tensor.FP32, Shape: []int64{-1, 2}}},
			Outputs: []TensorSpec{{Name: "y", DType: tensor.FP32, Shape: []int64{-1, 2}, Labels: []string{"ant"}}}},
		config: Config{MaxBatchSize: 4}, closed: make(chan struct{}),
	}
}

func (e *echo) Metadata() *Metadata    { return &e.meta }
func (e *echo) Config() *Config        { return &e.config }
func (e *echo) Ready() bool            { return true }
func (e *echo) Statistics() Statistics { return Statistics{} }
func (e *echo) Close() error           { close(e.closed); return nil }
func (e *echo) Infer(_ context.Context, r *Request) (*Response, error) {
	if e.hold != nil {
		<-e.hold
	}
	in := r.Inputs[0]
	return &Response{Model: e.meta.Name, Version: e.meta.Version, Outputs: []Output{{Name: "y", DType: in.DType, Shape: in.Shape, Data: in.Data}}}, nil
}

func request(data []byte) *Request {
	return &Request{Model: "m", ID: "7", Inputs: []Input{{Name: "x", DType: tensor.FP32, Shape: []int64{int64(len(data) / 8), 2}, Data: data}}}
}

func server(t *testing.T, models ...Model) *Server {
	t.Helper()
	r := NewRegistry(Known(models))
	for _, m := range models {
		if err := r.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return NewServer(r, nil)
}

func want(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("%v (%v), want %v %s", err, fault.KindOf(err), kind, text)
	}
}

func TestVersions(t *testing.T) {
	s := server(t, newEcho("m", "10"), newEcho("m", "2"), newEcho("a", "1"))
	for version, answers := range map[string]string{"": "10", "2": "2", "10": "10"} {
		r := request(make([]byte, 8))
		r.Version = version
		got, err := s.Infer(t.Context(), r)
		if err != nil || got.Version != answers || got.ID != "7" {
			t.Errorf("version %q: %+v, %v", version, got, err)
		}
	}
	if d := cmp.Diff([]string{"2", "10"}, s.Models.Versions("m")); d != "" {
		t.Error(d)
	}
	for version, text := range map[string]string{"3": "'m' version 3 is not found", "0": "version 0 is not found"} {
		_, err := s.Models.Get("m", version)
		want(t, err, fault.NotFound, text)
	}
	_, err := s.Models.Get("m", "x")
	want(t, err, fault.Invalid, "version should be an integral value > 0")
	_, err = s.Models.Models("m", "3")
	want(t, err, fault.Invalid, "requested model version is not available for model 'm'")
	_, err = s.Models.Models("z", "")
	want(t, err, fault.Invalid, "requested model 'z' is not available")
	index := []IndexEntry{{Name: "a", Version: "1", State: "READY"}, {Name: "m", Version: "2", State: "READY"}, {Name: "m", Version: "10", State: "READY"}}
	if d := cmp.Diff(index, s.Models.Index(true)); d != "" {
		t.Error(d)
	}
}

// TestUnloadWaitsForRequests unloads a model while it answers.
func TestUnloadWaitsForRequests(t *testing.T) {
	m := newEcho("m", "1")
	m.hold = make(chan struct{})
	s := server(t, m)
	call, err := s.Begin(request(make([]byte, 8)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Models.Unload("m"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Begin(request(make([]byte, 8)))
	want(t, err, fault.NotFound, "'m' has no available versions")
	select {
	case <-m.closed:
		t.Error("closed with a request inside")
	default:
	}
	close(m.hold)
	if _, err := call.Run(t.Context()); err != nil {
		t.Error(err)
	}
	<-m.closed
	if d := cmp.Diff([]IndexEntry{{Name: "m", Version: "1", State: "UNAVAILABLE", Reason: "unloaded"}}, s.Models.Index(false)); d != "" {
		t.Error(d)
	}
	if err := s.Models.Load(t.Context(), "m", "", nil); err != nil {
		t.Error(err)
	}
	if _, err := s.Models.Get("m", "1"); err != nil {
		t.Error(err)
	}
	want(t, s.Models.Load(t.Context(), "z", "", nil), fault.Mistaken, "failed to load 'z', failed to poll from model repository")
	want(t, s.Models.Load(t.Context(), "m", "{}", nil), fault.Unimplemented, "no other configuration")
	want(t, NewRegistry(nil).Unload("m"), fault.Unavailable, "explicit model load / unload is not allowed")
}

func TestChecks(t *testing.T) {
	s := server(t, newEcho("m", "1"))
	for _, c := range []struct {
		change func(*Request)
		text   string
	}{
		{func(r *Request) { r.Inputs = nil }, "[request id: 7] expected 1 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing required input(s) ['x']. Please provide all required input(s)."},
		{func(r *Request) { r.Inputs[0].Name = "z" }, "unexpected inference input 'z' for model 'm'"},
		{func(r *Request) { r.Inputs[0].DType = tensor.Int32 }, "data-type is 'INT32', but model 'm' expects 'FP32'"},
		{func(r *Request) { r.Inputs[0].Shape = []int64{1, 3} }, "Expected [-1,2], got [1,3]. NOTE:"},
		{func(r *Request) { r.Inputs[0].Shape = []int64{5, 2} }, "inference request batch-size must be <= 4 for 'm'"},
		{func(r *Request) { r.Inputs[0].Shape = []int64{-1, 2} }, "batch-size must be <= 4"},
		{func(r *Request) { r.Inputs[0].Shape = nil }, "input 'x' has no shape"},
		{func(r *Request) { r.Inputs[0].Data = make([]byte, 7) }, "input byte size mismatch for input 'x' for model 'm'. Expected 8, got 7"},
		{func(r *Request) { r.Inputs = append(r.Inputs, r.Inputs[0]) }, "input 'x' already exists in request"},
		{func(r *Request) { r.Outputs = []RequestedOutput{{Name: "z"}} }, "unexpected inference output 'z' for model 'm'"},
	} {
		r := request(make([]byte, 8))
		c.change(r)
		_, err := s.Infer(t.Context(), r)
		want(t, err, fault.Invalid, c.text)
	}
}

func TestClassification(t *testing.T) {
	s := server(t, newEcho("m", "1"))
	data := binary.LittleEndian.AppendUint64(nil, 0x3f8000003f000000) // 0.5, 1
	data = binary.LittleEndian.AppendUint64(data, 0x3f8000003f800000) // 1, 1
	r := request(data)
	r.Outputs = []RequestedOutput{{Name: "y", Classification: 9}}
	got, err := s.Infer(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for b := got.Outputs[0].Data; len(b) > 0; {
		n := 4 + binary.LittleEndian.Uint32(b)
		texts, b = append(texts, string(b[4:n])), b[n:]
	}
	if d := cmp.Diff([]string{"1.000000:1", "0.500000:0:ant", "1.000000:0:ant", "1.000000:1"}, texts); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int64{2, 2}, got.Outputs[0].Shape); d != "" {
		t.Error(d)
	}
}

func TestSharedMemory(t *testing.T) {
	s := server(t, newEcho("m", "1"))
	s.Regions.root = t.TempDir()
	path := filepath.Join(s.Regions.root, "k")
	content := []byte(strings.Repeat("abcdefgh", 1024))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Regions.Register("r", "/k", 4096, 64); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, key    string
		offset, size uint64
		text         string
	}{
		{"r", "/k", 0, 1, "shared memory region 'r' already in manager"},
		{"s", "/k", 0, 1 << 40, "failed to register shared memory region 's': invalid args"},
		{"s", "/k", 1 << 40, 1, "invalid args"},
		{"s", "/k", 1<<64 - 4096, 8192, "Invalid shared memory region: '/k'"},
		{"s", "/k", 1, 1, "unable to process address space"},
		{"s", "/k", 0, 0, "Invalid shared memory region: '/k'"},
		{"s", "../k", 0, 1, "Unable to open shared memory region: '../k'"},
		{"s", "/none", 0, 1, "Unable to open"},
		{"s", "", 0, 1, "Unable to open"},
	} {
		if err := s.Regions.Register(c.name, c.key, c.offset, c.size); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	r := request(make([]byte, 8))
	r.Inputs[0].Data, r.Inputs[0].Memory = nil, &Memory{"r", 8, 8}
	r.Outputs = []RequestedOutput{{Name: "y", Memory: &Memory{"r", 32, 16}}}
	got, err := s.Infer(t.Context(), r)
	if err != nil || got.Outputs[0].Data != nil || *got.Outputs[0].Memory != (Memory{"r", 32, 8}) {
		t.Errorf("%+v, %v", got, err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after[4096+32:4096+40]) != "abcdefgh" {
		t.Errorf("%q, %v", after[4096+32:4096+40], err)
	}
	for _, m := range []Memory{{"none", 0, 8}, {"r", 64, 8}, {"r", 60, 8}, {"r", 1<<64 - 4, 8}, {"r", 0, 0}} {
		r.Inputs[0].Memory = &m
		if _, err := s.Infer(t.Context(), r); err == nil {
			t.Errorf("%+v was read", m)
		}
	}
	// The client takes the memory away: refused, whether it is noticed before or by the fault itself.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Regions.read(&Memory{"r", 0, 8}); err == nil || !strings.Contains(err.Error(), "made smaller") {
		t.Error(err)
	}
	if err := guardedCopy(make([]byte, 8), s.Regions.regions["r"].memory.(*mapped).memory[:8], "r"); err == nil {
		t.Error("memory that is gone was read")
	}
	s.Regions.Unregister("r")
	if all, err := s.Regions.Status(""); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	_, err = s.Regions.Status("r")
	want(t, err, fault.NotFound, "Unable to find system shared memory region: 'r'")
}

func TestStatisticsCountAnExecutionOnce(t *testing.T) {
	var c Recorder
	base := time.Now()
	line := telemetry.Timeline{BatchSize: 3}
	for i, s := range []telemetry.Stamp{telemetry.Queued, telemetry.Batched, telemetry.InputReady, telemetry.Computed, telemetry.OutputReady} {
		line.At[s] = base.Add(time.Duration(i*i) * time.Millisecond)
	}
	c.Success(&line, 1, 20*time.Millisecond)
	c.Success(&line, 2, 20*time.Millisecond) // the same execution
	line.At[telemetry.Computed] = line.At[telemetry.Computed].Add(time.Second)
	line.BatchSize = 1
	c.Success(&line, 1, 20*time.Millisecond)
	c.Failure(time.Millisecond)
	s := c.Statistics()
	if s.InferenceCount != 4 || s.ExecutionCount != 2 || s.Infer.Success != (Duration{3, 60e6}) || s.Infer.Fail != (Duration{1, 1e6}) ||
		s.Infer.Queue != (Duration{3, 3e6}) || s.LastInference == 0 {
		t.Errorf("%+v", s)
	}
	if len(s.Batches) != 2 || s.Batches[0].BatchSize != 1 || s.Batches[1].BatchSize != 3 || s.Batches[1].ComputeInfer != (Duration{1, 5e6}) {
		t.Errorf("%+v", s.Batches)
	}
}

func TestSettings(t *testing.T) {
	trace := NewTraceSettings()
	if err := trace.Update("m", map[string][]string{"trace_rate": {"7"}, "unheard": {"x"}}); err != nil {
		t.Fatal(err)
	}
	if trace.Get("m")["trace_rate"][0] != "7" || trace.Get("")["trace_rate"][0] != "1000" {
		t.Error("a model's setting is the server's, or lost")
	}
	if err := trace.Update("m", map[string][]string{"trace_rate": nil}); err != nil || trace.Get("m")["trace_rate"][0] != "1000" {
		t.Error("a cleared setting stays")
	}
	want(t, trace.Update("", map[string][]string{"trace_file": {"/etc/passwd"}}), fault.Unimplemented, "can not be updated")
	want(t, trace.Update("", map[string][]string{"trace_count": {"x"}}), fault.Invalid, "Unable to parse 'trace_count', got: x")
	log := NewLogSettings()
	var told Log
	log.OnChange = func(l Log) { told = l }
	if err := log.Update(map[string]any{"log_verbose_level": uint64(2), "log_info": false}); err != nil || told.VerboseLevel != 2 || log.Get().Info {
		t.Errorf("%v %+v", err, told)
	}
	want(t, log.Update(map[string]any{"log_file": "x"}), fault.Unimplemented, "can not be updated")
}
