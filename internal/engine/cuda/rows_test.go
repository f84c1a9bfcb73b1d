package cuda

import (
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// rowsOf lends rows until there are no more, at most n.
func rowsOf(t *testing.T, p *rowPool, f tensor.Format, n int) (rows []*row, err error) {
	t.Helper()
	for len(rows) < n {
		r, err := p.new(f)
		if err != nil {
			return rows, err
		}
		if len(r.Bytes()) != f.Size(p.size, p.size) {
			t.Fatalf("a row of %d bytes", len(r.Bytes()))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// TestRowLimit: pinned memory is bounded, what does not fit is refused with both numbers, and a row that comes back
// makes room.
func TestRowLimit(t *testing.T) {
	const limit = 20 << 20
	g := drivertest.New()
	p := newRowPool(g, 224, limit)
	most := limit / rowBytes(tensor.FormatUint8HWC, 224)
	rows, err := rowsOf(t, p, tensor.FormatUint8HWC, most+1)
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(err.Error(), "19 of the 20 MiB") {
		t.Errorf("got %v", err)
	}
	// Slabs begin anew two and a half times; no row is lost to their ends, which are smaller than one.
	if len(rows) != most || p.pinned > limit {
		t.Errorf("%d rows in %d bytes, want %d in %d", len(rows), p.pinned, most, limit)
	}
	rows[0].Release()
	rows[0].Release() // in vain
	again, err := rowsOf(t, p, tensor.FormatUint8HWC, 2)
	if len(again) != 1 || fault.KindOf(err) != fault.Exhausted {
		t.Errorf("%d rows for one that came back: %v", len(again), err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if l := g.Leaks(); len(l) > 0 {
		t.Errorf("left open: %v", l)
	}
	rows[1].Release() // after the end
	if _, err := p.new(tensor.FormatUint8HWC); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

// TestRowsOfAnotherFormat take the room of slabs that nobody uses, and of no others.
func TestRowsOfAnotherFormat(t *testing.T) {
	g := drivertest.New()
	p := newRowPool(g, 224, 20<<20)
	bytes, err := rowsOf(t, p, tensor.FormatUint8HWC, 1<<20)
	if fault.KindOf(err) != fault.Exhausted {
		t.Fatal(err)
	}
	if _, err := p.new(tensor.FormatFloat32CHW); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("got %v", err)
	}
	kept := bytes[len(bytes)-1]
	kept.Bytes()[0] = 7
	for _, r := range bytes[:len(bytes)-1] {
		r.Release()
	}
	floats, err := rowsOf(t, p, tensor.FormatFloat32CHW, 1<<20)
	if fault.KindOf(err) != fault.Exhausted || len(floats) < 20 || p.pinned > p.limit {
		t.Errorf("%d rows in %d bytes: %v", len(floats), p.pinned, err)
	}
	for _, r := range floats {
		clear(r.Bytes())
	}
	if kept.Bytes()[0] != 7 {
		t.Error("a row that is lent was given away")
	}
	for _, r := range append(floats, kept) {
		r.Release()
	}
	if more, err := rowsOf(t, p, tensor.FormatUint8HWC, len(bytes)); len(more) != len(bytes) {
		t.Errorf("%d rows of the first format, want %d again: %v", len(more), len(bytes), err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// TestEstimateIsWhatTheEngineTakes: with its rows all lent an engine has pinned what was estimated, less what is smaller
// than a row.
func TestEstimateIsWhatTheEngineTakes(t *testing.T) {
	c := small(model.GELU)
	o := Options{Instances: 3, MaxBatch: 24, PinnedMemory: 3 << 20}
	want, err := Estimate(c, o)
	if err != nil {
		t.Fatal(err)
	}
	e := pretend(t, synthetic(t, c, false), drivertest.New(), o)
	if _, err := rowsOf(t, e.rows, tensor.FormatUint8HWC, 1<<20); fault.KindOf(err) != fault.Exhausted {
		t.Fatal(err)
	}
	if got := e.spec.Memory.HostFixed + e.rows.pinned; got > want || got < want-int64(rowBytes(tensor.FormatUint8HWC, 64)) {
		t.Errorf("%d bytes, estimated %d", got, want)
	}
	if _, err := Estimate(c, Options{Precision: "fp7"}); err == nil {
		t.Error("a precision that does not exist was estimated")
	}
	if usual, err := Estimate(c, Options{Precision: engine.FP32}); err != nil || usual < defaultPinned || usual > defaultPinned+8<<20 {
		t.Errorf("by default %d bytes: %v", usual, err)
	}
}

// TestPinnedTooLittle: a limit that a full batch does not fit in is an error at the start, not at every batch.
func TestPinnedTooLittle(t *testing.T) {
	_, err := New(synthetic(t, small(model.GELU), false), quiet(drivertest.New(), Options{Instances: 2, MaxBatch: 512, PinnedMemory: 8 << 20}))
	if err == nil || !strings.Contains(err.Error(), "8 MiB may be pinned: 2 batches of 512 images in flight take 12 MiB") {
		t.Errorf("got %v", err)
	}
	wide, _ := model.Preset("ViT-L-14-336")
	if n, err := Estimate(wide, Options{Instances: 2, MaxBatch: 4096}); err != nil || n < 2*2*4096*336*336*3 {
		t.Errorf("%d bytes for the largest batches: %v", n, err)
	}
}
