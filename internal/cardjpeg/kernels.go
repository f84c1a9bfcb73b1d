package cardjpeg

import (
	"errors"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	codes "github.com/vitrine-project/vitrine/internal/engine/cuda/kernels"
)

// kernels are the functions of kernels/resize.cu on a device.
type kernels struct {
	module   driver.Module
	passing  driver.Function
	marking  driver.Function
	checking driver.Function
	outBytes int // of the largest result
}

func loadKernels(g driver.GPU, size int) (k *kernels, err error) {
	target, err := codes.TargetFor(int(g.Info().Capability))
	if err != nil {
		return nil, err
	}
	code, err := codes.Image(target, "resize")
	if err != nil {
		return nil, err
	}
	k = &kernels{outBytes: int(aligned(3 * int64(size) * int64(size)))}
	if k.module, err = g.Load(code); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name string
		to   *driver.Function
	}{{"resize_pass", &k.passing}, {"resize_mark", &k.marking}, {"resize_check", &k.checking}} {
		if *f.to, err = g.Function(k.module, f.name, 0); err != nil {
			return nil, errors.Join(err, g.Unload(k.module))
		}
	}
	return k, nil
}

// threads of a block, kThreads of kernels/resize.cu.
const threads = 256

func blocks(n int64) uint32 { return uint32((n + threads - 1) / threads) }

// passArgs is PassArgs of kernels/resize.cu.
type passArgs struct{ passes driver.Pointer }

// markArgs is MarkArgs of kernels/resize.cu.
type markArgs struct {
	images, flags driver.Pointer
	count, _      int32
}

func (k *kernels) launch(a *lane, f driver.Function, x, y uint32, args []byte) error {
	return a.gpu.Launch(driver.Launch{Function: f, Grid: driver.Dim{X: x, Y: y, Z: 1}, Block: driver.Dim{X: threads, Y: 1, Z: 1}, Args: args}, a.stream)
}

// mark marks the images that are going to be decoded.
func (k *kernels) mark(a *lane, p *plan) error { return k.marks(a, p, k.marking) }

func (k *kernels) marks(a *lane, p *plan, f driver.Function) error {
	g := markArgs{images: p.at[2], flags: a.output, count: int32(len(p.marks))}
	return k.launch(a, f, blocks(int64(len(p.marks))), 1, driver.Bytes(&g))
}

// resize looks for marks that are left, and resizes.
func (k *kernels) resize(a *lane, p *plan) error {
	if err := k.marks(a, p, k.checking); err != nil {
		return err
	}
	for i, list := range p.passes {
		var most int64
		for _, q := range list {
			most = max(most, int64(q.outputs)*int64(q.lines))
		}
		g := passArgs{p.at[i]}
		if err := k.launch(a, k.passing, blocks(most), uint32(len(list)), driver.Bytes(&g)); err != nil {
			return err
		}
	}
	return nil
}
