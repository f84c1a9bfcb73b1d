package cuda

import "github.com/vitrine-project/vitrine/internal/engine/cuda/driver"

// view is a matrix on the device. Row i begins stride elements of size bytes after row i-1.
type view struct {
	at           driver.Pointer
	rows, stride int
	size         int
}

// first is the first n rows.
func (v view) first(n int) view { return view{v.at, n, v.stride, v.size} }

// every is the rows 0, n, 2n, ...: of tokens, the class tokens of images of n tokens each.
func (v view) every(n int) view { return view{v.at, v.rows / n, v.stride * n, v.size} }

// from is the columns from c on.
func (v view) from(c int) view {
	return view{v.at + driver.Pointer(c*v.size), v.rows, v.stride, v.size}
}

// rowSums are partial sums of a matrix's rows, as LayerNorm needs them: row i has parts pairs of float32
// (sum, sum of squares), and row i of the matrix is row i*step of the sums.
type rowSums struct {
	at          driver.Pointer
	step, parts int
}

func (s rowSums) every(n int) rowSums { return rowSums{s.at, s.step * n, s.parts} }
