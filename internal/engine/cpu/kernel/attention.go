package kernel

import "math"

// Head is one attention head of one image: matrices in row-major memory of which consecutive rows are
// a stride apart.
type Head struct {
	Out       []float32 // [Queries, Dim], stride OutStride
	Query     []float32 // [Queries, Dim], stride QueryStride
	Key       []float32 // [Tokens, Dim], stride KeyStride
	Value     []float32 // [Tokens, Dim], stride KeyStride
	OutStride int

	QueryStride, KeyStride int
	Queries, Tokens, Dim   int
}

// queryBlock is how many rows of scores are computed before they are used: for 577 tokens they are
// 140 KB and stay in the second-level cache.
const queryBlock = 60

// AttentionScratch is the number of floats that Attention needs.
func AttentionScratch(queries, tokens, dim int) int {
	columns, width := roundUp(tokens), roundUp(dim)
	n := dim*columns + min(queries, queryBlock)*columns
	if width != dim {
		n += tokens*width + min(queries, queryBlock)*width
	}
	return n
}

// Attention sets Out = softmax(Query Key^T / sqrt(Dim)) Value. scratch has at least
// AttentionScratch(Queries, Tokens, Dim) floats; Out overlaps none of the inputs.
func Attention(h Head, scratch []float32) { vectors.Best().Impl.attention(h, scratch) }

func (o *vectorOps) attention(h Head, scratch []float32) {
	columns := roundUp(h.Tokens)
	keys, rest := scratch[:h.Dim*columns], scratch[h.Dim*columns:]
	rows := min(h.Queries, queryBlock)
	scores, rest := rest[:rows*columns], rest[rows*columns:]
	transpose(keys, columns, h.Key, h.KeyStride, h.Tokens, h.Dim)
	if width := roundUp(h.Dim); width != h.Dim {
		padded := h
		padded.Value, rest = rest[:h.Tokens*width], rest[h.Tokens*width:]
		copyRows(padded.Value, width, h.Value, h.KeyStride, h.Tokens, h.Dim)
		o.attend(padded, keys, scores, columns, width, rest[:rows*width])
		return
	}
	o.attend(h, keys, scores, columns, h.KeyStride, nil)
}

// attend goes through the queries in blocks. Where out is given the rows of a block go there, wide
// enough for the rounded dimension, and are copied from there.
func (o *vectorOps) attend(h Head, keys, scores []float32, columns, valueStride int, out []float32) {
	width, scale := roundUp(h.Dim), float32(1/math.Sqrt(float64(h.Dim)))
	for lo := 0; lo < h.Queries; lo += queryBlock {
		n := min(queryBlock, h.Queries-lo)
		o.mulRows(scores, columns, h.Query[lo*h.QueryStride:], h.QueryStride, keys, columns, n, h.Tokens, h.Dim)
		o.softmaxRows(scores, n, columns, h.Tokens, scale)
		to := h.Out[lo*h.OutStride:]
		if out == nil {
			o.mulRows(to, h.OutStride, scores, columns, h.Value, valueStride, n, h.Dim, h.Tokens)
			continue
		}
		o.mulRows(out, width, scores, columns, h.Value, valueStride, n, h.Dim, h.Tokens)
		copyRows(to, h.OutStride, out, width, n, h.Dim)
	}
}

// transpose sets dst[dim, columns] to src[rows, dim] transposed; the columns after rows become 0.
func transpose(dst []float32, columns int, src []float32, stride, rows, dim int) {
	t := 0
	for ; t+4 <= rows; t += 4 {
		a, b, c, d := src[t*stride:][:dim], src[(t+1)*stride:][:dim], src[(t+2)*stride:][:dim], src[(t+3)*stride:][:dim]
		at := t
		for i := range a {
			to := dst[at : at+4 : at+4]
			to[0], to[1], to[2], to[3] = a[i], b[i], c[i], d[i]
			at += columns
		}
	}
	for ; t < columns; t++ {
		for i := range dim {
			if t < rows {
				dst[i*columns+t] = src[t*stride+i]
			} else {
				dst[i*columns+t] = 0
			}
		}
	}
}

func copyRows(dst []float32, dstStride int, src []float32, srcStride, rows, n int) {
	for i := range rows {
		copy(dst[i*dstStride:][:n], src[i*srcStride:][:n])
	}
}
