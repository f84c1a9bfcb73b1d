package cuda

import (
	"fmt"
	"math"
	"strings"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
)

// gemmArgs is GemmArgs of kernels/gemm.cuh.
type gemmArgs struct {
	mapA, mapW              driver.TensorMap
	a, w, out, residual     driver.Pointer
	bias, sums              driver.Pointer
	statsIn, statsOut       driver.Pointer
	m, n, k                 int32
	lda, ldOut, ldResidual  int32
	residualRows, statsStep int32
	partsIn, partsOut       int32
	inverseWidth, epsilon   float32
	_                       [4]int32
}

// added is how many rows of a residual there are.
func (g *gemmArgs) added(e epilogue) int {
	switch {
	case !e.adds():
		return 0
	case g.residualRows > 0:
		return int(g.residualRows)
	}
	return int(g.m)
}

// scaledArgs is ScaledArgs of kernels/scaled.cuh: what products around fp8 need besides.
type scaledArgs struct {
	gemmArgs
	scales, copy driver.Pointer
	outScale     float32
	ldCopy       int32
	_            [10]int32
}

// epilogue is what happens to a product before it is stored, and what its operands are: E4M3 of those that begin with
// "fp8", else the precision.
type epilogue string

const (
	normed          epilogue = "norm"           // LayerNorm of the input folded in, bias
	normedQuickGELU epilogue = "norm_quickgelu" // and the activation
	normedGELU      epilogue = "norm_gelu"
	normedFloat     epilogue = "norm_float" // as normed, float32 out
	residual        epilogue = "residual"   // bias, plus residual; sums for the next LayerNorm

	residualCopy epilogue = "residual_copy" // as residual, and the result as E4M3 too

	// Operands in E4M3. The activations store E4M3, residual stores it too where a copy is asked for.
	fp8Normed          epilogue = "fp8_norm"
	fp8NormedQuickGELU epilogue = "fp8_norm_quickgelu"
	fp8NormedGELU      epilogue = "fp8_norm_gelu"
	fp8Residual        epilogue = "fp8_residual"
)

// fp8 tells whether the operands are E4M3.
func (e epilogue) fp8() bool { return strings.HasPrefix(string(e), "fp8") }

// scaled tells whether the kernel takes scaledArgs.
func (e epilogue) scaled() bool { return e.fp8() || e == residualCopy }

// adds tells whether a residual is added.
func (e epilogue) adds() bool { return e == residual || e == residualCopy || e == fp8Residual }

// activates tells whether an activation is applied.
func (e epilogue) activates() bool {
	return e == normedQuickGELU || e == normedGELU || e == fp8NormedQuickGELU || e == fp8NormedGELU
}

// inFP8 is the same with operands in E4M3.
func (e epilogue) inFP8() epilogue { return "fp8_" + e }

// blockK is how many columns of k a block multiplies at a time: rows of 128 bytes on Hopper.
func (e epilogue) blockK() int {
	if e.fp8() {
		return 2 * blockK
	}
	return blockK
}

// variant is one compiled form of the product: a tile of rows x cols a block.
type variant struct {
	name        string
	rows, cols  int
	threads     int
	stages      int // of shared memory; 0: static
	down        int // blocks of a cluster one above the other: they share W
	across      int // blocks of a cluster side by side: they share A
	split       int // blocks of a cluster that share k
	perSM       int // blocks that fit on a multiprocessor
	partColumns int // columns that one partial sum of a row covers
	hopper      bool
	epilogues   []epilogue
}

var (
	norms   = []epilogue{normed, normedQuickGELU, normedGELU}
	both    = append([]epilogue{residual}, norms...)
	adding  = []epilogue{residual}
	all     = append([]epilogue{normedFloat}, both...)
	onlyOut = []epilogue{normedFloat}
	fp8s    = []epilogue{fp8Normed, fp8NormedQuickGELU, fp8NormedGELU, fp8Residual, residualCopy}
)

// portable run everywhere; reference are float32's; hopper repeats INSTANCES of kernels/gemm_sm90.cuh.
var (
	portable = []variant{
		{"128x128", 128, 128, 256, 3, 1, 1, 1, 2, 32, false, all},
		{"64x64", 64, 64, 128, 4, 1, 1, 1, 3, 32, false, all},
	}
	reference = []variant{{"64x64", 64, 64, 256, 0, 1, 1, 1, 4, 64, false, all}}
	hopper    = []variant{
		{"1x24", 64, 24, 160, 8, 1, 1, 1, 2, 24, true, both},
		{"1x48", 64, 48, 160, 7, 1, 1, 1, 2, 48, true, both},
		{"1x48n4", 64, 48, 160, 7, 1, 4, 1, 2, 48, true, both},
		{"1x96", 64, 96, 160, 5, 1, 1, 1, 2, 96, true, both},
		{"1x128", 64, 128, 160, 4, 1, 1, 1, 2, 128, true, both},
		{"1x192", 64, 192, 160, 6, 1, 1, 1, 1, 192, true, both},
		{"1x192m2", 64, 192, 160, 6, 2, 1, 1, 1, 192, true, both},
		{"2x128", 128, 128, 320, 3, 1, 1, 1, 2, 128, true, both},
		{"2x128m2", 128, 128, 320, 3, 2, 1, 1, 2, 128, true, both},
		{"2x128m2n2", 128, 128, 384, 6, 2, 2, 1, 1, 128, true, both},
		{"2x192m2", 128, 192, 384, 5, 2, 1, 1, 1, 192, true, both},
		{"t128m2", 128, 128, 384, 6, 2, 1, 1, 1, 128, true, both},
		{"2x256", 128, 256, 384, 4, 1, 1, 1, 1, 256, true, both},
		{"2x256m2", 128, 256, 384, 4, 2, 1, 1, 1, 256, true, both},
		{"1x24k4", 64, 24, 160, 8, 1, 1, 4, 2, 24, true, adding},
		{"1x48k2", 64, 48, 160, 7, 1, 1, 2, 2, 48, true, both},
		{"1x48k4", 64, 48, 160, 7, 1, 1, 4, 2, 48, true, both},
		{"1x96k2", 64, 96, 160, 5, 1, 1, 2, 2, 96, true, both},
		{"1x96k4", 64, 96, 160, 5, 1, 1, 4, 2, 96, true, both},
		{"1x32", 64, 32, 160, 8, 1, 1, 1, 2, 32, true, onlyOut},
	}
	// around fp8; repeats INSTANCES_FP8 of kernels/gemm_sm90_fp8.cuh
	hopperFP8 = []variant{
		{"1x32", 64, 32, 160, 8, 1, 1, 1, 2, 32, true, fp8s},
		{"1x64", 64, 64, 160, 6, 1, 1, 1, 2, 64, true, fp8s},
		{"1x96", 64, 96, 160, 5, 1, 1, 1, 2, 96, true, fp8s},
		{"1x128", 64, 128, 160, 4, 1, 1, 1, 2, 128, true, fp8s},
		{"1x192m2", 64, 192, 160, 6, 2, 1, 1, 1, 192, true, fp8s},
		{"2x128", 128, 128, 320, 3, 1, 1, 1, 2, 128, true, fp8s},
		{"2x128m2", 128, 128, 320, 3, 2, 1, 1, 2, 128, true, fp8s},
		{"2x192m2", 128, 192, 384, 5, 2, 1, 1, 1, 192, true, fp8s},
		{"t128m2", 128, 128, 384, 6, 2, 1, 1, 1, 128, true, fp8s},
		{"2x256m2", 128, 256, 384, 4, 2, 1, 1, 1, 256, true, fp8s},
		{"1x64k2", 64, 64, 160, 6, 1, 1, 2, 2, 64, true, fp8s},
		{"1x32k4", 64, 32, 160, 8, 1, 1, 4, 2, 32, true, fp8s},
	}
)

// blockK is how many columns of k a block multiplies at a time in 16 bits; k is padded to it.
const blockK = 64

// shared is the dynamic shared memory of a block, bytes.
func (v variant) shared(e epilogue) int {
	bytes := v.stages * (v.rows + v.cols) * 2 * blockK
	if v.hopper {
		bytes += 16*v.stages + 48 + 2*8*(v.rows+v.cols) + 1024   // barriers, what two epilogues need, alignment
		bytes += (v.split - 1) * (v.rows / v.split) * v.cols * 4 // what the other blocks send
		if e.fp8() {
			bytes += 2 * 4 * v.cols // scales of two epilogues
		}
	}
	return bytes
}

// tiles is the number of tiles that blocks, or clusters that share tiles of A and W, compute.
func (v variant) tiles(m, n int) int { return ceil(m, v.rows*v.down) * (n / (v.cols * v.across)) }

// fits tells whether the variant computes such a product.
func (v variant) fits(n, k int, e epilogue) bool {
	if n%(v.cols*v.across) != 0 || k%(e.blockK()*v.split) != 0 {
		return false
	}
	for _, have := range v.epilogues {
		if have == e {
			return true
		}
	}
	return false
}

// blocks is the size of the grid: a block a tile, or on Hopper as many as run at once, each taking tiles
// in turn.
func (v variant) blocks(m, n, multiprocessors int) int {
	cluster := v.down * v.across * v.split
	tiles := v.tiles(m, n)
	if v.hopper && v.split == 1 {
		tiles = min(tiles, multiprocessors*v.perSM/cluster)
	}
	return tiles * cluster
}

// cycles estimates how long a product takes on Hopper: waves of tiles, each of which waits for its first
// data, then for whatever is slower of the matrix unit (4096 operations a cycle, of E4M3 twice as many) and the way into the
// multiprocessor (about 50 bytes a cycle, multicast or not), then stores.
func (v variant) cycles(m, n, k int, e epilogue, multiprocessors int) float64 {
	blocks := v.tiles(m, n) * v.down * v.across * v.split
	sharing := min(v.perSM, ceil(blocks, multiprocessors))
	waves := ceil(blocks, multiprocessors*sharing)
	arithmetic := float64(v.rows*v.cols*blockK*2) / 4096
	bytes := float64((v.rows+v.cols)*2*blockK) / 50
	step := max(arithmetic, bytes, 50) * float64(sharing)
	finish := 400 + float64(v.rows*v.cols)/16
	if v.split > 1 {
		finish += 1500
	}
	return 1500 + float64(waves)*(float64(ceil(k, e.blockK())/v.split)*step+finish)
}

// choose is the fastest variant for a product: as measured, where such a product was, else by the estimate.
func choose(from []variant, m, n, k int, e epilogue, multiprocessors int) (variant, error) {
	if v, ok := measured(from, m, n, k, e); ok {
		return v, nil
	}
	best, found := math.Inf(1), -1
	for i, v := range from {
		if !v.fits(n, k, e) {
			continue
		}
		if c := v.cycles(m, n, k, e, multiprocessors); c < best {
			best, found = c, i
		}
	}
	if found < 0 {
		return variant{}, fmt.Errorf("no kernel multiplies by %d x %d (%s): the sizes must be multiples of %d", n, k, e, e.blockK())
	}
	return from[found], nil
}

func ceil(a, b int) int { return (a + b - 1) / b }
