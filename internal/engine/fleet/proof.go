package fleet

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// prove has a unit compute the test image: alone, on each of its instances in turn, and as every row of
// each planned batch. All answers must be the same; it is returned.
func (f *Fleet) prove(ctx context.Context, u *unit) (answer []float32, err error) {
	format := u.spec.Formats[0]
	inner, err := u.engine.NewRow(format)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	u.lent++
	f.mu.Unlock()
	r := &row{fleet: f, unit: u, inner: inner, holds: 1}
	defer r.Release()
	paint(r.Bytes(), format)
	for _, n := range append(slices.Repeat([]int{1}, u.spec.InFlight), u.spec.Batches...) {
		out := outputs(u.spec, n)
		f.countJobs(u, 1)
		if _, err := f.compute(ctx, u, slices.Repeat([]*row{r}, n), out, f.timeout); err != nil {
			return nil, err
		}
		for i, v := range out {
			if answer == nil {
				answer = v
			}
			if err := same(u.spec.Precision, v, answer); err != nil {
				return nil, fmt.Errorf("row %d of a batch of %d: %w", i, n, err)
			}
		}
	}
	return answer, nil
}

// outputs is room for n answers, filled with what no answer is.
func outputs(s engine.Spec, n int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = slices.Repeat([]float32{float32(math.NaN())}, s.Dim())
	}
	return out
}

// paint fills a row with the test image: noise of an xorshift generator, which no layer can smooth away.
// Formats that hold normalised pixels get -2 to 2.
func paint(b []byte, format tensor.Format) {
	s := uint32(2463534242)
	next := func() uint32 {
		s ^= s << 13
		s ^= s >> 17
		s ^= s << 5
		return s
	}
	value := func() float32 { return float32(next()>>8)*0x1p-22 - 2 }
	switch format {
	case tensor.FormatFloat32CHW:
		f := tensor.Float32s(b)
		for i := range f {
			f[i] = value()
		}
	case tensor.FormatFloat16CHW:
		for i := 0; i+1 < len(b); i += 2 {
			binary.NativeEndian.PutUint16(b[i:], tensor.Float32ToFP16(value()))
		}
	default:
		for i := range b {
			b[i] = byte(next() >> 24)
		}
	}
}

// minCosine is the accuracy contract of a precision (docs/architecture.md, Numerics).
func minCosine(p engine.Precision) float64 {
	switch p {
	case engine.FP32:
		return 0.99999
	case engine.BF16, engine.FP16:
		return 0.9999
	}
	return 0.999
}

// doubleAngle is the cosine of twice the angle of cosine c: two vectors that are each within an angle of
// a third are within twice that of each other.
func doubleAngle(c float64) float64 { return 2*c*c - 1 }

// lengthTolerance bounds how far the lengths of two answers may be apart, relative to one of them.
const lengthTolerance = 0.01

// same tells whether two answers to one image are the same, within the contract of a precision.
func same(p engine.Precision, got, want []float32) error {
	var ab, aa, bb float64
	for i := range want {
		a, b := float64(got[i]), float64(want[i])
		ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
	}
	if !(aa > 0 && bb > 0) || math.IsInf(aa+bb, 0) {
		return fmt.Errorf("the answer is no vector: it is of length %v, the expected one of %v", math.Sqrt(aa), math.Sqrt(bb))
	}
	if c, limit := ab/math.Sqrt(aa*bb), doubleAngle(minCosine(p)); c < limit {
		return fmt.Errorf("the answer is wrong: cosine %.6f with the expected one, want at least %.6f", c, limit)
	}
	if r := math.Sqrt(aa / bb); math.Abs(r-1) > lengthTolerance {
		return fmt.Errorf("the answer is %.4f times as long as the expected one", r)
	}
	return nil
}
