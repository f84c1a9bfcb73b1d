package cpu

import (
	"context"

	"github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"
	"github.com/vitrine-project/vitrine/internal/model"
)

// forward computes the embeddings of n images from their patches: the image tower of CLIP (Radford et
// al. 2021), a Vision Transformer (Dosovitskiy et al. 2020, equations 1 to 4) with a LayerNorm before
// the first block and a linear projection after the last.
func (r *instance) forward(ctx context.Context, patches view, n int) error {
	w, c := r.weights, &r.weights.config
	tokens := c.Tokens()
	x, h := r.x.first(n*tokens), r.h.first(n*tokens)

	// x is the class embedding and the patches' embeddings, each with its position: input has put the
	// class embedding and the positions there, and the class token's patch is zero.
	r.accumulate(x, w.patch, patches)
	r.clock.lap(opPatch)
	r.norm(x, x, w.preNorm)
	r.clock.lap(opNorm)

	for i := range w.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := &w.blocks[i]

		r.norm(h, x, b.ln1)
		r.clock.lap(opNorm)
		if i < len(w.blocks)-1 {
			qkv := r.hidden(n*tokens, 3*c.Width)
			r.multiply(qkv, b.queryKeyValue, h, kernel.None)
			r.clock.lap(opQKV)
			r.attention(h, qkv, qkv.from(c.Width), qkv.from(2*c.Width), n)
		} else {
			// The embedding is the class token's. Its query needs every key and value; everything after
			// them is needed for its own row only.
			kv := r.hidden(n*tokens, 2*c.Width)
			q := r.query.first(n)
			r.multiply(kv, b.keyValue, h, kernel.None)
			r.multiply(q, b.query, h.every(tokens), kernel.None)
			r.clock.lap(opQKV)
			x, h = x.every(tokens), h.first(n)
			r.attention(h, q, kv, kv.from(c.Width), n)
		}
		r.clock.lap(opAttention)
		r.accumulate(x, b.out, h)
		r.clock.lap(opOut)

		r.norm(h, x, b.ln2)
		r.clock.lap(opNorm)
		mlp := r.hidden(x.rows, c.MLP)
		r.multiply(mlp, b.fc1, h, activation(c))
		r.clock.lap(opFC1)
		r.accumulate(x, b.fc2, mlp)
		r.clock.lap(opFC2)
	}

	r.norm(h, x, w.postNorm)
	r.clock.lap(opNorm)
	r.multiply(r.embeddings.first(n), w.proj, h, kernel.None)
	r.clock.lap(opProjection)
	return nil
}

func activation(c *model.Config) kernel.Activation {
	if c.Activation == model.QuickGELU {
		return kernel.ActQuickGELU
	}
	return kernel.ActGELU
}
