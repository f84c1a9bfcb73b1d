package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// onnxLibrary is ONNX Runtime for tests: what VITRINE_ONNXRUNTIME_LIBRARY names, or pip has put beside the
// Python that VITRINE_PYTHON names.
func onnxLibrary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("VITRINE_ONNXRUNTIME_LIBRARY"); path != "" {
		return path
	}
	python := os.Getenv("VITRINE_PYTHON")
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(python)), "lib", "python3*", "site-packages", "onnxruntime", "capi", "libonnxruntime.so.*"))
	if python == "" || len(found) == 0 {
		t.Skip("neither VITRINE_ONNXRUNTIME_LIBRARY nor VITRINE_PYTHON names ONNX Runtime")
	}
	return found[0]
}

// exportedFile writes a model of testdata as ONNX.
func exportedFile(t *testing.T, name, path string, args ...string) string {
	t.Helper()
	r := call(t, append([]string{"model", "export", filepath.Join(models, name), "--format", "onnx", "--output", path}, args...)...)
	r.want(t, exitOK, "")
	return path
}

// TestONNXEmbeddingsAreOpenCLIPs embeds photographs with ONNX Runtime, from safetensors and from an
// exported file, and compares with open_clip's embeddings.
func TestONNXEmbeddingsAreOpenCLIPs(t *testing.T) {
	library := onnxLibrary(t)
	text, err := os.ReadFile(filepath.Join(models, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Models map[string]struct{ Photos map[string][]float64 }
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := exportedFile(t, "tiny-gelu", filepath.Join(dir, "gelu.onnx"), "--opset", "14")
	var spaces []string
	for _, args := range [][]string{{"--model", file}, {"--model", filepath.Join(models, "tiny-gelu"), "--engine", "onnxruntime", "--onnxruntime-cache", dir}} {
		out := filepath.Join(t.TempDir(), "out.npy")
		args = append(args, "embed", "--onnxruntime-library", library, "--output", out, photos)
		call(t, append([]string{"embed"}, slices.DeleteFunc(args, func(a string) bool { return a == "embed" })...)...).want(t, exitOK, "rows of")
		vectors := readNPY(t, out)
		info, index := readIndex(t, out+".index.jsonl")
		if info.Precision != "fp32" || len(index) != len(vectors) || len(vectors) < 5 {
			t.Fatalf("%+v, %d rows", info, len(index))
		}
		spaces = append(spaces, info.Space)
		for i, row := range index {
			name := filepath.Base(row.Path)
			if c := cosine(vectors[i], expected.Models["tiny-gelu"].Photos[name]); c < 0.9999 {
				t.Errorf("%q, %s: cosine %v", args, name, c)
			}
		}
	}
	plain := call(t, "model", "inspect", filepath.Join(models, "tiny-gelu"))
	if !strings.Contains(plain.out, spaces[1]) || strings.Contains(plain.out, spaces[0]) {
		t.Errorf("spaces %q: want that of the weights for safetensors alone, of\n%s", spaces, plain.out)
	}
}

// onnxRepository is the reference deployment's configuration with an exported model.
func onnxRepository(t *testing.T, change ...string) string {
	t.Helper()
	root := t.TempDir()
	config, err := os.ReadFile(filepath.Join(reference, "openclip_vit_b32", "config.pbtxt"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(append([]string{"512", "32"}, change...)...).Replace(string(config))
	exportedFile(t, "tiny-quickgelu", filepath.Join(root, "openclip_vit_b32", "1"))
	if err := writeConfig(filepath.Join(root, "openclip_vit_b32"), text); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestServeTheReferenceDeploymentOnProcessors serves the reference's own configuration, its group on a
// processor, and one more way in to the same queue.
func TestServeTheReferenceDeploymentOnProcessors(t *testing.T) {
	library := onnxLibrary(t)
	plain := start(t, "--model", filepath.Join(models, "tiny-quickgelu"), "--precision", "fp32")
	want := plain.embedding("/embed", "")
	plain.signal()
	plain.exit(exitOK)
	root := onnxRepository(t, "KIND_GPU", "KIND_CPU")
	files := "backend: \"onnxruntime\"\nmax_batch_size: 8\ninput [ { name: \"file\" data_type: TYPE_STRING dims: [ 1 ] } ]\n" +
		"parameters { key: \"queue_of\" value { string_value: \"openclip_vit_b32\" } }\n"
	if err := writeConfig(filepath.Join(root, "files"), files); err != nil {
		t.Fatal(err)
	}
	r := start(t, "--model-repository", root, "--onnxruntime-library", library)
	if d := cmp.Diff([]string{"files/1 READY", "openclip_vit_b32/1 READY"}, r.states()); d != "" {
		t.Error(d)
	}
	for path, header := range map[string]string{"/embed": "", "/v2/models/files/infer": "0"} {
		if c := cosineOf(r.embedding(path, header), want); !(c > 0.999999) {
			t.Errorf("%s: cosine %v", path, c)
		}
	}
	r.says("GET", "/v2/models/openclip_vit_b32", "", 200, `"platform":"onnxruntime_onnx"`)
	r.says("GET", "/model-info", "", 200, `ONNX Runtime`)
	r.signal()
	r.exit(exitOK)
}

// withoutCUDA is what is wrong with a group on GPUs: that there are none, else that pip's ordinary ONNX Runtime
// does not compute on them.
func withoutCUDA() string {
	if cards, err := allCards(); err == nil && len(cards) > 0 {
		return "has no provider cuda, only"
	}
	return "instance_group.kind: want KIND_AUTO or KIND_CPU, or KIND_GPU where the server computes on GPUs"
}

// TestONNXRepositoryRefusals: what cannot run is named, with what would help.
func TestONNXRepositoryRefusals(t *testing.T) {
	library := onnxLibrary(t)
	accelerated := func(list string) []string {
		return []string{"KIND_GPU", "KIND_CPU", "# gather", "optimization { execution_accelerators { " + list + " } }\n# gather"}
	}
	for name, c := range map[string]struct {
		change []string
		want   string
	}{
		"gpu":      {nil, withoutCUDA()},
		"tensorrt": {accelerated(`gpu_execution_accelerator [ { name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ]`), "pip install onnxruntime-gpu tensorrt"},
		"int8":     {accelerated(`gpu_execution_accelerator [ { name: "tensorrt" parameters { key: "precision_mode" value: "INT8" } } ]`), "precision_mode 'INT8'"},
		"unknown":  {accelerated(`cpu_execution_accelerator [ { name: "xnnpack" } ]`), "execution accelerator 'xnnpack': this server has tensorrt, cuda and openvino"},
		"two":      {accelerated(`cpu_execution_accelerator [ { name: "openvino" }, { name: "openvino" } ]`), "2 are listed"},
		"tensor":   {[]string{"KIND_GPU", "KIND_CPU", `"embedding"`, `"vector"`}, "output 'vector' is not in the file, whose output is 'embedding'"},
	} {
		t.Run(name, func(t *testing.T) {
			r := launch(t, "--model-repository", onnxRepository(t, c.change...), "--onnxruntime-library", library)
			r.exit(exitFailure)
			if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, c.want) {
				t.Errorf("%q is not in the log:\n%s", c.want, log)
			}
		})
	}
}

func TestONNXErrors(t *testing.T) {
	dir := t.TempDir()
	file := exportedFile(t, "tiny-gelu", filepath.Join(dir, "clip.onnx"))
	for _, c := range []struct{ args, want string }{
		{"--model " + file + " --engine cpu", "is ONNX, which --engine onnxruntime computes"},
		{"--model " + file + " --onnxruntime-library /nowhere/libonnxruntime.so", "pip install onnxruntime, or name libonnxruntime.so with --onnxruntime-library"},
		{"--model " + file + " --precision bf16 --engine onnxruntime", "computes a file in fp32 as it is, not in bf16"},
		{"--model " + file + " --onnxruntime-cuda-graph --engine onnxruntime", "CUDA graphs are of providers cuda and tensorrt, not cpu"},
	} {
		args := append([]string{"embed", "--output", filepath.Join(dir, "x.npy"), photos}, strings.Fields(c.args)...)
		call(t, args...).want(t, exitFailure, c.want)
	}
	for _, c := range []struct{ args, want string }{
		{"--opset 13 --format onnx", "want a whole number from 14 to 20"},
		{"--opset 14", "--opset is for --format onnx"},
		{"--engine onnxruntime:rocm", "unknown flag: --engine"},
	} {
		args := append([]string{"model", "export", filepath.Join(models, "tiny-gelu"), "--output", dir}, strings.Fields(c.args)...)
		call(t, args...).want(t, exitUsage, c.want)
	}
}

func TestInspectONNX(t *testing.T) {
	file := exportedFile(t, "tiny-quickgelu", filepath.Join(t.TempDir(), "clip.onnx"), "--opset", "16", "--external-data")
	r := call(t, "model", "inspect", file)
	for _, want := range []string{"ai.onnx 16", "image float32[batch,3,224,224]", "embedding float32[batch,32]", "clip.onnx.data", "Softmax", "vitrine.weights_hash"} {
		if r.code != exitOK || !strings.Contains(r.out, want) {
			t.Errorf("%q is not in\n%s%s", want, r.out, r.err)
		}
	}
	var info onnxInspection
	if err := json.NewDecoder(bytes.NewBufferString(call(t, "model", "inspect", file, "--json").out)).Decode(&info); err != nil {
		t.Fatal(err)
	}
	if info.Opsets["ai.onnx"] != 16 || info.Nodes < 50 || info.Operators[0].Count < info.Operators[1].Count || len(info.Missing) != 0 {
		t.Errorf("%+v", info)
	}
	if err := os.Remove(file + ".data"); err != nil {
		t.Fatal(err)
	}
	if r := call(t, "model", "inspect", file); !strings.Contains(r.out, "clip.onnx.data (MISSING)") {
		t.Errorf("got %s", r.out)
	}
	call(t, "model", "inspect", filepath.Join(photos, "coffee.jpg.onnx")).want(t, exitFailure, "no such file")
}
