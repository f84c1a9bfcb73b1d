package model

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/model/onnx"
	"github.com/vitrine-project/vitrine/internal/model/safetensors"
)

// Operator sets that WriteONNX knows.
const (
	MinOpset     = 14
	MaxOpset     = 20
	DefaultOpset = 17 // the first with LayerNormalization
)

// Names of the exported graph's tensors.
const (
	ONNXInput  = "image"     // float32 [batch, 3, size, size], normalised
	ONNXOutput = "embedding" // float32 [batch, dim], not scaled to length 1
)

// ONNXOptions say how a model is written as ONNX. Zero values are usable.
type ONNXOptions struct {
	Opset        int  // MinOpset to MaxOpset; 0 is DefaultOpset
	Half         bool // weights and computation in float16; input and output stay float32
	ExternalData bool // weights in a file beside the model, FILE.data, however small they are
}

// Metadata keys of exported files. They make a file describe its own preprocessing.
const (
	metaConfig     = "vitrine.config" // as open_clip_config.json
	metaModelName  = "vitrine.model_name"
	metaPretrained = "vitrine.pretrained"
	metaReference  = "vitrine.reference"
	metaWeights    = "vitrine.weights_hash" // of the weights that the file was exported from
	metaSynthetic  = syntheticMark
)

// ExportONNX writes the image tower to a file, which appears whole or not at all. A model of more than
// 2 GB gets its weights in FILE.data beside it, however o has it.
func ExportONNX(m *Model, path string, o ONNXOptions) error {
	if m.ONNX != nil {
		return errONNXAlready(m)
	}
	g, err := m.onnxGraph(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if !o.ExternalData && g.Size() <= onnx.MaxBytes {
		return writeFile(path, func(w io.Writer) error { return m.writeONNX(g, w, nil) })
	}
	data := path + ".data"
	return writeFile(data, func(x io.Writer) error {
		return writeFile(path, func(w io.Writer) error {
			return m.writeONNX(g, w, &onnx.External{Name: filepath.Base(data), W: x})
		})
	})
}

// ExportONNXFolder is ExportONNX to model.onnx in a folder, and open_clip_config.json beside it.
func ExportONNXFolder(m *Model, dir string, o ONNXOptions) error {
	if err := ExportONNX(m, filepath.Join(dir, "model.onnx"), o); err != nil {
		return err
	}
	return m.Config.writeOpenCLIP(dir)
}

// WriteONNX writes the image tower with its weights.
func WriteONNX(m *Model, w io.Writer, o ONNXOptions) error {
	g, err := m.onnxGraph(o)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	return errors.Join(m.writeONNX(g, buffered, nil), buffered.Flush())
}

// writeONNX writes the graph; weights may lie in a mapped file that somebody truncates meanwhile.
func (m *Model) writeONNX(g *onnx.Model, w io.Writer, x *onnx.External) error {
	return safetensors.Guard(func() error { return g.Write(w, x) })
}

// onnxGraph is the model as ONNX, its weights still where they are.
func (m *Model) onnxGraph(o ONNXOptions) (*onnx.Model, error) {
	if m.ONNX != nil {
		return nil, errONNXAlready(m)
	}
	if o.Opset == 0 {
		o.Opset = DefaultOpset
	}
	if o.Opset < MinOpset || o.Opset > MaxOpset {
		return nil, fmt.Errorf("opset %d: want %d to %d", o.Opset, MinOpset, MaxOpset)
	}
	config, err := json.Marshal(m.Config.openCLIP())
	if err != nil {
		return nil, err
	}
	c := m.Config
	side := onnx.Dim{Size: int64(c.ImageSize)}
	batch := onnx.Dim{Param: "batch"}
	t := &tower{model: m, opset: o.Opset, half: o.Half, out: &onnx.Model{
		Opset: o.Opset, Producer: "vitrine", ProducerVersion: buildVersion(), Graph: c.Architecture,
		Inputs:  []onnx.Value{{Name: ONNXInput, Type: onnx.Float, Dims: []onnx.Dim{batch, {Size: 3}, side, side}}},
		Outputs: []onnx.Value{{Name: ONNXOutput, Type: onnx.Float, Dims: []onnx.Dim{batch, {Size: int64(c.EmbedDim)}}}},
		Metadata: map[string]string{metaConfig: string(config), metaModelName: m.Source.ModelName, metaPretrained: m.Source.Pretrained,
			metaReference: m.Source.Reference, metaWeights: m.WeightsHash, metaSynthetic: strconv.FormatBool(m.Source.Synthetic)},
	}}
	t.forward()
	return t.out, nil
}

func buildVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}

func errONNXAlready(m *Model) error {
	return fmt.Errorf("%s is ONNX already: its graph is not taken apart", m.ONNX.Path)
}
