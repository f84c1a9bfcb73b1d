package kernel

import "math"

// LayerNorm sets dst = (src - mean) / sqrt(variance + eps) * gamma + beta over one row. The variance
// is the biased one, taken in a second pass about the mean. dst may be src; all four have src's length.
func LayerNorm(dst, src, gamma, beta []float32, eps float32) {
	vectors.Best().Impl.norm(dst, src, gamma, beta, eps)
}

func (o *vectorOps) norm(dst, src, gamma, beta []float32, eps float32) {
	n := len(src)
	dst, gamma, beta = dst[:n], gamma[:n], beta[:n]
	if n%vectorStep != 0 || n == 0 {
		layerNormPortable(dst, src, gamma, beta, eps)
		return
	}
	o.layerNorm(dst, src, gamma, beta, eps)
}

func layerNormPortable(dst, src, gamma, beta []float32, eps float32) {
	var sum, squares float64
	for _, x := range src {
		sum += float64(x)
	}
	mean := sum / float64(len(src))
	for _, x := range src {
		d := float64(x) - mean
		squares += d * d
	}
	scale := 1 / math.Sqrt(squares/float64(len(src))+float64(eps))
	for i, x := range src {
		dst[i] = float32((float64(x)-mean)*scale)*gamma[i] + beta[i]
	}
}
