package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/batcher"
	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/model/repository"
)

const reference = "../../internal/model/repository/testdata/reference"

// indexLine is a line of the repository index.
type indexLine struct{ Name, Version, State, Reason string }

func (r *running) index() (all []indexLine) {
	r.t.Helper()
	status, _, body := do(r.t, "POST", r.url+"/v2/repository/index", nil)
	if err := json.Unmarshal(body, &all); err != nil || status != http.StatusOK {
		r.t.Fatalf("%d %s, %v", status, body, err)
	}
	return all
}

func (r *running) states() (all []string) {
	for _, l := range r.index() {
		all = append(all, strings.TrimSpace(l.Name+"/"+l.Version+" "+l.State))
	}
	return all
}

// says makes a request and wants a status and a text in the answer.
func (r *running) says(method, path, body string, status int, text string) {
	r.t.Helper()
	got, _, answer := do(r.t, method, r.url+path, strings.NewReader(body))
	if got != status || !strings.Contains(string(answer), text) {
		r.t.Errorf("%s %s: %d %.300s, want %d %s", method, path, got, answer, status, text)
	}
}

func (r *running) embedding(path string, header string) []float32 {
	r.t.Helper()
	request, err := http.NewRequest("POST", r.url+path, bytes.NewReader(photo(r.t, "chelsea.png")))
	if err != nil {
		r.t.Fatal(err)
	}
	if header != "" {
		request.Header.Set("Inference-Header-Content-Length", header)
	}
	request.Header.Set("Accept", "application/octet-stream")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || len(b) < 4*32 {
		r.t.Fatalf("%s: %d %s, %v", path, response.StatusCode, b, err)
	}
	b = b[len(b)-4*32:] // behind the header of an answer in tensors
	v := make([]float32, 32)
	for i := range v {
		v[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
	}
	return v
}

// exported writes a model as a repository and returns its folder and the model's name.
func exported(t *testing.T, model string) (root, name string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "models")
	if out, err := vitrine(t, "model", "export", filepath.Join(models, model), "--format", "repository", "--output", root).CombinedOutput(); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}
	return root, entries[0].Name()
}

// TestServeARepository exports a model as a repository and serves that: three models over one queue,
// and the embedding API, with the vectors of the model itself.
func TestServeARepository(t *testing.T) {
	root, name := exported(t, "tiny-quickgelu")
	plain := start(t, "--model", filepath.Join(models, "tiny-quickgelu"), "--precision", "fp32")
	want := plain.embedding("/embed", "")
	plain.signal()
	plain.exit(exitOK)

	r := start(t, "--model-repository", root, "--precision", "fp32", "--grpc", "127.0.0.1:0")
	if d := cmp.Diff([]string{name + "/1 READY", name + "_jpeg/1 READY", name + "_u8/1 READY"}, r.states()); d != "" {
		t.Error(d)
	}
	for path, header := range map[string]string{"/embed": "", "/v2/models/" + name + "_jpeg/infer": "0"} {
		if c := cosineOf(r.embedding(path, header), want); !(c > 0.999999) {
			t.Errorf("%s: cosine %v", path, c)
		}
	}
	r.says("GET", "/v2/models/"+name, "", 200, `"inputs":[{"name":"image","datatype":"FP32","shape":[-1,3,224,224]}]`)
	r.says("GET", "/v2/models/"+name+"_u8/config", "", 200, `"queue_of":{"string_value":"`+name+`"}`)
	r.says("GET", "/v2/health/ready", "", 200, "")
	r.says("POST", "/v2/repository/models/"+name+"/unload", "{}", 503, "explicit model load / unload is not allowed")
	r.says("GET", "/model-info", "", 200, `"embedding_dim":32`)
	if _, _, metrics := do(t, "GET", r.metrics+"/metrics", nil); !strings.Contains(string(metrics), `nv_inference_request_success{model="`+name+`",version="1"} 2`) {
		t.Error("the requests of the queue are not in its metrics")
	}
	r.signal()
	r.exit(exitOK)
}

func cosineOf(a, b []float32) float64 {
	wide := make([]float64, len(b))
	for i := range b {
		wide[i] = float64(b[i])
	}
	return cosine(a, wide)
}

// unservable is what is wrong with the reference's models: that there is no card, else that their graphs are
// not kept here.
func unservable() string {
	if cards, err := allCards(); err == nil && len(cards) > 0 {
		return "not an ONNX model"
	}
	return "instance_group.kind: want KIND_AUTO or KIND_CPU, or KIND_GPU where the server computes on GPUs"
}

// TestTheReferenceDeployment is served its own files, whose graphs are not kept here: nothing can run,
// which is said by name. onnx_test.go serves its configuration with a graph.
func TestTheReferenceDeployment(t *testing.T) {
	r := launch(t, "--model-repository", reference)
	r.exit(exitFailure)
	log := strings.Join(r.rest(), "\n")
	for _, want := range []string{
		"failed to load all models (--exit-on-error=false serves the others)",
		"model 'openclip_vit_b32': version 1 is at UNAVAILABLE state",
		"model 'openclip_vit_b32_trt'", unservable(),
	} {
		if !strings.Contains(log, want) {
			t.Errorf("not in the log: %s\n%s", want, log)
		}
	}
	for strict, ready := range map[string]int{"true": 400, "false": 200} {
		r := start(t, "--model-repository", reference, "--exit-on-error=false", "--strict-readiness="+strict)
		for _, line := range r.index() {
			if line.State != "UNAVAILABLE" || line.Version != "1" || !strings.Contains(line.Reason, unservable()) {
				t.Errorf("%+v", line)
			}
		}
		r.says("GET", "/v2/health/ready", "", ready, "")
		r.says("POST", "/embed", "x", 503, "no model that embeds images is served")
		r.signal()
		r.exit(exitOK)
	}
}

// TestPolling exchanges a version while the server runs, one that fails and one that works.
func TestPolling(t *testing.T) {
	root, name := exported(t, "tiny-quickgelu")
	r := start(t, "--model-repository", root, "--precision", "fp32", "--model-control-mode", "poll", "--repository-poll-secs", "1")
	before := r.embedding("/embed", "")
	second := filepath.Join(root, name, "2")
	if err := os.CopyFS(second, os.DirFS(filepath.Join(models, "tiny-gelu"))); err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(second, "open_clip_model.safetensors")
	if err := os.Truncate(weights, 1000); err != nil {
		t.Fatal(err)
	}
	r.waitFor(`msg="a model is not loaded" model=` + name + " ")
	if c := cosineOf(r.embedding("/embed", ""), before); !(c > 0.999999) {
		t.Errorf("cosine %v after a version that fails", c)
	}
	r.says("GET", "/v2/models/"+name+"/versions/2/ready", "", 400, "")
	r.says("GET", "/v2/models/"+name+"/versions/1/ready", "", 200, "")
	good, err := os.ReadFile(filepath.Join(models, "tiny-gelu", "open_clip_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(weights, good, 0o644); err != nil {
		t.Fatal(err)
	}
	r.waitFor(`msg="model loaded" model=` + name + " versions=2")
	if c := cosineOf(r.embedding("/embed", ""), before); c > 0.999 {
		t.Errorf("cosine %v with another model's weights", c)
	}
	r.signal()
	r.exit(exitOK)
}

// TestExplicitControl loads and unloads by request, within a budget.
func TestExplicitControl(t *testing.T) {
	root, name := exported(t, "tiny-quickgelu")
	r := start(t, "--model-repository", root, "--precision", "fp32", "--model-control-mode", "explicit", "--load-model", name+"_jpeg", "--memory-budget", "128MiB")
	control := "/v2/repository/models/" + name
	if d := cmp.Diff([]string{name + "/", name + "_jpeg/1 READY", name + "_u8/"}, r.states()); d != "" {
		t.Error(d)
	}
	r.says("POST", control+"/load", "{}", 200, "") // the plant is there
	config := `{"parameters":{"config":"{\"backend\":\"vitrine\",\"max_batch_size\":2,\"parameters\":{\"precision\":{\"string_value\":\"bf16\"}}}"}}`
	r.says("POST", control+"/load", config, 200, "")
	r.says("GET", "/v2/models/"+name+"/config", "", 200, `"precision":{"string_value":"bf16"}`)
	large := strings.Replace(config, `:2,`, `:4000,`, 1)
	r.says("POST", control+"/load", large, 400, "of memory; ")
	r.says("GET", "/v2/models/"+name+"/config", "", 200, `"max_batch_size":2`)
	r.says("POST", control+"/load", strings.Replace(config, "bf16", "fp7", 1), 400, "want auto, fp32, bf16 or fp16, not 'fp7'")
	r.says("POST", control+"/load", `{"parameters":{"config":"{\"backend\":\"vitrine\",\"default_model_filename\":\"/etc/passwd\"}"}}`, 400, "must stay within the version's folder")
	r.says("POST", control+"_none/load", "{}", 500, "failed to poll from model repository")
	for _, suffix := range []string{"", "_jpeg"} {
		r.says("POST", control+suffix+"/unload", "{}", 200, "")
	}
	if d := cmp.Diff([]string{name + "/1 UNAVAILABLE", name + "_jpeg/1 UNAVAILABLE", name + "_u8/"}, r.states()); d != "" {
		t.Error(d)
	}
	r.says("POST", "/embed", "x", 503, "no model that embeds images is served")
	r.signal()
	r.exit(exitOK)
}

func TestSeveralImageModels(t *testing.T) {
	root, name := exported(t, "tiny-quickgelu")
	other, second := exported(t, "tiny-gelu")
	r := start(t, "--model-repository", root, "--model-repository", other, "--sample-models")
	r.says("POST", "/embed", "x", 400, "several models embed images ("+strings.Join([]string{second, name}, ", ")+")")
	r.signal()
	r.exit(exitOK)
	r = start(t, "--model-repository", root+","+other, "--embed-model", name+"_jpeg", "--sample-models")
	if v := r.embedding("/embed", ""); len(v) != 32 {
		t.Errorf("%v", v)
	}
	r.signal()
	r.exit(exitOK)
}

func TestRepositoryFlagsThatMeanNothing(t *testing.T) {
	root, name := exported(t, "tiny-quickgelu")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--model-control-mode", "poll"}, "need --model-repository"},
		{[]string{"--load-model", "m"}, "need --model-repository"},
		{[]string{"--model-repository", root, "--load-model", "m"}, "use of '--load-model' requires setting '--model-control-mode=explicit' as well"},
		{[]string{"--model-repository", root, "--model-control-mode", "explicit", "--load-model", "*", "--load-model", "m"}, "--load-model=* is all models"},
		{[]string{"--model-repository", root, "--embed-model", "m"}, "--embed-model: there is no model 'm', only " + name + ", " + name + "_jpeg, " + name + "_u8"},
		{[]string{"--model-repository", root, "--sample-models", "--embed-model", "simple"}, "--embed-model: model 'simple' embeds no images"},
		{[]string{"--model-repository", root, "--space", "s"}, "--space is that of --model"},
		{[]string{"--model-repository", filepath.Join(root, "none")}, "--model-repository: model repository: "},
		{[]string{"--model-repository", root, "--model", filepath.Join(models, "tiny-quickgelu")}, "model '" + name + "' of --model-repository has the name of a model"},
	} {
		r := launch(t, c.args...)
		r.exit(exitUsage)
		if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, c.want) {
			t.Errorf("%v: %s", c.args, log)
		}
	}
}

// TestStoredBatching reads dynamic_batching as the batcher has it.
func TestStoredBatching(t *testing.T) {
	o := plantOptions{engine: engineFlags{maxBatch: 32}, batch: batchFlags{queue: 1024, timeout: time.Second}}
	flags := batcher.Config{MaxBatchSize: 32, MaxQueueSize: 1024, DefaultTimeout: time.Second}
	with := func(change func(*batcher.Config)) batcher.Config {
		c := flags
		change(&c)
		return c
	}
	for text, want := range map[string]batcher.Config{
		``: flags,
		`dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 10000 }`: with(func(c *batcher.Config) {
			c.PreferredBatchSizes, c.MaxQueueDelay = []int{4, 8}, 10*time.Millisecond
		}),
		`dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }`: with(func(c *batcher.Config) {
			c.MaxQueueDelay = 365 * 24 * time.Hour
		}),
		`dynamic_batching { default_queue_policy { max_queue_size: 7 } }`: with(func(c *batcher.Config) {
			c.Levels = []batcher.Policy{{MaxQueueSize: 7, IgnorePartTimeout: true}}
		}),
		`dynamic_batching { priority_levels: 3 default_priority_level: 2
			default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 500 allow_timeout_override: true }
			priority_queue_policy { key: 3 value { max_queue_size: 9 } } }`: with(func(c *batcher.Config) {
			late := batcher.Policy{DefaultTimeout: 500 * time.Microsecond, TimeoutAction: batcher.Delay}
			c.PriorityLevels, c.DefaultPriority = 3, 2
			c.Levels = []batcher.Policy{late, late, {MaxQueueSize: 9, IgnorePartTimeout: true}}
		}),
		`dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 1 value { max_queue_size: 9 } } }`: with(func(c *batcher.Config) {
			c.PriorityLevels, c.DefaultPriority = 2, 1
			c.Levels = []batcher.Policy{{MaxQueueSize: 9, IgnorePartTimeout: true}, {MaxQueueSize: 1024, DefaultTimeout: time.Second}}
		}),
	} {
		c, err := repository.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, *o.storedBatching(c)); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

func TestMachineMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meminfo")
	for text, want := range map[string]int64{
		"MemTotal:       10240 kB\nMemFree: 1 kB\n": 10240 * 1024 / 10 * 9,
		"MemFree: 1 kB\n":         0,
		"MemTotal: many kB\n":     0,
		"MemTotal: 10240 pages\n": 0,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := machineMemory(path); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if machineMemory(path+"x") != 0 {
		t.Error("a file that is not there tells a size")
	}
}

// TestPinnedMemory: what is said stands; else a small machine's GPU pins a quarter of its memory at most.
func TestPinnedMemory(t *testing.T) {
	for _, c := range []struct{ given, memory, want int64 }{
		{0, 64 << 30, 0}, {0, 2 << 30, 512 << 20}, {0, 0, 0}, {3 << 20, 2 << 30, 3 << 20}, {8 << 30, 2 << 30, 8 << 30},
	} {
		if got := pinnedMemory(cli.Bytes(c.given), c.memory); int64(got) != c.want {
			t.Errorf("%d given, %d in all: %d, want %d", c.given, c.memory, got, c.want)
		}
	}
}
