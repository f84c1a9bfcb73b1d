package service

import (
	"math"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// finishVector scales v to L2 norm 1 if asked to and makes sure that no vector leaves that would
// spoil an index: one with values that are not finite, or one without a direction. The norm is
// accumulated in float64, where squares of float32 values neither overflow nor vanish.
func finishVector(v []float32, normalize bool) error {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	switch {
	case math.IsNaN(sum) || math.IsInf(sum, 0):
		return fault.New(fault.Internal, "the model computed an embedding that is not finite")
	case sum == 0:
		return fault.New(fault.Internal, "the model computed an embedding of zeros, which has no direction")
	case !normalize:
		return nil
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
	return nil
}
