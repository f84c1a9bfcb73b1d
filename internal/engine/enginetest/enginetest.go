// Package enginetest is the compliance suite of engines: what the comments of engine.Engine promise,
// as tests that every engine runs with one line.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Run checks that the engines which open makes keep to the contract. open is called several times; the
// suite closes what it opens. A small model is enough.
func Run(t *testing.T, open func(t *testing.T) engine.Engine) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e engine.Engine)
	}{
		{"Spec", testSpec},
		{"Rows", testRows},
		{"RowsAreReused", testReuse},
		{"BatchedEqualsSingle", testBatches},
		{"KeepsNoReferences", testOwnership},
		{"RefusesBadBatches", testRefusals},
		{"Concurrent", testConcurrent},
		{"Cancelled", testCancelled},
		{"Staged", testStaged},
		{"Close", testClose},
		{"CloseDuringRuns", testCloseDuringRuns},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.test(t, e)
		})
	}
}

func testSpec(t *testing.T, e engine.Engine) {
	s := e.Spec()
	if s.Name == "" || s.Device == "" || s.Precision == "" || s.Modality == "" {
		t.Errorf("a name is missing: %+v", s)
	}
	if s.Width < 1 || s.Height < 1 || s.Dim() < 1 || s.MaxBatch < 1 || s.InFlight < 1 || len(s.Formats) == 0 {
		t.Errorf("a size is missing: %+v", s)
	}
	if !slices.IsSorted(s.Batches) || len(s.Batches) > 0 && s.Batches[len(s.Batches)-1] != s.MaxBatch {
		t.Errorf("planned batches %v: want ascending sizes that end with %d", s.Batches, s.MaxBatch)
	}
	for _, o := range s.Outputs {
		if o.Name == "" || o.Dim < 1 {
			t.Errorf("output %+v", o)
		}
	}
}

func testRows(t *testing.T, e engine.Engine) {
	s := e.Spec()
	for _, f := range []tensor.Format{tensor.FormatInvalid, tensor.FormatUint8HWC, tensor.FormatFloat32CHW, tensor.FormatFloat16CHW, 200} {
		r, err := e.NewRow(f)
		if !s.Accepts(f) {
			if err == nil {
				t.Errorf("%v is not among the formats but a row was made", f)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		defer r.Release()
		if r.Format() != f || len(r.Bytes()) != f.Size(s.Width, s.Height) {
			t.Errorf("%v: a row of format %v and %d bytes", f, r.Format(), len(r.Bytes()))
		}
		if at := uintptr(unsafe.Pointer(&r.Bytes()[0])); at%64 != 0 {
			t.Errorf("%v: memory at %#x is not aligned to 64 bytes", f, at)
		}
	}
}

func testReuse(t *testing.T, e engine.Engine) {
	want := single(t, e, e.Spec().Formats[0], 1)
	var rows []tensor.Row
	seen := map[*byte]bool{}
	for i := range 3 * e.Spec().MaxBatch {
		r := newRow(t, e, e.Spec().Formats[0], uint64(i))
		if p := &r.Bytes()[0]; seen[p] {
			t.Fatal("two rows share memory")
		} else {
			seen[p] = true
		}
		rows = append(rows, r)
	}
	for _, r := range rows {
		r.Release()
	}
	sameVector(t, e, "after many rows", single(t, e, e.Spec().Formats[0], 1), want)
}

// sizes are the batch sizes to try: the small ones, the planned ones and their neighbours, the largest.
func sizes(s engine.Spec) []int {
	var n []int
	for i := 1; i <= min(s.MaxBatch, 9); i++ {
		n = append(n, i)
	}
	for _, b := range append(s.Batches, s.MaxBatch) {
		n = append(n, b-1, b, b+1)
	}
	slices.Sort(n)
	return slices.DeleteFunc(slices.Compact(n), func(i int) bool { return i < 1 || i > s.MaxBatch })
}

func testBatches(t *testing.T, e engine.Engine) {
	s := e.Spec()
	for _, f := range s.Formats {
		alone := make([][]float32, s.MaxBatch)
		for i := range alone {
			alone[i] = single(t, e, f, uint64(i))
			for j := range i {
				if c := Cosine(alone[i], alone[j]); c >= MinCosine(s.Precision) {
					t.Fatalf("%v: images %d and %d have cosine %v: rows cannot be told apart", f, i, j, c)
				}
			}
		}
		for _, n := range sizes(s) {
			got := batch(t, e, f, n, 0)
			for i := range got {
				sameVector(t, e, fmt.Sprintf("%v, row %d of %d", f, i, n), got[i], alone[i])
			}
		}
	}
}

// testOwnership hands over outputs that lie between guards, and overwrites the rows after the run.
func testOwnership(t *testing.T, e engine.Engine) {
	s := e.Spec()
	const guard = -7777
	n, dim := min(3, s.MaxBatch), s.Dim()
	memory := slices.Repeat([]float32{guard}, (dim+2)*n)
	out := make([][]float32, n)
	rows := make([]tensor.Row, n)
	for i := range n {
		out[i] = memory[i*(dim+2)+1:][:dim]
		rows[i] = newRow(t, e, s.Formats[0], uint64(i))
	}
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(memory)
	for _, r := range rows {
		clear(r.Bytes())
		r.Release()
	}
	batch(t, e, s.Formats[0], n, 100)
	if !slices.Equal(memory, before) {
		t.Error("an answer changed after Run had returned")
	}
	for i := range n {
		if memory[i*(dim+2)] != guard || memory[i*(dim+2)+dim+1] != guard {
			t.Errorf("row %d was written outside its output", i)
		}
		sameVector(t, e, fmt.Sprint("row ", i), out[i], single(t, e, s.Formats[0], uint64(i)))
	}
}

func testRefusals(t *testing.T, e engine.Engine) {
	s := e.Spec()
	f := s.Formats[0]
	want := single(t, e, f, 1)
	rows := make([]tensor.Row, s.MaxBatch+1)
	for i := range rows {
		rows[i] = newRow(t, e, f, uint64(i))
		defer rows[i].Release()
	}
	cases := []struct {
		name string
		rows []tensor.Row
		out  [][]float32
	}{
		{"no rows", nil, nil},
		{"too many rows", rows, outputs(s, len(rows))},
		{"too few outputs", rows[:1], nil},
		{"too many outputs", rows[:1], outputs(s, 2)},
		{"a short output", rows[:1], [][]float32{make([]float32, s.Dim()-1)}},
		{"a long output", rows[:1], [][]float32{make([]float32, s.Dim()+1)}},
		{"no row", []tensor.Row{nil}, outputs(s, 1)},
		{"a short row", []tensor.Row{foreign{f, make([]byte, f.Size(s.Width, s.Height)-1)}}, outputs(s, 1)},
	}
	if len(s.Formats) > 1 && s.MaxBatch > 1 {
		other := newRow(t, e, s.Formats[1], 1)
		defer other.Release()
		cases = append(cases, struct {
			name string
			rows []tensor.Row
			out  [][]float32
		}{"mixed formats", []tensor.Row{rows[0], other}, outputs(s, 2)})
	}
	for _, c := range cases {
		_, err := e.Run(t.Context(), c.rows, c.out)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: want an invalid fault, got %v", c.name, err)
		}
	}
	sameVector(t, e, "after refusals", single(t, e, f, 1), want)
}

// foreign is a row that no engine made.
type foreign struct {
	format tensor.Format
	memory []byte
}

func (r foreign) Format() tensor.Format { return r.format }
func (r foreign) Bytes() []byte         { return r.memory }
func (r foreign) Release()              {}

func testConcurrent(t *testing.T, e engine.Engine) {
	s := e.Spec()
	n := min(3, s.MaxBatch)
	want := make([][]float32, s.InFlight*n)
	for i := range want {
		want[i] = single(t, e, s.Formats[0], uint64(i))
	}
	var wg sync.WaitGroup
	for g := range s.InFlight {
		wg.Go(func() {
			for range 4 {
				for i, got := range batch(t, e, s.Formats[0], n, uint64(g*n)) {
					sameVector(t, e, fmt.Sprintf("run %d, row %d", g, i), got, want[g*n+i])
				}
			}
		})
	}
	wg.Wait()
}

func testCancelled(t *testing.T, e engine.Engine) {
	s := e.Spec()
	want := single(t, e, s.Formats[0], 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRow(t, e, s.Formats[0], 1)
	defer r.Release()
	if _, err := e.Run(ctx, []tensor.Row{r}, outputs(s, 1)); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("want no error or the context's, got %v", err)
	}
	sameVector(t, e, "after a cancelled run", single(t, e, s.Formats[0], 1), want)
}

// testStaged computes a batch where it lies, several times, with other batches in between.
func testStaged(t *testing.T, e engine.Engine) {
	stager, ok := e.(engine.Stager)
	if !ok {
		t.Skip("the engine keeps no input")
	}
	s, n := e.Spec(), min(3, e.Spec().MaxBatch)
	want := batch(t, e, s.Formats[0], n, 0)
	rows := make([]tensor.Row, n)
	for i := range rows {
		rows[i] = newRow(t, e, s.Formats[0], uint64(i))
	}
	b, err := stager.Stage(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		clear(r.Bytes())
		r.Release()
	}
	for round := range 3 {
		out := outputs(s, n)
		if _, err := b.Run(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		for i := range out {
			sameVector(t, e, fmt.Sprintf("run %d, row %d", round, i), out[i], want[i])
		}
		if s.InFlight > 1 {
			batch(t, e, s.Formats[0], n, 100)
		}
	}
	if _, err := b.Run(t.Context(), outputs(s, n+1)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("room for another row: want an invalid fault, got %v", err)
	}
	b.Close()
	b.Close()
	for range s.InFlight + 1 {
		sameVector(t, e, "after the batch was closed", single(t, e, s.Formats[0], 0), want[0])
	}
	if _, err := stager.Stage(t.Context(), nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no rows: want an invalid fault, got %v", err)
	}
}

func testClose(t *testing.T, e engine.Engine) {
	s := e.Spec()
	r := newRow(t, e, s.Formats[0], 1)
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Run(t.Context(), []tensor.Row{r}, outputs(s, 1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Run after Close: want an unavailable fault, got %v", err)
	}
	if _, err := e.NewRow(s.Formats[0]); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("NewRow after Close: want an unavailable fault, got %v", err)
	}
	r.Release()
}

// testCloseDuringRuns closes while Runs begin and end; each either succeeds or finds the engine closed.
func testCloseDuringRuns(t *testing.T, e engine.Engine) {
	s := e.Spec()
	var wg sync.WaitGroup
	started := make(chan struct{}, s.InFlight)
	for range s.InFlight {
		wg.Go(func() {
			r := newRow(t, e, s.Formats[0], 1)
			started <- struct{}{}
			for range 1000 {
				if _, err := e.Run(t.Context(), []tensor.Row{r}, outputs(s, 1)); err != nil {
					if fault.KindOf(err) != fault.Unavailable {
						t.Errorf("want an unavailable fault, got %v", err)
					}
					return
				}
			}
		})
	}
	for range s.InFlight {
		<-started
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
