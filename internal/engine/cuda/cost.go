package cuda

import (
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
)

// cost is what a kernel cannot do without, whatever its tiles are: the operations of its matrix products (a
// multiplication and an addition are two), and the bytes of its operands if each is read or written once. A kernel
// that reads an operand several times moves more, through the L2 or from memory.
type cost struct{ flops, bytes int64 }

func (c cost) times(n int) cost { return cost{c.flops * int64(n), c.bytes * int64(n)} }

// productCost is that of dst = epilogue(src W^T): [m, k] by [n, k], elements of size bytes, with old rows that are added.
// E4M3 is one byte.
func productCost(m, n, k, old, size int, e epilogue) cost {
	operand, out := size, size
	if e.fp8() {
		operand = 1
	}
	switch {
	case e == normedFloat:
		out = 4
	case e.fp8() && e.activates():
		out = 1
	}
	moved := operand*(m*k+n*k) + size*old*n + out*m*n + 4*n
	return cost{2 * int64(m) * int64(n) * int64(k), int64(moved)}
}

// attentionCost is that of one head of one image: scores and weighted sums; queries in and out, keys and values in.
func attentionCost(queries, tokens, size int) cost {
	return cost{2 * 2 * int64(queries) * int64(tokens) * headDim, int64(size * headDim * (2*queries + 2*tokens))}
}

// normCost is that of rows read and written in place; there is no product.
func normCost(rows, width, size int) cost {
	return cost{0, 2 * int64(rows) * int64(width) * int64(size)}
}

// patchCost is that of one image of three bytes a pixel, cut to rows of ld elements.
func patchCost(pixels, tokens, ld, size int) cost {
	return cost{0, 3*int64(pixels)*int64(pixels) + int64(tokens)*int64(ld)*int64(size)}
}

// flopsPerCycle is what a multiprocessor's matrix units (float32: its ordinary ones) do in a cycle at most, without
// sparsity, with float32 sums: NVIDIA's white papers on A100, GA102, Ada, H100 and Blackwell, whose figures divided by
// multiprocessors and clock give these. GeForce cards of 8.6 and 8.9 are held to half of it. 0 is unknown.
func flopsPerCycle(c driver.Capability, p engine.Precision) int {
	half := map[driver.Capability]int{80: 2048, 86: 1024, 89: 1024, 90: 4096, 100: 8192}
	single := map[driver.Capability]int{80: 128, 86: 256, 89: 256, 90: 256, 100: 256, 120: 256}
	switch p {
	case engine.FP32:
		return single[c]
	case engine.FP16, engine.BF16:
		return half[c]
	}
	return 0
}

// peaks are the most operations and bytes in a second, at the highest clocks that the driver names. Memory moves data
// at both edges of its clock.
func peaks(i driver.Info, p engine.Precision) (flops, bytes float64) {
	flops = float64(flopsPerCycle(i.Capability, p)) * float64(i.Multiprocessors) * float64(i.Clock) * 1e3
	return flops, 2 * float64(i.MemoryClock) * 1e3 * float64(i.BusWidth) / 8
}
