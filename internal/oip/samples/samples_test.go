package samples

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func TestSequences(t *testing.T) {
	registry := oip.NewRegistry(nil)
	for _, m := range Default() {
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	s := oip.NewServer(registry, nil)
	for _, c := range []struct {
		model string
		at    oip.Sequence
		in    uint32
		want  uint32
		text  string
	}{
		{"simple_sequence", oip.Sequence{ID: 3}, 1, 0, "must specify the START flag"},
		{"simple_sequence", oip.Sequence{}, 1, 0, "must specify a non-zero or non-empty correlation ID"},
		{"simple_sequence", oip.Sequence{ID: 3, Start: true}, 1, 2, ""},
		{"simple_sequence", oip.Sequence{ID: 3}, 1, 1, ""},
		{"simple_sequence", oip.Sequence{ID: 3, End: true}, 1, 1, ""},
		{"simple_sequence", oip.Sequence{ID: 3}, 1, 0, "must specify the START flag"},
		{"simple_dyna_sequence", oip.Sequence{ID: 5, Start: true, End: true}, 1, 7, ""},
		{"simple_sequence", oip.Sequence{Name: "s", Start: true}, 1, 2, ""},
	} {
		r := &oip.Request{Model: c.model, Sequence: c.at, Inputs: []oip.Input{{Name: "INPUT", DType: tensor.Int32, Shape: []int64{1, 1},
			Data: binary.LittleEndian.AppendUint32(nil, c.in)}}}
		got, err := s.Infer(t.Context(), r)
		if c.text != "" {
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || binary.LittleEndian.Uint32(got.Outputs[0].Data) != c.want {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := New(Options{Kind: "divine"}); err == nil {
		t.Error("made")
	}
}
