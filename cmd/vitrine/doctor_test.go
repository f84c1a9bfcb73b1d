package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/host"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tune"
)

func TestDoctorTellsWhatRuns(t *testing.T) {
	r := call(t, "doctor", "--torch-python", "no-such-python", "--require", "cpu", "--require", "cpu:fp32")
	r.want(t, exitOK, "")
	for _, want := range []string{"Processor", "libjpeg-turbo", "no no-such-python on the path", "--engine auto takes c", "(order: cuda, cpu)"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	var d diagnosis
	if err := json.Unmarshal([]byte(call(t, "doctor", "--format", "json", "--torch-python", "no-such-python").out), &d); err != nil {
		t.Fatal(err)
	}
	runs := map[string]bool{}
	for _, e := range d.Engines {
		runs[e.Engine+":"+string(e.Precision)] = e.Runs
	}
	if !runs["cpu:fp32"] || !runs["null:fp32"] || runs["torch:fp16"] || d.Processor.Cores != runtime.GOMAXPROCS(0) || d.Memory.Total == 0 {
		t.Errorf("%+v", d)
	}
}

func TestDoctorFailsWhereWhatIsRequiredDoesNotRun(t *testing.T) {
	call(t, "doctor", "--torch-python", "no-such-python", "--require", "torch:fp16").want(t, exitFailure, "engine torch:fp16 does not run here: no no-such-python on the path")
	call(t, "doctor", "--require", "gpu").want(t, exitUsage, `no engine "gpu"`)
	call(t, "doctor", "--require", "cpu:fp16").want(t, exitUsage, "engine cpu has the precisions [fp32 bf16]")
	call(t, "doctor", "--batch", "0").want(t, exitUsage, "at least 1")
}

// tinyModel is a model that is quick on any engine.
const tinyModel = "../../testdata/models/tiny-gelu"

// TestTuneIsWhatAutoTakes tunes, and then has serve choose, with a choice that no documented order makes.
func TestTuneIsWhatAutoTakes(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	r := call(t, "doctor", "--tune", "--model", tinyModel, "--batch", "1,2", "--torch-python", "no-such-python", "--format", "json")
	r.want(t, exitOK, "cpu fp32: ")
	var d diagnosis
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		t.Fatal(err)
	}
	if d.Tuning == nil || !strings.HasPrefix(d.Tuning.File, filepath.Join(cache, "vitrine", "tune")) || !strings.HasPrefix(d.Auto.Reason, "tuned: cpu") {
		t.Fatalf("%s", r.out)
	}
	m := openTiny(t)
	o := plantOptions{engine: engineFlags{name: autoEngine, precision: "fp32"}, log: quiet()}
	o.chooseEngine(t.Context(), m)
	if o.engine.name != "cpu" || !strings.HasPrefix(o.choice, "tuned: cpu fp32: ") {
		t.Errorf("%+v %q", o.engine, o.choice)
	}
	// The null engine is never timed; a file that says so shows that the file is what counts.
	c := d.Tuning.Choice
	c.Results = []tune.Result{
		{Engine: "cpu", Precision: engine.FP32, Timings: []tune.Timing{{Batch: 1, Median: time.Second}}},
		{Engine: "null", Precision: engine.FP32, Timings: []tune.Timing{{Batch: 1, Median: time.Millisecond}}},
		{Engine: "torch" + compiled, Precision: engine.BF16, Timings: []tune.Timing{{Batch: 1, Median: time.Millisecond}}},
	}
	if err := tune.Save(d.Tuning.File, c); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--model", tinyModel, "--precision", "fp32")
	_, _, body := do(t, http.MethodGet, s.url+"/model-info", nil)
	if info := string(body); !strings.Contains(info, `"engine":"null"`) || !strings.Contains(info, `"engine_choice":"tuned: null fp32: 1000 images/s (batch 1 1 ms)"`) {
		t.Errorf("%s", info)
	}
	// What does not run any more is not taken: there is no such Python.
	o = plantOptions{engine: engineFlags{name: autoEngine, precision: "bf16", torch: torchFlags{python: "no-such-python"}}, log: quiet()}
	o.chooseEngine(t.Context(), m)
	if o.engine.name != autoEngine || !strings.Contains(o.choice, "not tuned") {
		t.Errorf("%+v %q", o.engine, o.choice)
	}
}

func TestUseTakesCompilationApart(t *testing.T) {
	var e engineFlags
	e.use("torch"+compiled, engine.BF16)
	if e.name != "torch" || !e.torch.compile || e.precision != "bf16" {
		t.Errorf("%+v", e)
	}
}

// card is one GPU.
type card struct{}

func (card) Cards() []gpu.Card {
	return []gpu.Card{{Index: 0, Name: "H100", UUID: "GPU-1", Driver: "580"}}
}
func (card) Read(int) (gpu.Reading, error) {
	return gpu.Reading{MemoryTotal: 80, MemoryUsed: 3, Utilization: .5, Power: -1, PowerLimit: -1, Energy: 7, Temperature: 30, ClockSM: 1e9, ClockMemory: 1e9}, nil
}

func TestCardsAreInMetricsAndGPUInfo(t *testing.T) {
	m := telemetry.NewMetrics(telemetry.MetricsOptions{})
	all := addDevices(m, time.Hour, func() (gpu.Source, error) { return card{}, nil })()
	if len(all) != 1 || all[0].Name != "H100" || all[0].Power != nil || *all[0].Utilization != .5 || *all[0].Energy != 0 {
		t.Errorf("%+v", all)
	}
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for name, want := range map[string]bool{"nv_gpu_memory_used_bytes": true, "nv_gpu_power_usage": false, "nv_energy_consumption": true, "go_goroutines": true} {
		if names[name] != want {
			t.Errorf("%s: %v", name, names[name])
		}
	}
	none := addDevices(telemetry.NewMetrics(telemetry.MetricsOptions{}), time.Hour, func() (gpu.Source, error) { return nil, errors.New("no driver") })
	if none != nil {
		t.Error("a machine without a card has some")
	}
}

func TestProfileTables(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "p.jsonl.zst")
	r := call(t, "profile", "--model", tinyModel, "--engine", "cpu", "--batch", "1,2", "--runs", "3", "--warmup", "1", "--creations", "2", "--record", kept)
	r.want(t, exitOK, "")
	for _, want := range []string{"OPERATOR", "fc1+activation", "BATCH SIZE", "SCALING", "Session creation", "record: " + kept} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	data, err := record.Load(kept)
	if err != nil || len(data.Runs[0].Cells) != 4 {
		t.Errorf("%+v, %v", data, err)
	}
	var doc struct{ Sections []struct{ ID string } }
	out := filepath.Join(t.TempDir(), "p.json")
	call(t, "profile", "--model", tinyModel, "--batch", "1", "--runs", "2", "--creations", "0", "--format", "json", "-o", out).want(t, exitOK, "")
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Sections) != 1 || doc.Sections[0].ID != "profile" {
		t.Errorf("%+v, %v", doc, err)
	}
}

func TestProfileTrace(t *testing.T) {
	r := call(t, "profile", "--model", tinyModel, "--engine", "cpu", "--runs", "2", "--warmup", "0", "--format", "chrome-trace")
	r.want(t, exitOK, "")
	var trace struct{ TraceEvents []traceEvent }
	if err := json.Unmarshal([]byte(r.out), &trace); err != nil {
		t.Fatal(err)
	}
	spans, end := map[string]int{}, 0.0
	for _, e := range trace.TraceEvents {
		if e.Phase != "X" {
			continue
		}
		spans[e.Name]++
		if e.Time < end-0.002 { // microseconds are rounded
			t.Errorf("%s begins at %v, before %v", e.Name, e.Time, end)
		}
		end = e.Time + e.Duration
	}
	if spans["input"] != 2 || spans["qkv"] < 4 {
		t.Errorf("%v", spans)
	}
	call(t, "profile", "--model", tinyModel, "--engine", "null", "--format", "chrome-trace").want(t, exitFailure, "engine null lists no calls")
	call(t, "profile", "--batch", "0").want(t, exitUsage, "at least 1")
}

func openTiny(t *testing.T) *model.Model {
	t.Helper()
	m, err := model.Open(t.Context(), tinyModel, model.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestNamedCardsTakeWhatWasTunedOnACard has auto choose from a file by which the processor is fastest.
func TestNamedCardsTakeWhatWasTunedOnACard(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	folder, err := tuneFolder()
	if err != nil {
		t.Fatal(err)
	}
	m := openTiny(t)
	timed := func(name, device string, median time.Duration) tune.Result {
		return tune.Result{Engine: name, Device: device, Precision: engine.FP32, Timings: []tune.Timing{{Batch: 1, Median: median}}}
	}
	named := deviceFlags{gpus: "0"}
	for _, d := range []deviceFlags{{}, named} { // without a card both are one file
		machine := machineKey(host.Read(), d.kinds())
		c := tune.Choice{Machine: machine, Weights: m.WeightsHash, Results: []tune.Result{
			timed("cpu", "cpu", time.Millisecond), timed("null", "cuda:0", time.Second), timed("torch", "cuda:0", time.Minute)}}
		if err := tune.Save(tune.File(folder, machine, m.WeightsHash), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		devices deviceFlags
		want    string
	}{{deviceFlags{}, "cpu"}, {named, "null"}} {
		o := plantOptions{engine: engineFlags{name: autoEngine, precision: "fp32"}, devices: c.devices, log: quiet()}
		o.chooseEngine(t.Context(), m)
		if o.engine.name != c.want || !strings.HasPrefix(o.choice, "tuned: "+c.want+" fp32: ") {
			t.Errorf("--gpus %s: %s, %q", c.devices.gpus, o.engine.name, o.choice)
		}
	}
}

func TestDoctorRefusesCardsThatAreNotThere(t *testing.T) {
	call(t, "doctor", "--gpus", "99").want(t, exitUsage, "cannot compute on card 99")
	call(t, "doctor", "--gpus", "0,0").want(t, exitUsage, "different numbers of cards")
}

func TestMachineKey(t *testing.T) {
	h := record.Host{CPU: "EPYC", Cores: 4, GPUs: []record.GPU{{Name: "H100", Driver: "580"}, {Name: "L4", Driver: "580"}}}
	for want, kinds := range map[string][]string{
		"EPYC; 4 processors":                                 nil,
		"EPYC; 4 processors; L4 driver 580":                  {"L4"},
		"EPYC; 4 processors; H100 driver 580; L4 driver 580": {"H100", "L4"},
	} {
		if got := machineKey(h, kinds); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
