package cuda

import "github.com/vitrine-project/vitrine/internal/model"

// forward launches the computation of n images' embeddings from the rows in the table: the image tower of
// CLIP (Radford et al. 2021), a Vision Transformer (Dosovitskiy et al. 2020, equations 1 to 4) with a
// LayerNorm before the first block and a linear projection after the last. All LayerNorms but that first
// one are folded into the products that follow them (kernels/gemm.cuh).
func (a *arena) forward(l *launcher, w *weights, n int) error {
	c := &w.config
	tokens := c.Tokens()
	rows := n * tokens
	x, h, sums := a.x.first(rows), a.h.first(rows), a.sums
	narrow := a.narrow.first(rows) // x in E4M3, for layers that read it so

	// The class token's patch is zero: its row becomes the class embedding and its position.
	patches := a.hidden(rows, w.patchWidth)
	l.patches(patches, a.tableAt(), w, n)
	l.add(x, w.patch, patches, w.positions, sums, view{})
	xSums := l.norm(x, w.preNorm, sums)

	for i := range w.blocks {
		b, out := &w.blocks[i], x
		if i < len(w.blocks)-1 {
			qkv := a.hidden(rows, 3*c.Width)
			l.normed(qkv, b.queryKeyValue, b.queryKeyValue.reads(x, narrow), xSums, normed)
			l.attention(h, qkv, qkv.from(c.Width), qkv.from(2*c.Width), n, c.Heads)
		} else {
			// The embedding is the class token's. Its query needs every key and value; everything after
			// them is needed for its own row only.
			q, kv := a.lastQueryKeyValue(l, b.queryKeyValue, b.queryKeyValue.reads(x, narrow), xSums, n, tokens)
			x, h, out = x.every(tokens), h.first(n), a.class.first(n)
			l.attention(h, q, kv, kv.from(c.Width), n, c.Heads)
		}
		xSums = l.add(out, b.out, h, x, sums, narrow)
		x = out
		mlp := a.hiddenFor(b.fc2, x.rows)
		l.normed(mlp, b.fc1, b.fc1.reads(x, narrow), xSums, activation(c))
		xSums = l.add(x, b.fc2, mlp, x, sums, narrow)
	}
	l.normed(a.embeddings(n), w.proj, x, xSums, normedFloat)
	return l.err
}

// fewRows is the size up to which another launch costs more than queries that nobody needs.
const fewRows = 1600

// lastQueryKeyValue computes the class tokens' queries, and all keys and values side by side.
func (a *arena) lastQueryKeyValue(l *launcher, layer linear, x view, sums rowSums, n, tokens int) (q, kv view) {
	width := layer.k
	if x.rows <= fewRows {
		qkv := a.hidden(x.rows, 3*width)
		l.normed(qkv, layer, x, sums, normed)
		return qkv.every(tokens), qkv.from(width)
	}
	kv, q = a.hidden(x.rows, 2*width), a.query.first(n)
	l.normed(kv, layer.outputs(width, 3*width), x, sums, normed)
	l.normed(q, layer.outputs(0, width), x.every(tokens), sums.every(tokens), normed)
	return q, kv
}

func activation(c *model.Config) epilogue {
	if c.Activation == model.QuickGELU {
		return normedQuickGELU
	}
	return normedGELU
}
