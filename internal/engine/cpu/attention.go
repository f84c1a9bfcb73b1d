package cpu

import "github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"

type attentionJob struct {
	pool            *kernel.Pool
	dst, query      view
	key, value      view
	queries, tokens int // of one image
	heads, dim      int
}

// attention sets dst = softmax(query key^T / sqrt(dim)) value for each head of each of n images. query
// and dst have the same number of rows, key and value all tokens.
func (r *instance) attention(dst, query, key, value view, n int) {
	c := &r.weights.config
	r.attends = attentionJob{
		pool: r.pool, dst: dst, query: query, key: key, value: value,
		queries: query.rows / n, tokens: key.rows / n, heads: c.Heads, dim: c.HeadDim(),
	}
	r.pool.Run(n*c.Heads, r.attendRun)
}

// part is one head of one image.
func (j *attentionJob) part(part, worker int) {
	image, column := part/j.heads, part%j.heads*j.dim
	q, k := image*j.queries, image*j.tokens
	kernel.Attention(kernel.Head{
		Out: j.dst.data[q*j.dst.stride+column:], OutStride: j.dst.stride,
		Query: j.query.data[q*j.query.stride+column:], QueryStride: j.query.stride,
		Key: j.key.data[k*j.key.stride+column:], Value: j.value.data[k*j.value.stride+column:], KeyStride: j.key.stride,
		Queries: j.queries, Tokens: j.tokens, Dim: j.dim,
	}, j.pool.Scratch(worker, kernel.AttentionScratch(j.queries, j.tokens, j.dim)))
}
