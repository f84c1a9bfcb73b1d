package service

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// chunks are a tensor in pieces of n bytes.
func chunks(b []byte, n int) tensor.Pieces {
	return tensor.PiecesOf(slices.Collect(slices.Chunk(b, n)))
}

// ramp is a tensor whose values differ, as the protocols send it.
func ramp() (b []byte) {
	for i := range 3 * side * side {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)/7))
	}
	return b
}

// A tensor in pieces, values across their ends included, is embedded as the same in one place.
func TestTensorsInPieces(t *testing.T) {
	s := newSpy(8)
	m := model(t, s, &script{}, nil)
	data := ramp()
	for _, n := range []int{1, 2, 3, 5, 127, len(data)} {
		got, err := m.Infer(t.Context(), &Request{Normalize: true, Items: []Item{{Kind: Tensor, Pieces: chunks(data, n)}}})
		if err != nil || !near(got.Results[0].Embedding, unit(data)) {
			t.Errorf("pieces of %d bytes: %+v, %v", n, got, err)
		}
	}
	_, err := m.Infer(t.Context(), &Request{Field: "x", Items: []Item{{Kind: Tensor, Pieces: chunks(data[1:], 100)}}})
	if err == nil || err.Error() != "x[0]: the tensor has 767 bytes, float32 [3, 8, 8] has 768" || fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	finish(t, m, s)
}

// TestFinite finds a value that is not finite in every place, in pieces of every size.
func TestFinite(t *testing.T) {
	sound := ramp()[:64]
	for n := 1; n <= len(sound); n++ {
		if !finite(chunks(sound, n)) {
			t.Errorf("pieces of %d bytes: not finite", n)
		}
		for i := 0; i < len(sound); i += 4 {
			for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				spoilt := slices.Clone(sound)
				binary.LittleEndian.PutUint32(spoilt[i:], math.Float32bits(float32(v)))
				if finite(chunks(spoilt, n)) {
					t.Errorf("pieces of %d bytes: %v at %d is finite", n, v, i)
				}
			}
		}
	}
}
