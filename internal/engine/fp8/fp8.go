// Package fp8 is the numeric design of products in 8-bit floating point (E4M3), whatever computes them: how
// weights and activations are scaled, which products stay in 16 bits, how a calibration is made from images
// on the processor, and the file that keeps it.
//
// A product x W^T with a LayerNorm folded in or not becomes
//
//	x ~ s q(x / s),  W[n] ~ t[n] q(W[n] / t[n]):  x W[n]^T ~ s t[n] sum(q(x / s) q(W[n] / t[n]))
//
// where q rounds to E4M3, s is one number for the layer's input, found by calibration, and t[n] is one for each
// output. E4M3 is a floating-point format: its rounding error is 2^-4 of a value at most over a range of
// 2^15, so a scale decides only what saturates and what becomes subnormal, not how fine the steps are.
// Channels of large magnitude therefore need no treatment of their own: neither scales for each token, nor
// moving them from activations into weights as integer formats need it (SmoothQuant, Xiao et al. 2023); both
// are measured in study_test.go and gain little (docs/cuda.md). What costs accuracy is the rounding itself, about 2.6 %
// of each factor, so a calibration finds out which layers can bear it (Calibrate).
//
// In 16 bits stay, always: the patch embedding, the first block's query, key and value, attention and the
// product after it, the last block's MLP (one token an image) and the last projection.
package fp8

import (
	"math"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// headroom is how much larger than in calibration an input may become before it saturates.
const headroom = 2

// scaleFor is the scale of values up to the given magnitude. It is never so small that 1/scale overflows.
func scaleFor(magnitude float32) float32 {
	if !(magnitude > tensor.MaxE4M3*0x1p-100) {
		return 1
	}
	return magnitude / tensor.MaxE4M3
}

// inputScale is the scale of a layer's input of which calibration saw that magnitude.
func inputScale(seen float32) float32 { return scaleFor(headroom * seen) }

// QuantiseRow writes a row of weights as E4M3 and returns its scale: w[i] is about scale * dst[i].
func QuantiseRow(dst []byte, w []float32) (scale float32) {
	scale = scaleFor(magnitude(w))
	for i, x := range w {
		dst[i] = tensor.Float32ToE4M3(x / scale)
	}
	return scale
}

// round replaces each value by what scale * E4M3 makes of it.
func round(v []float32, scale float32) {
	inverse := 1 / scale
	for i, x := range v {
		v[i] = scale * tensor.E4M3ToFloat32(tensor.Float32ToE4M3(x*inverse))
	}
}

// magnitude is the largest absolute value; a NaN or an infinity makes it infinite.
func magnitude(v []float32) (top float32) {
	for _, x := range v {
		if x < 0 {
			x = -x
		}
		if !(x <= math.MaxFloat32) {
			return float32(math.Inf(1))
		}
		top = max(top, x)
	}
	return top
}
