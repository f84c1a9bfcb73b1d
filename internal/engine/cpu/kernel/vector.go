package kernel

import "github.com/vitrine-project/vitrine/internal/cpufeat"

//go:generate go run -C gen ./vector -out ../vector_amd64.s -stubs ../vector_amd64_gen.go -pkg kernel

// vectorOps are the elementwise kernels and attention's product in one instruction set. Lengths are
// multiples of vectorStep, except in the portable variant, which takes any.
type vectorOps struct {
	layerNorm func(dst, src, gamma, beta []float32, eps float32)
	gelu      func(x []float32)
	quickGELU func(x []float32)
	// softmax replaces x by 2^((x - max x) scale), divided by their sum; scale is positive.
	softmax func(x []float32, scale float32)
	// mulRows sets c[m,n] = a[m,k] b[k,n]. n is rounded up to a multiple of vectorStep: c and b must
	// have memory for it.
	mulRows func(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int)
}

// vectorStep is the number of float32 values that every variant can work on at once.
const vectorStep = 16

// roundUp rounds n up to a multiple of vectorStep.
func roundUp(n int) int { return (n + vectorStep - 1) &^ (vectorStep - 1) }

// vectors is the registry of the elementwise kernels.
var vectors = cpufeat.New("vector", &vectorOps{
	layerNorm: layerNormPortable,
	gelu:      geluPortable,
	quickGELU: quickGELUPortable,
	softmax:   softmaxPortable,
	mulRows:   mulRowsPortable,
})

func mulRowsPortable(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	n = roundUp(n)
	for i := range m {
		row := c[i*ldc:][:n]
		clear(row)
		for p, x := range a[i*lda:][:k] {
			for j, y := range b[p*ldb:][:n] {
				row[j] += x * y
			}
		}
	}
}

// ElementwiseVariant is the name of the variant of the elementwise kernels and of attention that runs.
func ElementwiseVariant() string { return vectors.Best().Name() }
