package cpu

import "github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"

// normRows is how many rows one part normalises: some microseconds of work.
const normRows = 16

type normJob struct {
	dst, src view
	norm     norm
	epsilon  float32
}

// norm sets dst = LayerNorm(src), row by row; dst may be src.
func (r *instance) norm(dst, src view, n norm) {
	r.norms = normJob{dst, src, n, r.weights.config.Epsilon}
	r.pool.Run((src.rows+normRows-1)/normRows, r.normsRun)
}

func (j *normJob) part(part, _ int) {
	width := len(j.norm.weight)
	for i := part * normRows; i < min((part+1)*normRows, j.src.rows); i++ {
		kernel.LayerNorm(j.dst.row(i, width), j.src.row(i, width), j.norm.weight, j.norm.bias, j.epsilon)
	}
}
