package engine

import (
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func TestRowPoolReusesMemory(t *testing.T) {
	p := NewRowPool(4, 2, 1)
	a, b := p.New(tensor.FormatUint8HWC), p.New(tensor.FormatUint8HWC)
	first := &a.Bytes()[0]
	a.Release()
	b.Release() // beyond what the pool keeps
	c, d := p.New(tensor.FormatUint8HWC), p.New(tensor.FormatUint8HWC)
	if &c.Bytes()[0] != first {
		t.Error("released memory was not used again")
	}
	a.Release() // late, and again
	if e := p.New(tensor.FormatUint8HWC); &e.Bytes()[0] == first || &d.Bytes()[0] == first {
		t.Error("a second Release gave away memory that is lent")
	}
	if f := p.New(tensor.FormatFloat32CHW); len(f.Bytes()) != 4*2*3*4 {
		t.Errorf("a float row of %d bytes", len(f.Bytes()))
	}
	p.Drop()
	c.Release()
	if e := p.New(tensor.FormatUint8HWC); &e.Bytes()[0] == first {
		t.Error("memory was kept after Drop")
	}
}

func TestCheckNamesTheRow(t *testing.T) {
	s := Spec{Width: 4, Height: 2, MaxBatch: 2, Formats: []tensor.Format{tensor.FormatUint8HWC}, Outputs: []Output{{"e", 3}, {"f", 1}}}
	p := NewRowPool(4, 2, 0)
	rows := []tensor.Row{p.New(tensor.FormatUint8HWC), p.New(tensor.FormatFloat32CHW)}
	out := [][]float32{make([]float32, 4), make([]float32, 4)}
	if err := s.Check(rows[:1], out[:1]); err != nil {
		t.Error(err)
	}
	if err := fault.Of(s.Check(rows, out)); err == nil || err.Item != 1 || err.Kind != fault.Invalid {
		t.Errorf("a batch of two formats: %v", err)
	}
	if err := s.Check(rows[1:], out[1:]); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a format that the engine does not take: %v", err)
	}
}
