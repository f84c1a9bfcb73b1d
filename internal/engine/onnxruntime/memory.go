package onnxruntime

import (
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Estimate is the host memory in bytes that an engine of that model would take. ONNX Runtime says nothing
// of its own memory beforehand; the weights are there twice, since it packs matrices for its kernels, and
// rows and inputs are counted as they are.
func Estimate(m *model.Model, o Options) (int64, error) {
	o, err := o.resolve(m)
	if err != nil {
		return 0, err
	}
	memory := o.memory(m)
	return memory.HostFixed + int64(2*o.MaxBatch*o.Instances)*memory.HostPerItem, nil
}

func (o *Options) memory(m *model.Model) (e engine.Memory) {
	weights := 4 * m.Parameters()
	if m.ONNX != nil {
		weights = m.ONNX.WeightBytes
	}
	side := m.Config.ImageSize
	input := int64(o.Instances) * int64(o.MaxBatch) * int64(tensor.FormatFloat32CHW.Size(side, side))
	e.HostPerItem = int64(tensor.FormatUint8HWC.Size(side, side))
	e.HostFixed = input + 2*weights
	if o.Provider.onDevice() {
		e.HostFixed = input
		e.DeviceFixed, e.DevicePerItem = int64(o.Instances)*2*weights, int64(tensor.FormatFloat32CHW.Size(side, side))
	}
	return e
}
