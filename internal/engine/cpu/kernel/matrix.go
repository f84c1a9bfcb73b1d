// Package kernel holds the operators of the native CPU engine. Each operator has a portable
// implementation in Go and variants in generated assembly; the registry in cpufeat picks one.
package kernel

import (
	"fmt"
	"unsafe"
)

// Precision is how a matrix product reads its operands. Sums are float32 in both cases.
type Precision uint8

const (
	F32  Precision = iota // operands as they are
	BF16                  // operands rounded to bfloat16, to nearest even, subnormals to zero
)

// String is the name of the precision.
func (p Precision) String() string {
	switch p {
	case F32:
		return "f32"
	case BF16:
		return "bf16"
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}

// kBlock is how many 32-bit units of k one pass over a panel covers, so that a block of A's rows and
// a panel of W stay in the second-level cache. The assembly knows aStride.
const (
	kBlock  = 768
	aStride = kBlock + 16 // units between packed rows of A: no multiple of a page, so rows spread over the cache's sets
)

// Matrix is a weight matrix W [n,k], packed once for y = x W^T.
//
// It is cut into blocks of kBlock units of k and panels of g.cols rows of W (columns of y). The data
// runs block by block, panel by panel, and inside a panel unit by unit, one unit of each of the
// panel's rows. A unit is a float32, or two bfloat16 of adjacent k (the lower k in the lower half).
// Missing rows and a missing last k are zero.
type Matrix struct {
	n, k   int
	units  int // of 32 bits that hold k
	panels int
	g      *gemm
	data   []float32
}

// Rows is n, the number of outputs.
func (w *Matrix) Rows() int { return w.n }

// Cols is k, the number of inputs.
func (w *Matrix) Cols() int { return w.k }

// Bytes is the memory of the packed weights.
func (w *Matrix) Bytes() int64 { return int64(len(w.data)) * 4 }

// PackedBytes is what Pack's matrix of that size will take, without packing one.
func PackedBytes(n, k int, p Precision) int64 {
	g := gemms[p].Best().Impl
	return 4 * int64(g.panelRows(n)) * int64(g.units(k))
}

// panelRows is n filled up to whole panels.
func (g *gemm) panelRows(n int) int { return (n + g.cols - 1) / g.cols * g.cols }

// Variant is the name of the kernels that will multiply by w.
func (w *Matrix) Variant() string { return w.g.name }

// Pack packs w, row-major [n,k], and keeps no reference to it.
func Pack(w []float32, n, k int, p Precision) *Matrix {
	if len(w) < n*k {
		panic(fmt.Sprintf("kernel: Pack: %d floats for a matrix of %d by %d", len(w), n, k))
	}
	return PackFunc(n, k, p, func(i int, dst []float32) { copy(dst, w[i*k:]) })
}

// PackFunc packs a matrix whose row i is written to dst, of length k, by row(i, dst). Rows are asked
// for once each, in ascending order, so that weights need never be in memory as a whole.
func PackFunc(n, k int, p Precision, row func(i int, dst []float32)) *Matrix {
	return packWith(gemms[p].Best().Impl, n, k, row)
}

func packWith(g *gemm, n, k int, row func(i int, dst []float32)) *Matrix {
	if n <= 0 || k <= 0 {
		panic(fmt.Sprintf("kernel: a matrix of %d by %d", n, k))
	}
	w := &Matrix{n: n, k: k, units: g.units(k), panels: g.panelRows(n) / g.cols, g: g}
	w.data = alignedFloats(w.panels * g.cols * w.units)
	adviseHuge(w.data)
	rows := make([]float32, g.cols*w.units)
	one := make([]float32, k)
	for p := range w.panels {
		for c := range g.cols {
			dst := rows[c*w.units : (c+1)*w.units]
			if i := p*g.cols + c; i < n {
				row(i, one)
				g.convert(dst, one)
			} else {
				clear(dst)
			}
		}
		w.fill(p, rows)
	}
	return w
}

// fill writes panel p, whose rows of units follow each other in rows.
func (w *Matrix) fill(p int, rows []float32) {
	for k0 := 0; k0 < w.units; k0 += kBlock {
		dst := w.panel(k0, p)
		cols := w.g.cols
		for c := range cols {
			src := rows[c*w.units+k0:]
			for i, d := 0, c; d < len(dst); i, d = i+1, d+cols {
				dst[d] = src[i]
			}
		}
	}
}

// panel is the part of panel p that belongs to the block starting at unit k0.
func (w *Matrix) panel(k0, p int) []float32 {
	kc := min(kBlock, w.units-k0)
	start := (k0*w.panels + p*kc) * w.g.cols
	return w.data[start : start+kc*w.g.cols]
}

// alignedFloats makes n floats that start on a cache line.
func alignedFloats(n int) []float32 {
	const line = 64
	b := make([]float32, n+line/4)
	skip := (line - uintptr(unsafe.Pointer(unsafe.SliceData(b)))%line) % line / 4
	return b[skip : int(skip)+n : int(skip)+n]
}
