package model

// Info is what `model inspect` prints.
type Info struct {
	Config      Config
	Source      Source
	WeightsHash string
	Parameters  int64 // elements of all tensors
	Bytes       int64 // as stored
	FLOPs       int64 // of one image: two for each multiply-accumulate of the matrix products
	Tensors     []TensorInfo
}

// TensorInfo describes one tensor.
type TensorInfo struct {
	Name  string
	DType string
	Shape []int
}

// Inspect describes a model.
func Inspect(m *Model) Info {
	info := Info{Config: m.Config, Source: m.Source, WeightsHash: m.WeightsHash, FLOPs: m.Config.FLOPs()}
	for _, t := range m.Tensors() {
		info.Parameters += int64(t.Len())
		info.Bytes += int64(len(t.Data))
		info.Tensors = append(info.Tensors, TensorInfo{t.Name, t.DType.String(), t.Shape})
	}
	return info
}

// Parameters is the number of weights.
func (m *Model) Parameters() int64 {
	if m.ONNX != nil {
		return m.ONNX.Info.Elements
	}
	var n int64
	for _, t := range m.Tensors() {
		n += int64(t.Len())
	}
	return n
}

// FLOPs is the work of one image: two operations for each multiply-accumulate of the matrix products
// (patches, QKV, scores, context, output, MLP, projection). Normalisation and activation are not counted.
func (c Config) FLOPs() int64 {
	t, w, m := int64(c.Tokens()), int64(c.Width), int64(c.MLP)
	patches := (t - 1) * w * 3 * int64(c.PatchSize) * int64(c.PatchSize)
	block := t*(4*w*w+2*w*m) + 2*t*t*w
	return 2 * (patches + int64(c.Layers)*block + w*int64(c.EmbedDim))
}
