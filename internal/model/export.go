package model

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/model/safetensors"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

var storedAs = map[tensor.DType]safetensors.DType{
	tensor.FP32: safetensors.F32, tensor.FP16: safetensors.F16, tensor.BF16: safetensors.BF16,
}

// syntheticMark is the metadata key by which exported synthetic weights stay known as such.
const syntheticMark = "vitrine.synthetic"

// WriteSafetensors writes the image tower with open_clip's names, bytes as they are stored.
func WriteSafetensors(m *Model, w io.Writer) error {
	list := m.Tensors()
	out := make([]safetensors.Tensor, len(list))
	for i, t := range list {
		out[i] = safetensors.Tensor{Name: t.Name, DType: storedAs[t.DType], Shape: t.Shape, Data: t.Data}
	}
	meta := map[string]string{"format": "pt", "vitrine.weights_hash": m.WeightsHash, "vitrine.reference": m.Source.Reference}
	if m.Source.Synthetic {
		meta[syntheticMark] = "true"
	}
	return safetensors.Guard(func() error { return safetensors.Write(w, out, meta) })
}

// Export writes open_clip_model.safetensors and open_clip_config.json to a folder, which it makes where
// it is not there. Open reads the folder back with the same WeightsHash; in Python,
// open_clip.load_checkpoint(model, file, strict=False) does (the text tower is not part of it).
// Each file appears whole or not at all.
func Export(m *Model, dir string) error {
	if m.ONNX != nil {
		return errONNXAlready(m)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	err := writeFile(filepath.Join(dir, weightFiles[0]), func(w io.Writer) error { return WriteSafetensors(m, w) })
	if err != nil {
		return err
	}
	return m.Config.writeOpenCLIP(dir)
}

// writeOpenCLIP writes open_clip_config.json to a folder.
func (c Config) writeOpenCLIP(dir string) error {
	return writeFile(filepath.Join(dir, openCLIPConfig), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(c.openCLIP())
	})
}

// writeFile writes through a temporary file and renames it.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename there is nothing left to remove
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	err = errors.Join(err, w.Flush(), f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// openCLIP is the configuration as open_clip_config.json spells it.
func (c Config) openCLIP() any {
	vision := map[string]any{
		"image_size": c.ImageSize, "patch_size": c.PatchSize, "width": c.Width, "layers": c.Layers,
		"head_width": c.HeadDim(), "mlp_ratio": mlpRatio(c.Width, c.MLP),
	}
	if eps := c.Epsilon; eps != 1e-5 {
		// float32 to the shortest decimal that reads back as it.
		decimal, _ := strconv.ParseFloat(strconv.FormatFloat(float64(eps), 'g', -1, 32), 64)
		vision["norm_kwargs"] = map[string]any{"eps": decimal}
	}
	model := map[string]any{"embed_dim": c.EmbedDim, "vision_cfg": vision, "text_cfg": map[string]any{}}
	if c.Activation == QuickGELU {
		model["quick_gelu"] = true
	}
	return map[string]any{
		"model_cfg": model,
		"preprocess_cfg": map[string]any{
			"mean": c.Mean, "std": c.Std, "interpolation": c.Interpolation, "resize_mode": c.ResizeMode,
		},
	}
}

// mlpRatio is a ratio r for which int(width*r) is mlp, as open_clip computes it.
func mlpRatio(width, mlp int) float64 {
	r := float64(mlp) / float64(width)
	if int(float64(width)*r) < mlp {
		r = math.Nextafter(r, math.Inf(1))
	}
	return r
}
