package cpu

import (
	"context"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// instance is the working memory of one Run. It is planned once: no Run allocates.
type instance struct {
	weights *weights
	pool    *kernel.Pool
	profile *profile
	clock   stopwatch
	number  int

	x          view      // [tokens, width] the residual stream
	h          view      // [tokens, width] what a LayerNorm or attention gives
	wide       []float32 // one after the other: patches, query-key-value, the MLP's hidden layer
	query      view      // [images, width] of the class tokens in the last block
	embeddings view      // [images, embed]

	pixels    model.PixelTable
	images    imagesJob
	norms     normJob
	attends   attentionJob
	imagesRun func(part, worker int) // the jobs' methods, bound once
	normsRun  func(part, worker int)
	attendRun func(part, worker int)
}

func newInstance(e *Engine, number int) *instance {
	c := e.weights.config
	tokens := e.chunk * c.Tokens()
	r := &instance{
		weights: e.weights, pool: e.pool, profile: &e.profile, number: number,
		x:          newView(tokens, c.Width),
		h:          newView(tokens, c.Width),
		wide:       tensor.AlignedFloat32s(tokens * max(3*c.PatchSize*c.PatchSize, 3*c.Width, c.MLP)),
		query:      newView(e.chunk, c.Width),
		embeddings: newView(e.chunk, c.EmbedDim),
		pixels:     c.PixelTable(),
	}
	r.imagesRun, r.normsRun, r.attendRun = r.images.part, r.norms.part, r.attends.part
	return r
}

func newView(rows, columns int) view {
	return view{tensor.AlignedFloat32s(rows * columns), rows, columns}
}

// hidden is a matrix in the wide memory; the last one ends where the next begins.
func (r *instance) hidden(rows, columns int) view { return view{r.wide[:rows*columns], rows, columns} }

func (r *instance) bytes() int64 {
	return int64(4 * (len(r.x.data) + len(r.h.data) + len(r.wide) + len(r.query.data) + len(r.embeddings.data)))
}

// run computes at most a chunk of images and adds to the timings.
func (r *instance) run(ctx context.Context, rows []tensor.Row, out [][]float32, t *engine.Timings) error {
	r.clock = r.profile.start(r.number)
	start := time.Now()
	patches := r.input(rows)
	r.clock.lap(opInput)
	ready := time.Now()
	t.Input += ready.Sub(start)
	if err := r.forward(ctx, patches, len(rows)); err != nil {
		return err
	}
	computed := time.Now()
	t.Compute += computed.Sub(ready)
	for i := range out {
		copy(out[i], r.embeddings.row(i, len(out[i])))
	}
	t.Output += time.Since(computed)
	return nil
}

// multiply sets dst = epilogue(src W^T + bias).
func (r *instance) multiply(dst view, l linear, src view, act kernel.Activation) {
	l.weight.Mul(r.pool, dst.data, dst.stride, src.data, src.stride, src.rows, kernel.Epilogue{Bias: l.bias, Activation: act})
}

// accumulate adds src W^T + bias to dst.
func (r *instance) accumulate(dst view, l linear, src view) {
	l.weight.Mul(r.pool, dst.data, dst.stride, src.data, src.stride, src.rows, kernel.Epilogue{Bias: l.bias, Residual: dst.data})
}
