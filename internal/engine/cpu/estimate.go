package cpu

import (
	"github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Estimate is the host memory in bytes that an engine of that model would take: packed weights, the
// instances' activations, and the rows of the batches in flight and of those that wait to be. It packs
// nothing.
func Estimate(c model.Config, o Options) (int64, error) {
	o, precision, err := o.resolve()
	if err != nil {
		return 0, err
	}
	rows := int64(2 * o.MaxBatch * o.Instances)
	row := tensor.FormatUint8HWC.Size(c.ImageSize, c.ImageSize) + tensor.FormatFloat32CHW.Size(c.ImageSize, c.ImageSize)
	return weightBytes(c, precision) + int64(o.Instances)*arenaBytes(c, chunk(c, o.MaxBatch)) + rows*int64(row), nil
}

// weightBytes is what pack's weights take, as it counts them.
func weightBytes(c model.Config, p kernel.Precision) int64 {
	matrix := func(n, k int) int64 { return kernel.PackedBytes(n, k, p) }
	norms, biases := 4*c.Width, 5*c.Width+c.MLP // of QKV 3, Out 1, FC2 1; FC1
	vectors := 4 * int64(norms+biases)
	block := vectors + matrix(3*c.Width, c.Width) + matrix(c.Width, c.Width) + matrix(c.MLP, c.Width) + matrix(c.Width, c.MLP)
	last := vectors + matrix(c.Width, c.Width) + matrix(2*c.Width, c.Width) + matrix(c.Width, c.Width) + matrix(c.MLP, c.Width) + matrix(c.Width, c.MLP)
	rest := matrix(c.Width, 3*c.PatchSize*c.PatchSize) + matrix(c.EmbedDim, c.Width) + 4*int64(4*c.Width)
	return int64(c.Layers-1)*block + last + rest
}

// arenaBytes is what newInstance makes.
func arenaBytes(c model.Config, images int) int64 {
	tokens := images * c.Tokens()
	wide := max(3*c.PatchSize*c.PatchSize, 3*c.Width, c.MLP)
	return 4 * int64(2*tokens*c.Width+tokens*wide+images*(c.Width+c.EmbedDim))
}
