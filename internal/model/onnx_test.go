package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/model/onnx"
)

// pythonWith is the Python that VITRINE_PYTHON names, if it has the modules.
func pythonWith(t *testing.T, modules string) string {
	t.Helper()
	python := os.Getenv("VITRINE_PYTHON")
	if python == "" {
		t.Skip("VITRINE_PYTHON names no Python with " + modules)
	}
	if out, err := exec.Command(python, "-c", "import "+modules).CombinedOutput(); err != nil {
		t.Skipf("VITRINE_PYTHON lacks one of %s: %s", modules, out)
	}
	return python
}

// checked is what testdata/check_onnx.py prints.
type checked struct {
	Embedding, Second    []float64
	Opset, Nodes, Values int
	Producer             string
	External             bool
}

// TestExportedONNXComputesOpenCLIPsEmbeddings has ONNX's own checker look at each form of export, and
// ONNX Runtime compute what open_clip computed from the same weights.
func TestExportedONNXComputesOpenCLIPsEmbeddings(t *testing.T) {
	python := pythonWith(t, "onnx, onnxruntime, numpy")
	for _, name := range []string{"tiny-quickgelu", "tiny-gelu"} {
		want, m := goldens(t)[name].Pattern, mustOpen(t, filepath.Join(models, name))
		for _, o := range []ONNXOptions{{Opset: 14}, {Opset: 15}, {Opset: 16, ExternalData: true}, {Opset: 17}, {Opset: 18}, {Opset: 19}, {Opset: 20},
			{Opset: 14, Half: true}, {Opset: 17, Half: true, ExternalData: true}, {Opset: 20, Half: true}} {
			t.Run(fmt.Sprintf("%s/%d/half=%v", name, o.Opset, o.Half), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "m.onnx")
				if err := ExportONNX(m, path, o); err != nil {
					t.Fatal(err)
				}
				c := exec.CommandContext(t.Context(), python, "testdata/check_onnx.py", path)
				c.Stderr = os.Stderr
				out, err := c.Output()
				if err != nil {
					t.Fatal(err)
				}
				var got checked
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatal(err)
				}
				limit := 1 - 1e-9
				if o.Half {
					limit = 0.9999
				}
				for which, v := range map[string][]float64{"alone": got.Embedding, "second of two": got.Second} {
					if cos := cosine(v, want); cos < limit {
						t.Errorf("%s: cosine %.12f", which, cos)
					}
				}
				if got.Opset != o.Opset || got.External != o.ExternalData || got.Producer != "vitrine" || got.Values < got.Nodes-1 {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

func TestExportedONNXOpens(t *testing.T) {
	from := mustOpen(t, filepath.Join(models, "tiny-quickgelu"))
	for _, o := range []ONNXOptions{{}, {Opset: 14, ExternalData: true}, {Half: true}} {
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := ExportONNX(from, path, o); err != nil {
			t.Fatal(err)
		}
		m := mustOpen(t, path)
		c, f := m.Config, from.Config
		if c.ImageSize != f.ImageSize || c.EmbedDim != f.EmbedDim || c.Mean != f.Mean || c.Std != f.Std || c.Interpolation != f.Interpolation || c.ResizeMode != f.ResizeMode {
			t.Errorf("%+v: %+v, want %+v", o, c, f)
		}
		if len(m.Warnings) > 0 || m.ONNX.Batch != 0 || m.ONNX.ChannelsLast || m.WeightsHash == from.WeightsHash {
			t.Errorf("%+v: warnings %q, %+v", o, m.Warnings, m.ONNX)
		}
		if err := Export(m, t.TempDir()); err == nil || !strings.Contains(err.Error(), "ONNX already") {
			t.Errorf("got %v", err)
		}
	}
}

func TestExportRefusesOpsets(t *testing.T) {
	m := mustOpen(t, filepath.Join(models, "tiny-quickgelu"))
	for _, opset := range []int{13, 21} {
		if err := WriteONNX(m, nil, ONNXOptions{Opset: opset}); err == nil || !strings.Contains(err.Error(), "14 to 20") {
			t.Errorf("%d: got %v", opset, err)
		}
	}
}

func TestExportRefusesWhatFloat16CannotHold(t *testing.T) {
	m, err := Synthetic(mustOpen(t, filepath.Join(models, "tiny-gelu")).Config, SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Weights.Blocks[1].FC2.Bias.set(3, 70000)
	err = ExportONNX(m, filepath.Join(t.TempDir(), "m.onnx"), ONNXOptions{Half: true})
	if err == nil || !strings.Contains(err.Error(), "resblocks.1.mlp.c_proj.bias") || !strings.Contains(err.Error(), "70000") {
		t.Errorf("got %v", err)
	}
}

// graphFile writes a graph of one node with the input and the outputs given.
func graphFile(t *testing.T, in onnx.Value, outs ...onnx.Value) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	m := onnx.Model{Opset: 17, Graph: "g", Inputs: []onnx.Value{in}, Outputs: outs}
	if err := errors.Join(m.Write(f, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func value(name string, d onnx.DType, dims ...int64) onnx.Value {
	v := onnx.Value{Name: name, Type: d}
	for _, n := range dims {
		v.Dims = append(v.Dims, onnx.Dim{Size: n})
	}
	return v
}

func TestOpenONNX(t *testing.T) {
	image, out := value("x", onnx.Float, 0, 3, 64, 64), value("y", onnx.Float, 0, 10)
	for _, c := range []struct {
		name, want string // part of the error; "" is none
		in         onnx.Value
		outs       []onnx.Value
		check      func(m *Model) bool
	}{
		{"planes", "", image, []onnx.Value{out}, func(m *Model) bool {
			return m.Config.ImageSize == 64 && m.Config.EmbedDim == 10 && len(m.Warnings) == 1
		}},
		{"channels last", "", value("x", onnx.Float16, 0, 32, 32, 3), []onnx.Value{out}, func(m *Model) bool { return m.ONNX.ChannelsLast && m.Config.ImageSize == 32 }},
		{"any size", "", value("x", onnx.Float, 0, 3, 0, 0), []onnx.Value{out}, func(m *Model) bool { return m.Config.ImageSize == 224 && len(m.Warnings) == 2 }},
		{"a fixed batch", "", value("x", onnx.Float, 4, 3, 32, 32), []onnx.Value{value("y", onnx.Float, 4, 10)}, func(m *Model) bool { return m.ONNX.Batch == 4 }},
		{"several outputs", "", image, []onnx.Value{value("last_hidden_state", onnx.Float, 0, 50, 8), value("image_embeds", onnx.Float, 0, 10)},
			func(m *Model) bool { return m.ONNX.Output.Name == "image_embeds" }},
		{"nameless outputs", "none of which is called", image, []onnx.Value{value("a", onnx.Float, 0, 10), value("b", onnx.Float, 0, 10)}, nil},
		{"bytes", "want float32 or float16 images", value("x", onnx.Uint8, 0, 3, 64, 64), []onnx.Value{out}, nil},
		{"a list", "want [batch, 3, height, width]", value("x", onnx.Float, 0, 64), []onnx.Value{out}, nil},
		{"four channels", "no dimension of 3 channels", value("x", onnx.Float, 0, 4, 64, 64), []onnx.Value{out}, nil},
		{"oblong", "want square images", value("x", onnx.Float, 0, 3, 64, 32), []onnx.Value{out}, nil},
		{"huge", "want square images of at most", value("x", onnx.Float, 0, 3, 1<<20, 1<<20), []onnx.Value{out}, nil},
		{"tokens", "want [batch, N]", image, []onnx.Value{value("y", onnx.Float, 0, 50, 10)}, nil},
		{"integers", "want float32 or float16 embeddings", image, []onnx.Value{value("y", onnx.Int64, 0, 10)}, nil},
	} {
		m, err := Open(t.Context(), graphFile(t, c.in, c.outs...), OpenOptions{})
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v", c.name, err)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && !c.check(m):
			t.Errorf("%s: %+v %+v %q", c.name, m.Config, m.ONNX, m.Warnings)
		}
	}
}

func TestSidecars(t *testing.T) {
	anySize := value("x", onnx.Float, 0, 3, 0, 0)
	for _, c := range []struct {
		name, file, text, want string
		p                      Preprocessing
		check                  func(c Config) bool
	}{
		{"open_clip", openCLIPConfig, `{"model_cfg":{"vision_cfg":{"image_size":96}},"preprocess_cfg":{"mean":[0.5,0.5,0.5],"std":[0.5,0.25,0.5],"interpolation":"bilinear","resize_mode":"squash"}}`, "",
			Preprocessing{}, func(c Config) bool {
				return c.ImageSize == 96 && c.Mean == [3]float32{.5, .5, .5} && c.Std[1] == .25 && c.Interpolation == "bilinear" && c.ResizeMode == "squash"
			}},
		{"transformers", hfPreprocessor, `{"crop_size":{"height":80,"width":80},"size":{"shortest_edge":80},"image_mean":[0,0,0],"image_std":[1,1,1],"resample":2}`, "",
			Preprocessing{}, func(c Config) bool {
				return c.ImageSize == 80 && c.Std == [3]float32{1, 1, 1} && c.Interpolation == "bilinear"
			}},
		{"parameters win", hfPreprocessor, `{"crop_size":80,"size":80,"resample":2}`, "",
			Preprocessing{Mean: "0.1,0.2,0.3", Std: "1, 2, 3", Interpolation: "bicubic", ResizeMode: "longest"},
			func(c Config) bool {
				return c.Mean[2] == .3 && c.Std[1] == 2 && c.Interpolation == "bicubic" && c.ResizeMode == "longest"
			}},
		{"size by parameter", "", "", "", Preprocessing{ImageSize: 128}, func(c Config) bool { return c.ImageSize == 128 }},
		{"a broken mean", "", "", `mean: want three numbers`, Preprocessing{Mean: "1,2"}, nil},
		{"a filter that is none", "", "", `interpolation "nearest"`, Preprocessing{Interpolation: "nearest"}, nil},
		{"a broken file", openCLIPConfig, `{"preprocess_cfg":{"mean":"grey"}}`, "mean: want three numbers", Preprocessing{}, nil},
	} {
		path := graphFile(t, anySize, value("y", onnx.Float, 0, 10))
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := Open(t.Context(), filepath.Dir(path), OpenOptions{Preprocessing: c.p}) // the folder that holds nothing else
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v", c.name, err)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && !c.check(m.Config):
			t.Errorf("%s: %+v", c.name, m.Config)
		}
	}
	_, err := Open(t.Context(), filepath.Join(models, "tiny-gelu"), OpenOptions{Preprocessing: Preprocessing{Mean: "0,0,0"}})
	if err == nil || !strings.Contains(err.Error(), "only an ONNX file") {
		t.Errorf("weights with their own configuration: %v", err)
	}
}

// TestONNXHash: every file of a model counts, its folder does not.
func TestONNXHash(t *testing.T) {
	from := mustOpen(t, filepath.Join(models, "tiny-quickgelu"))
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := ExportONNX(from, path, ONNXOptions{ExternalData: true}); err != nil {
		t.Fatal(err)
	}
	first := mustOpen(t, path).WeightsHash
	moved := t.TempDir()
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if got := mustOpen(t, filepath.Join(moved, "m.onnx")).WeightsHash; got != first {
		t.Error("another folder, another hash")
	}
	data, err := os.ReadFile(path + ".data")
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path+".data", data, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := mustOpen(t, path).WeightsHash; got == first {
		t.Error("other weights, the same hash")
	}
	if err := os.Remove(path + ".data"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, OpenOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its weights: %v", err)
	}
}

func TestONNXFolder(t *testing.T) {
	from := mustOpen(t, filepath.Join(models, "tiny-gelu"))
	dir := t.TempDir()
	if err := ExportONNXFolder(from, dir, ONNXOptions{}); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, dir)
	if m.ONNX == nil || m.Config.ImageSize != 224 || len(m.Warnings) != 0 {
		t.Errorf("%+v %q", m.Config, m.Warnings)
	}
	if diff := cmp.Diff(from.Config.Mean, m.Config.Mean); diff != "" {
		t.Error(diff)
	}
}
