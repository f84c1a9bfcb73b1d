package engine

import (
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func lend(t *testing.T, p *RowPool, f tensor.Format) tensor.Row {
	t.Helper()
	r, err := p.NewRow(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRowPoolReusesMemory(t *testing.T) {
	const bytes, floats = tensor.FormatUint8HWC, tensor.FormatFloat32CHW
	p := NewRowPool(4, 2, 1, bytes, floats)
	a, b := lend(t, p, bytes), lend(t, p, bytes)
	first := &a.Bytes()[0]
	a.Release()
	b.Release() // beyond what the pool keeps
	c, d := lend(t, p, bytes), lend(t, p, bytes)
	if &c.Bytes()[0] != first {
		t.Error("released memory was not used again")
	}
	a.Release() // late, and again
	if e := lend(t, p, bytes); &e.Bytes()[0] == first || &d.Bytes()[0] == first {
		t.Error("a second Release gave away memory that is lent")
	}
	if f := lend(t, p, floats); len(f.Bytes()) != 4*2*3*4 {
		t.Errorf("a float row of %d bytes", len(f.Bytes()))
	}
}

func TestRowPoolRefuses(t *testing.T) {
	p := NewRowPool(4, 2, 1, tensor.FormatUint8HWC)
	if _, err := p.NewRow(tensor.FormatFloat32CHW); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a format that it does not have: %v", err)
	}
	lent := lend(t, p, tensor.FormatUint8HWC)
	p.Close()
	if _, err := p.NewRow(tensor.FormatUint8HWC); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	lent.Bytes()[0] = 1 // still the borrower's
	lent.Release()
	if len(p.free) != 0 {
		t.Error("memory was kept after Close")
	}
}

func TestCheckNamesTheRow(t *testing.T) {
	s := Spec{Width: 4, Height: 2, MaxBatch: 2, Formats: []tensor.Format{tensor.FormatUint8HWC}, Outputs: []Output{{"e", 3}, {"f", 1}}}
	p := NewRowPool(4, 2, 0, tensor.FormatUint8HWC, tensor.FormatFloat32CHW)
	rows := []tensor.Row{lend(t, p, tensor.FormatUint8HWC), lend(t, p, tensor.FormatFloat32CHW)}
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
