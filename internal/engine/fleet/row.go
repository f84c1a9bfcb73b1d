package fleet

import (
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// row is a row of a unit's engine. It goes back when its owner has released it and no run reads it.
type row struct {
	fleet *Fleet
	unit  *unit
	inner tensor.Row

	holds    int // the owner's and those of runs; the fleet's lock guards it
	released bool
}

// Format implements tensor.Row.
func (r *row) Format() tensor.Format { return r.inner.Format() }

// Bytes implements tensor.Row.
func (r *row) Bytes() []byte { return r.inner.Bytes() }

// Release implements tensor.Row. A second one does nothing.
func (r *row) Release() {
	f := r.fleet
	f.mu.Lock()
	again := r.released
	r.released = true
	last := !again && r.drop()
	f.mu.Unlock()
	if last {
		r.giveBack()
	}
}

// drop takes a hold away and tells whether it was the last. The lock is held.
func (r *row) drop() bool {
	r.holds--
	return r.holds == 0
}

// giveBack returns the memory to its engine: first the row, then the count of rows that are lent, on
// which the engine's end waits.
func (r *row) giveBack() {
	r.inner.Release()
	r.fleet.dropRow(r.unit)
}

func (f *Fleet) dropRow(u *unit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u.lent--
	u.settle()
}

// adopt is the fleet's own rows; a row that others made is copied, since it cannot be held.
func (f *Fleet) adopt(rows []tensor.Row) ([]*row, error) {
	own := make([]*row, len(rows))
	for i, r := range rows {
		var ok bool
		if own[i], ok = r.(*row); ok && own[i].fleet == f {
			continue
		}
		copied, err := f.NewRow(r.Format())
		if err != nil {
			f.disown(own[:i], rows)
			return nil, err
		}
		copy(copied.Bytes(), r.Bytes())
		own[i] = copied.(*row)
	}
	return own, nil
}

// disown releases the rows that adopt copied.
func (f *Fleet) disown(own []*row, rows []tensor.Row) {
	for i, r := range own {
		if rows[i] != tensor.Row(r) {
			r.Release()
		}
	}
}
