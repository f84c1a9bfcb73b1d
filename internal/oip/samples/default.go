package samples

import (
	"encoding/binary"
	"math"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func float(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

func floats(v []float32) (b []byte) {
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// specs are tensors of one type and shape.
func specs(d tensor.DType, shape []int64, names ...string) (s []oip.TensorSpec) {
	for _, n := range names {
		s = append(s, oip.TensorSpec{Name: n, DType: d, Shape: shape})
	}
	return s
}

// Default are the models that the official examples use: simple, simple_string, simple_identity,
// simple_int8, simple_sequence and simple_dyna_sequence.
func Default() []oip.Model {
	row, free, one := []int64{-1, 16}, []int64{-1, -1}, []int64{-1, 1}
	pair := func(d tensor.DType) Options {
		return Options{Kind: "addsub", Metadata: oip.Metadata{Inputs: specs(d, row, "INPUT0", "INPUT1"), Outputs: specs(d, row, "OUTPUT0", "OUTPUT1")}}
	}
	sequences := Options{Kind: "sequence", Sequence: true,
		Metadata: oip.Metadata{Inputs: specs(tensor.Int32, one, "INPUT"), Outputs: specs(tensor.Int32, one, "OUTPUT")}}
	dyna := sequences
	dyna.CorrelationID = true
	var models []oip.Model
	for _, s := range []struct {
		name string
		o    Options
	}{
		{"simple", pair(tensor.Int32)}, {"simple_string", pair(tensor.Bytes)}, {"simple_int8", pair(tensor.Int8)},
		{"simple_identity", Options{Kind: "identity", Metadata: oip.Metadata{Inputs: specs(tensor.Bytes, free, "INPUT0"), Outputs: specs(tensor.Bytes, free, "OUTPUT0")}}},
		{"simple_sequence", sequences}, {"simple_dyna_sequence", dyna},
	} {
		s.o.MaxBatch = 8
		s.o.Metadata.Name, s.o.Metadata.Version, s.o.Metadata.Platform = s.name, "1", "samples"
		m, err := New(s.o)
		if err != nil {
			panic(err) // a kind that is written above
		}
		models = append(models, m)
	}
	return models
}
