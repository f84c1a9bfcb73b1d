package enginetest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Cosine is the cosine of the angle between two vectors of the same length, 0 if one of them is zero
// and NaN if one of them holds a NaN.
func Cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		y := float64(b[i])
		ab += float64(x) * y
		aa += float64(x) * float64(x)
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// MinCosine is the accuracy contract of a precision.
func MinCosine(p engine.Precision) float64 {
	switch p {
	case engine.FP32:
		return 0.99999
	case engine.FP8:
		return 0.999
	}
	return 0.9999
}

// Golden checks embeddings that another implementation computed: images[i] are the pixels of a
// FormatUint8HWC row and want[i] its embedding. They go through the engine in one batch.
func Golden(t *testing.T, e engine.Engine, images [][]byte, want [][]float32) {
	t.Helper()
	rows := make([]tensor.Row, len(images))
	for i, pixels := range images {
		rows[i] = newRow(t, e, tensor.FormatUint8HWC, 0)
		defer rows[i].Release()
		if n := copy(rows[i].Bytes(), pixels); n != len(pixels) || n != len(rows[i].Bytes()) {
			t.Fatalf("image %d has %d bytes, a row %d", i, len(pixels), len(rows[i].Bytes()))
		}
	}
	got := outputs(e.Spec(), len(rows))
	if _, err := e.Run(t.Context(), rows, got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		c, limit := Cosine(got[i], want[i]), MinCosine(e.Spec().Precision)
		t.Logf("image %d: 1 - cosine = %.3g", i, 1-c)
		if !(c >= limit) {
			t.Errorf("image %d: cosine %.7f, want at least %v", i, c, limit)
		}
		if r := norm(got[i]) / norm(want[i]); !(math.Abs(r-1) < 0.01) {
			t.Errorf("image %d: %v times as long as it should be: engines do not normalise", i, r)
		}
	}
}

func norm(v []float32) float64 {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return math.Sqrt(s)
}

func sameVector(t *testing.T, e engine.Engine, what string, got, want []float32) {
	t.Helper()
	if c, limit := Cosine(got, want), MinCosine(e.Spec().Precision); !(c >= limit) {
		t.Errorf("%s: cosine %.7f with the same image alone, want at least %v", what, c, limit)
	}
}

// Fill writes the image with the given number to a row: a random colour, a random slope in each
// direction, and noise.
func Fill(r tensor.Row, width, height int, number uint64) {
	rng := rand.New(rand.NewPCG(number, 42))
	set := setter(r, width, height)
	for c := range 3 {
		base, dx, dy := rng.Float64()*255, rng.Float64()*400-200, rng.Float64()*400-200
		for y := range height {
			for x := range width {
				v := base + dx*(float64(x)/float64(width)-0.5) + dy*(float64(y)/float64(height)-0.5) + rng.Float64()*40 - 20
				set(c, y, x, max(0, min(255, v)))
			}
		}
	}
}

// setter stores a value of 0 to 255 in a row; formats that hold normalised pixels get it scaled to
// about -2 to 2.
func setter(r tensor.Row, width, height int) func(c, y, x int, v float64) {
	at := func(c, y, x int) int { return (c*height+y)*width + x }
	switch r.Format() {
	case tensor.FormatFloat32CHW:
		f := tensor.Float32s(r.Bytes())
		return func(c, y, x int, v float64) { f[at(c, y, x)] = float32(v/64 - 2) }
	case tensor.FormatFloat16CHW:
		b := r.Bytes()
		return func(c, y, x int, v float64) {
			h, i := tensor.Float32ToFP16(float32(v/64-2)), 2*at(c, y, x)
			b[i], b[i+1] = byte(h), byte(h>>8)
		}
	}
	b := r.Bytes()
	return func(c, y, x int, v float64) { b[(y*width+x)*3+c] = byte(v) }
}

func newRow(t testing.TB, e engine.Engine, f tensor.Format, number uint64) tensor.Row {
	t.Helper()
	r, err := e.NewRow(f)
	if err != nil {
		t.Errorf("NewRow: %v", err)
		panic(err)
	}
	s := e.Spec()
	Fill(r, s.Width, s.Height, number)
	return r
}

func outputs(s engine.Spec, n int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = make([]float32, s.Dim())
		for j := range out[i] {
			out[i][j] = float32(math.NaN()) // whatever is not filled shows
		}
	}
	return out
}

// batch runs the images first, first+1, ... as one batch of n.
func batch(t testing.TB, e engine.Engine, f tensor.Format, n int, first uint64) [][]float32 {
	t.Helper()
	rows := make([]tensor.Row, n)
	for i := range rows {
		rows[i] = newRow(t, e, f, first+uint64(i))
		defer rows[i].Release()
	}
	out := outputs(e.Spec(), n)
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		t.Errorf("Run of %d: %v", n, err)
	}
	return out
}

func single(t testing.TB, e engine.Engine, f tensor.Format, number uint64) []float32 {
	t.Helper()
	return batch(t, e, f, 1, number)[0]
}
