package engine

import (
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Check tells what is wrong with the arguments of a Run on an engine with this Spec: the number of
// rows, their format, their size, or the room for the outputs.
func (s Spec) Check(rows []tensor.Row, out [][]float32) error {
	if err := s.CheckRows(rows); err != nil {
		return err
	}
	return s.CheckOut(out, len(rows))
}

// CheckRows tells what is wrong with the rows of a batch.
func (s Spec) CheckRows(rows []tensor.Row) error {
	if len(rows) < 1 || len(rows) > s.MaxBatch {
		return fault.New(fault.Invalid, "a batch of %d rows: the engine takes 1 to %d", len(rows), s.MaxBatch)
	}
	for i, r := range rows {
		if err := s.checkRow(rows[0], r); err != nil {
			return err.At(i)
		}
	}
	return nil
}

// CheckOut tells what is wrong with the room for the outputs of n rows.
func (s Spec) CheckOut(out [][]float32, n int) error {
	if len(out) != n {
		return fault.New(fault.Invalid, "%d rows but room for %d outputs", n, len(out))
	}
	dim := s.Dim()
	for i, o := range out {
		if len(o) != dim {
			return fault.New(fault.Invalid, "room for %d floats: an output has %d", len(o), dim).At(i)
		}
	}
	return nil
}

func (s Spec) checkRow(first, r tensor.Row) *fault.Error {
	if r == nil || first == nil {
		return fault.New(fault.Invalid, "no row")
	}
	f := r.Format()
	if f != first.Format() {
		return fault.New(fault.Invalid, "a row of format %v in a batch of %v", f, first.Format())
	}
	if !s.Accepts(f) {
		return fault.New(fault.Invalid, "a row of format %v: the engine takes %v", f, s.Formats)
	}
	if got, want := len(r.Bytes()), f.Size(s.Width, s.Height); got != want {
		return fault.New(fault.Invalid, "a row of %d bytes: %v of %d x %d pixels has %d", got, f, s.Width, s.Height, want)
	}
	return nil
}
