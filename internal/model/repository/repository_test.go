package repository

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// layout writes a repository from paths and contents.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t *testing.T, dirs ...string) *Repository {
	t.Helper()
	r, err := Open(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReferenceDeployment reads the files of the reference deployment as they are: they parse, keep
// their meaning, and say by name what cannot run.
func TestReferenceDeployment(t *testing.T) {
	r := open(t, "testdata/reference")
	names, err := r.Names()
	if err != nil || !cmp.Equal(names, []string{"openclip_vit_b32", "openclip_vit_b32_trt"}) {
		t.Fatal(names, err)
	}
	for name, want := range map[string]string{
		"openclip_vit_b32": "model 'openclip_vit_b32' cannot run yet: platform: this version has no engine for 'onnxruntime_onnx' (ONNX Runtime); this server has vitrine; " +
			"instance_group.kind: want KIND_AUTO or KIND_CPU, or KIND_GPU where the server computes on GPUs",
		"openclip_vit_b32_trt": "model 'openclip_vit_b32_trt' cannot run yet: platform: this version has no engine for 'onnxruntime_onnx' (ONNX Runtime); this server has vitrine " +
			"(so no execution accelerator 'tensorrt' either); instance_group.kind: want KIND_AUTO or KIND_CPU, or KIND_GPU where the server computes on GPUs",
	} {
		m, err := r.Model(name)
		if err != nil {
			t.Fatal(err)
		}
		b := m.Config.DynamicBatching
		if !cmp.Equal(b.PreferredBatchSize, []int32{4, 8, 16, 32}) || b.MaxQueueDelayMicroseconds != 10_000 || m.Config.MaxBatchSize != 32 {
			t.Errorf("%s: batching %+v", name, b)
		}
		if m.Config.Backend != "onnxruntime" || m.File(1) != filepath.Join("testdata/reference", name, "1/model.onnx") {
			t.Errorf("%s: backend %q, file %s", name, m.Config.Backend, m.File(1))
		}
		var unsupported *Unsupported
		if err := m.Config.Check(&Abilities{Backends: []string{"vitrine"}}); !errors.As(err, &unsupported) || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, want)
		}
		if err := m.Config.Check(&Abilities{Backends: []string{"vitrine", "onnxruntime"}, GPU: true}); err != nil {
			t.Errorf("%s with everything that it needs: %v", name, err)
		}
	}
	m, err := r.Model("openclip_vit_b32_trt")
	if err != nil {
		t.Fatal(err)
	}
	trt := m.Config.Optimization.ExecutionAccelerators.GPUExecutionAccelerator
	if len(trt) != 1 || trt[0].Name != "tensorrt" || trt[0].Parameters["precision_mode"] != "FP16" || len(trt[0].Parameters) != 4 {
		t.Errorf("accelerators %+v", trt)
	}
}

func TestVersions(t *testing.T) {
	files := map[string]string{}
	for _, v := range []string{"1", "2", "10", "03", "0", "x", "-1"} {
		files["m/"+v+"/model"] = ""
	}
	files["m/7"] = "a file is no version"
	for policy, want := range map[string][]int64{
		"": {10},
		"version_policy { latest { num_versions: 2 } }":          {2, 10},
		"version_policy { latest { num_versions: 9 } }":          {1, 2, 10},
		"version_policy { latest { num_versions: 4294967295 } }": {1, 2, 10},
		"version_policy { all { } }":                             {1, 2, 10},
		"version_policy { specific { versions: [ 2, 1, 3 ] } }":  {1, 2},
	} {
		files["m/config.pbtxt"] = `backend: "b" ` + policy
		m, err := open(t, layout(t, files)).Model("m")
		if err != nil {
			t.Errorf("%s: %v", policy, err)
			continue
		}
		if d := cmp.Diff(want, m.Versions); d != "" {
			t.Errorf("%s: %s", policy, d)
		}
		if d := cmp.Diff([]int64{1, 2, 10}, m.Exist); d != "" {
			t.Errorf("%s: %s", policy, d)
		}
	}
	files["m/config.pbtxt"] = `backend: "b" version_policy { specific { versions: 4 } }`
	want := "at least one version must be available under the version policy of model 'm'"
	if _, err := open(t, layout(t, files)).Model("m"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestValidation holds one broken rule a line; the words are Triton's where it has them.
func TestValidation(t *testing.T) {
	input := ` input { name: "x" data_type: TYPE_FP32 dims: 2 }`
	for text, want := range map[string]string{
		``:                                "must specify 'platform' or 'backend' for m",
		`name: "other" backend: "b"`:      "unexpected directory name 'm' for model 'other', directory name must equal model name",
		`backend: "b" max_batch_size: -1`: "'max_batch_size' must be non-negative value for m",
		`backend: "b" input { name: "INPUT0" data_type: TYPE_FP32 dims: 0 }`:                                              "model input 'INPUT0' dimension must be integer >= 1, or -1 to indicate a variable-size dimension for m",
		`backend: "b" input { data_type: TYPE_FP32 dims: 1 }`:                                                             "model input must specify 'name' for m",
		`backend: "b" input { name: "x" dims: 1 }`:                                                                        "model input 'x' must specify 'data_type' for m",
		`backend: "b" output { name: "x" data_type: TYPE_FP32 }`:                                                          "model output 'x' must specify 'dims' for m",
		`backend: "b"` + input + input:                                                                                    "model input 'x' is specified more than once for m",
		`backend: "b" max_batch_size: 4 dynamic_batching { preferred_batch_size: 0 }`:                                     "dynamic batching preferred size must be positive for m",
		`backend: "b" max_batch_size: 4 dynamic_batching { preferred_batch_size: 5 }`:                                     "dynamic batching preferred size must be <= max batch size for m",
		`backend: "b" dynamic_batching { priority_levels: 2 }`:                                                            "default priority level must be in range [1, 2] for m",
		`backend: "b" dynamic_batching { priority_levels: 2 default_priority_level: 3 }`:                                  "default priority level must be in range [1, 2] for m",
		`backend: "b" dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 } }`: "priority queue policy must have priority level in range [1, 2] for m",
		`backend: "b" dynamic_batching { priority_levels: 2 default_priority_level: 1 preserve_ordering: true }`:          "Only one priority level is allowed when 'preserve_ordering' is true for m",
		`backend: "b" dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY } }`:        "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for m",
		`backend: "b" instance_group { kind: KIND_CPU gpus: 0 }`:                                                          "instance group m_0 has kind KIND_CPU but specifies one or more GPUs for m",
		`backend: "b" instance_group { count: -1 }`:                                                                       "instance group m_0 must have a count of at least 1 for m",
		`backend: "b" version_policy { latest { } }`:                                                                      "version policy 'latest' must have num_versions of at least 1 for m",
		`backend: "b" version_policy { specific { } }`:                                                                    "version policy 'specific' must list versions for m",
		`backend: "b" max_batch_size: 2 model_warmup { name: "w" batch_size: 3 }`:                                         "model_warmup 'w' has a batch_size over max_batch_size 2 for m",
		`backend: "b" model_warmup { name: "w" inputs { key: "y" value { zero_data: true } } }` + input:                   "model_warmup 'w' has an input 'y' that the model does not declare for m",
		`backend: "b" model_warmup { name: "w" inputs { key: "x" } }` + input:                                             "model_warmup 'w' must say what input 'x' holds for m",
	} {
		_, err := open(t, layout(t, map[string]string{"m/config.pbtxt": text, "m/1/model": ""})).Model("m")
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestRefusals gives every rule of the table its setting; each must name its field, and only that.
func TestRefusals(t *testing.T) {
	settings := map[string]string{
		"ensemble_scheduling":     `ensemble_scheduling { step { model_name: "a" } }`,
		"sequence_batching":       `sequence_batching { }`,
		"batch_input":             `batch_input { kind: BATCH_ELEMENT_COUNT }`,
		"batch_output":            `batch_output { target_name: "y" }`,
		"reshape":                 `input { name: "x" data_type: TYPE_FP32 dims: 1 reshape { shape: [ ] } }`,
		"allow_ragged_batch":      `input { name: "x" data_type: TYPE_FP32 dims: 1 allow_ragged_batch: true }`,
		"is_shape_tensor":         `output { name: "x" data_type: TYPE_FP32 dims: 1 is_shape_tensor: true }`,
		"is_non_linear_format_io": `output { name: "x" data_type: TYPE_FP32 dims: 1 is_non_linear_format_io: true }`,
		"optimization.graph":      `optimization { graph { level: 1 } }`,
		"optimization.priority":   `optimization { priority: PRIORITY_MAX }`,
		"optimization.cuda":       `optimization { cuda { graphs: true } }`,
		"optimization.gather_kernel_buffer_threshold": `optimization { gather_kernel_buffer_threshold: 1 }`,
		"optimization.eager_batching":                 `optimization { eager_batching: true }`,
		"instance_group.kind":                         `instance_group { gpus: 0 }`,
		"instance_group.rate_limiter":                 `instance_group { rate_limiter { } }`,
		"instance_group.secondary_devices":            `instance_group { secondary_devices { device_id: 1 } }`,
		"instance_group.profile":                      `instance_group { profile: "0" }`,
		"instance_group.passive":                      `instance_group { passive: true }`,
		"instance_group.host_policy":                  `instance_group { host_policy: "p" }`,
		"model_operations":                            `model_operations { op_library_filename: "x.so" }`,
		"model_transaction_policy":                    `model_transaction_policy { decoupled: true }`,
		"model_repository_agents":                     `model_repository_agents { agents { name: "a" } }`,
		"response_cache":                              `response_cache { enable: true }`,
		"metric_tags":                                 `metric_tags { key: "a" value: "b" }`,
		"model_metrics":                               `model_metrics { }`,
		"runtime":                                     `runtime: "r"`,
		"cc_model_filenames":                          `cc_model_filenames { key: "7.5" value: "m" }`,
	}
	for _, r := range rules {
		text, ok := settings[r.field]
		if !ok {
			t.Errorf("no case for %s", r.field)
			continue
		}
		c, err := Parse([]byte(`backend: "b" ` + text))
		if err != nil {
			t.Errorf("%s: %v", r.field, err)
			continue
		}
		c.complete("m")
		var u *Unsupported
		if !errors.As(c.Check(&Abilities{Backends: []string{"b"}}), &u) || len(u.Refusals) != 1 || u.Refusals[0].Field != r.field {
			t.Errorf("%s: %+v", r.field, u)
		}
	}
	if len(settings) != len(rules) {
		t.Errorf("%d cases for %d rules", len(settings), len(rules))
	}
}

func TestNames(t *testing.T) {
	one := layout(t, map[string]string{"b/config.pbtxt": `backend: "b"`, "a/1/x": "", ".hidden/1/x": "", "file": ""})
	two := layout(t, map[string]string{"c/config.pbtxt": "max_delay: 1", "b/config.pbtxt": ""})
	r := open(t, one, two)
	names, err := r.Names()
	if err != nil || !cmp.Equal(names, []string{"a", "b", "c"}) {
		t.Error(names, err)
	}
	for name, want := range map[string]string{
		"a":       "config.pbtxt: no such file",
		"b":       "is in more than one model repository",
		"c":       `1:10: Message type "inference.ModelConfig" has no field named "max_delay".`,
		"none":    "is in no model repository",
		"":        "invalid name",
		"..":      "invalid name",
		"a/../b":  "invalid name",
		".hidden": "invalid name",
		`a\b`:     "invalid name",
		"a\x00":   "invalid name",
	} {
		if _, err := r.Model(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
	if _, err := r.Model("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a model that is not there cannot be told from a broken one")
	}
	for _, bad := range []string{filepath.Join(one, "none"), filepath.Join(one, "file")} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%s is opened", bad)
		}
	}
}

func TestModelWith(t *testing.T) {
	r := open(t, layout(t, map[string]string{"m/config.pbtxt": "this is no configuration", "m/1/model": ""}))
	m, err := r.ModelWith("m", `{"backend":"b","max_batch_size":3}`)
	if err != nil || m.Config.MaxBatchSize != 3 || m.Config.Name != "m" || !cmp.Equal(m.Versions, []int64{1}) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := r.ModelWith("m", `{"max_delay":3}`); err == nil || !strings.Contains(err.Error(), "max_delay") {
		t.Error(err)
	}
}

func TestLabels(t *testing.T) {
	config := `backend: "b" output { name: "y" data_type: TYPE_FP32 dims: 2 label_filename: "%" }`
	for file, want := range map[string][]string{"labels.txt": {"ant", "", "cat"}, "": nil} {
		root := layout(t, map[string]string{"m/config.pbtxt": strings.ReplaceAll(config, "%", file), "m/1/x": "", "m/labels.txt": "ant\n\ncat"})
		m, err := open(t, root).Model("m")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Labels("y"); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %q, %v", file, got, err)
		}
	}
	for _, file := range []string{"../labels.txt", "/etc/passwd", "none.txt"} {
		m, err := open(t, layout(t, map[string]string{"m/config.pbtxt": strings.ReplaceAll(config, "%", file), "m/1/x": "", "labels.txt": "ant"})).Model("m")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Labels("y"); err == nil {
			t.Errorf("%q: %q", file, got)
		}
	}
}

func TestStamp(t *testing.T) {
	root := layout(t, map[string]string{"m/config.pbtxt": `backend: "b"`, "m/1/model": "x"})
	r := open(t, root)
	seen := map[string]string{}
	mark := func(what string) {
		s, err := r.Stamp("m")
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[s]; ok {
			t.Errorf("%s leaves the stamp as it was at %s", what, before)
		}
		seen[s] = what
	}
	mark("the start")
	if again, err := r.Stamp("m"); err != nil || seen[again] == "" {
		t.Error("an unchanged model has another stamp")
	}
	if err := os.WriteFile(filepath.Join(root, "m/1/model"), []byte("xy"), 0o644); err != nil {
		t.Fatal(err)
	}
	mark("a file that grew")
	if err := os.MkdirAll(filepath.Join(root, "m/2"), 0o755); err != nil {
		t.Fatal(err)
	}
	mark("a new version")
	if err := os.RemoveAll(filepath.Join(root, "m/1")); err != nil {
		t.Fatal(err)
	}
	mark("a version that went")
}

// TestDocs holds the documentation to the rules: every refused field with its reason.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../../docs/model-repository.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if line := "| `" + r.field + "` | " + r.reason + " |"; !strings.Contains(string(b), line) {
			t.Errorf("docs/model-repository.md lacks %s", line)
		}
	}
}
