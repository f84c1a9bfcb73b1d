//go:build !noasm

package kernel

import "github.com/vitrine-project/vitrine/internal/cpufeat"

func init() {
	vectors.Register(cpufeat.AVX2, &vectorOps{
		layerNorm: layerNormAVX2,
		gelu:      geluAVX2,
		quickGELU: quickGELUAVX2,
		softmax:   softmaxAVX2,
		mulRows:   mulRowsAVX2,
	})
	vectors.Register(cpufeat.AVX512, &vectorOps{
		layerNorm: layerNormAVX512,
		gelu:      geluAVX512,
		quickGELU: quickGELUAVX512,
		softmax:   softmaxAVX512,
		mulRows:   mulRowsAVX512,
	})
}
