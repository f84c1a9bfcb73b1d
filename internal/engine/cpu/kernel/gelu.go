package kernel

import "math"

// GELU replaces each x by x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, with an absolute error below 1e-6.
func GELU(x []float32) { vectors.Best().Impl.applyGELU(x) }

// QuickGELU replaces each x by x sigmoid(1.702 x).
func QuickGELU(x []float32) { vectors.Best().Impl.applyQuickGELU(x) }

func (o *vectorOps) applyGELU(x []float32) {
	whole := len(x) &^ (vectorStep - 1)
	o.gelu(x[:whole])
	geluPortable(x[whole:])
}

func (o *vectorOps) applyQuickGELU(x []float32) {
	whole := len(x) &^ (vectorStep - 1)
	o.quickGELU(x[:whole])
	quickGELUPortable(x[whole:])
}

func geluPortable(x []float32) {
	for i, v := range x {
		x[i] = float32(float64(v) * 0.5 * math.Erfc(-float64(v)/math.Sqrt2))
	}
}

func quickGELUPortable(x []float32) {
	for i, v := range x {
		x[i] = float32(float64(v) / (1 + math.Exp(-1.702*float64(v))))
	}
}
