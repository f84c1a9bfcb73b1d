package cuda

import (
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// quantised packs a layer in fp8: E4M3 weights, LayerNorm's weight folded in, each row with a scale; what sums of
// products count is the row's scale times the input's.
func (p *packer) quantised(to *linear, from source, input float32) {
	*to = linear{n: from.n, k: from.k, size: 1, input: input}
	p.add(&to.weight, from.n*from.k, func(dst []byte) error {
		return p.rows(from, func(i int, row []float32) { fp8.QuantiseRow(dst[i*from.k:][:from.k], row) })
	})
	p.add(&to.scales, 4*from.n, func(dst []byte) error {
		codes := make([]byte, from.k)
		scales := tensor.Float32s(dst)
		return p.rows(from, func(i int, row []float32) { scales[i] = input * fp8.QuantiseRow(codes, row) })
	})
	p.add(&to.bias, 4*from.n, func(dst []byte) error { return p.fillBias(dst, from) })
	if from.norm == nil {
		return
	}
	// As fillSums: the weights as they are stored, in float32's unit.
	p.add(&to.sums, 4*from.n, func(dst []byte) error {
		codes := make([]byte, from.k)
		sums := tensor.Float32s(dst)
		return p.rows(from, func(i int, row []float32) {
			scale, sum := fp8.QuantiseRow(codes, row), 0.0
			for _, c := range codes {
				sum += float64(tensor.E4M3ToFloat32(c))
			}
			sums[i] = float32(float64(scale) * sum)
		})
	})
}

// rows calls visit with each row of a layer's weights, LayerNorm's weight folded in.
func (p *packer) rows(s source, visit func(i int, row []float32)) error {
	w, gamma, _, err := s.load()
	if err != nil {
		return err
	}
	row := make([]float32, s.k)
	for i := range s.n {
		s.row(w, gamma, i, func(j int, _, folded float32) { row[j] = folded })
		visit(i, row)
	}
	return nil
}
