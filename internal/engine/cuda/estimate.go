package cuda

import (
	"fmt"

	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// defaultPinned is how much host memory may be pinned for rows where nothing is said: 7,000 uint8 images of 224 pixels, or
// 1,780 float32 tensors, of which the queue holds 1,024 unless told otherwise.
const defaultPinned = 1 << 30

// Estimate is the host memory in bytes that an engine of that model may come to take, all of it pinned: the rows of
// requests under way up to their limit, and what instances exchange with the device.
func Estimate(c model.Config, o Options) (int64, error) {
	o, err := o.resolve(c)
	if err != nil {
		return 0, err
	}
	_, bytes := exchange(o.MaxBatch, c.EmbedDim)
	return o.PinnedMemory + int64(o.Instances)*int64(bytes), nil
}

// checkPinned fills in the limit, and refuses one that the batches in flight do not fit in: they could never be full.
func (o *Options) checkPinned(c model.Config) error {
	least := int64(o.Instances) * int64(o.MaxBatch) * int64(rowBytes(tensor.FormatUint8HWC, c.ImageSize))
	if o.PinnedMemory <= 0 {
		o.PinnedMemory = max(defaultPinned, 2*least) // as many may wait as are computed
	}
	if o.PinnedMemory >= least {
		return nil
	}
	return fmt.Errorf("cuda engine: %d MiB may be pinned: %d batches of %d images in flight take %d MiB",
		o.PinnedMemory>>20, o.Instances, o.MaxBatch, (least+1<<20-1)>>20)
}
