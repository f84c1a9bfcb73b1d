package kernel

import (
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

// gemm is one way to multiply: the shape of its tiles and the functions that compute them.
type gemm struct {
	name    string
	rows    int                        // most rows of A that a tile takes
	cols    int                        // columns of C in a tile, and rows of W in a panel
	pairs   bool                       // a unit is two bfloat16, not one float32
	convert func(dst, src []float32)   // src, floats, to len(dst) units
	tiles   [maxTileRows]func(t *tile) // by rows - 1
}

// maxTileRows is the largest gemm.rows.
const maxTileRows = 13

// units is the number of units that hold k operands.
func (g *gemm) units(k int) int {
	if g.pairs {
		return (k + 1) / 2
	}
	return k
}

// tile is the argument of a tile function, which computes, for each row r of the tile and each of the
// panel's columns,
//
//	out[r] = (in[r] or 0) + A[r] . panel + (add[r] or 0)
//
// summing over k in ascending order. Its layout is known to the assembly. Strides are in bytes; those
// of in and add may be 0.
type tile struct {
	a         unsafe.Pointer // packed rows, aStride units apart
	b         unsafe.Pointer // the panel
	in        unsafe.Pointer // nil: zero
	inStride  uintptr
	add       unsafe.Pointer // nil: nothing
	addStride uintptr
	out       unsafe.Pointer
	outStride uintptr
	k         uintptr // units
	next      uintptr // memory to fetch into the second-level cache, two lines for each four units; a mere hint, so it may lie anywhere
	nextStep  uintptr // 128, or 0 where there is nothing to fetch
	rows      uintptr // read by the portable kernel only
}

// gemms is the matrix product's registry by precision. On a machine without bfloat16 instructions the
// BF16 variants round their operands and multiply them as float32.
var gemms = [...]*cpufeat.Op[*gemm]{
	F32:  cpufeat.New("gemm/f32", genericGemm("generic", copyUnits)),
	BF16: cpufeat.New("gemm/bf16", genericGemm("generic", roundUnits)),
}

func copyUnits(dst, src []float32) { copy(dst, src) }

// roundUnits rounds to bfloat16 and keeps the result as float32.
func roundUnits(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = fromBF16(toBF16(x))
	}
}
