package cpu

// view is a matrix in an arena: row i begins at data[i*stride].
type view struct {
	data         []float32
	rows, stride int
}

// first is the first n rows.
func (v view) first(n int) view { return view{v.data, n, v.stride} }

// every is the rows 0, n, 2n, ...: of tokens, the class tokens of images of n tokens each.
func (v view) every(n int) view { return view{v.data, v.rows / n, v.stride * n} }

// from is the columns from c on.
func (v view) from(c int) view { return view{v.data[c:], v.rows, v.stride} }

// row is n values of row i.
func (v view) row(i, n int) []float32 { return v.data[i*v.stride:][:n] }
