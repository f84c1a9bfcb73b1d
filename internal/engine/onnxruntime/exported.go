package onnxruntime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/onnx"
)

// exportVersion changes when what model.ExportONNX writes for the same weights does; older files of the
// cache are left alone then.
const exportVersion = 1

// sourceOf is the model's ONNX file, which is written to the cache where the model is not one.
func sourceOf(m *model.Model, o *Options) (*source, error) {
	c := m.Config
	s := &source{input: model.ONNXInput, output: model.ONNXOutput, side: c.ImageSize, dim: c.EmbedDim, weightsHash: m.WeightsHash}
	if f := m.ONNX; f != nil {
		s.path, s.input, s.output, s.channelsLast = f.Path, f.Input.Name, f.Output.Name, f.ChannelsLast
		s.half = [2]bool{f.Input.Type == onnx.Float16, f.Output.Type == onnx.Float16}
		return s, nil
	}
	var err error
	s.path, err = exported(m, o)
	return s, err
}

// exported writes a model of safetensors as ONNX, once for all servers that share the cache.
func exported(m *model.Model, o *Options) (string, error) {
	precision := "fp32"
	if o.halfFile() {
		precision = "fp16"
	}
	hash := strings.TrimPrefix(m.WeightsHash, "sha256:")
	name := fmt.Sprintf("%s-opset%d-%s-v%d.onnx", hash[:min(16, len(hash))], model.DefaultOpset, precision, exportVersion)
	path := filepath.Join(o.Cache, "onnx", name)
	if _, err := onnx.Stat(path); err == nil {
		return path, nil
	}
	began := time.Now()
	if err := model.ExportONNX(m, path, model.ONNXOptions{Half: o.halfFile()}); err != nil {
		return "", fmt.Errorf("export as ONNX: %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	o.Logger.Info("exported as ONNX", "file", path, "bytes", st.Size(), "took", time.Since(began).Round(time.Millisecond))
	return path, nil
}
