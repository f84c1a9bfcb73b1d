package service

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// call is one request on its way. Item i's goroutine alone touches rows[i], out[i], results[i] and
// lines[i].
type call struct {
	model   *Images
	request *Request
	format  tensor.Format // of every row
	rows    []tensor.Row  // nil where there is none, or the batcher has it
	out     [][]float32
	results []Result
	lines   []telemetry.Timeline
	begun   atomic.Bool

	mu      sync.Mutex
	failure *fault.Error // the first, where the request does not take partial answers
}

func newCall(m *Images, r *Request) *call {
	c := &call{model: m, request: r, lines: make([]telemetry.Timeline, len(r.Items))}
	at := received(r)
	for i := range c.lines {
		c.lines[i].At[telemetry.Received] = at
	}
	return c
}

// allocate makes room for the answer: one block for all embeddings.
func (c *call) allocate(spec engine.Spec) {
	n, dim := len(c.request.Items), spec.Dim()
	c.format = spec.Formats[0]
	for i := range c.request.Items {
		if c.request.Items[i].Kind == Tensor && spec.Accepts(tensor.FormatFloat32CHW) {
			c.format = tensor.FormatFloat32CHW // one format, so that the items can share a batch
		}
	}
	c.rows = make([]tensor.Row, n)
	c.out = make([][]float32, n)
	c.results = make([]Result, n)
	block := make([]float32, n*dim)
	for i := range c.out {
		c.out[i] = block[i*dim : (i+1)*dim : (i+1)*dim]
	}
}

// each calls do for every item, in order, at most window at once, and waits for all of them. A single
// item needs no goroutine.
func (c *call) each(window int, do func(i int)) {
	n := len(c.request.Items)
	if n == 1 {
		do(0)
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, window) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// Begin implements batcher.Beginner: the request is pending no more. Only the first call counts.
func (c *call) Begin() {
	if !c.begun.Swap(true) {
		c.model.pending.Add(-1)
	}
}

// partial tells whether a bad item fails alone; the items of a whole request cannot.
func (c *call) partial() bool { return c.request.Partial && !c.request.Whole }

// fail records that item i failed (all of them: -1) and tells whether the others are to stop.
func (c *call) fail(i int, err error) bool {
	if c.partial() {
		f := *fault.Of(err)
		if f.Item < 0 {
			f.Item, f.Field = i, c.request.Field
		}
		c.results[i] = Result{Err: &f}
		return false
	}
	f := fault.Of(err)
	if i >= 0 {
		f = locate(err, c.request.Field, i)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = f
	}
	return true
}

// locate returns err's fault with its item, if the item is to blame: a full queue or an ended request
// concerns no item. The fault itself is not changed, for others may hold it.
func locate(err error, field string, i int) *fault.Error {
	f := *fault.Of(err)
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.UnsupportedMedia, fault.Unimplemented, fault.Internal:
		if f.Item < 0 {
			f.Item, f.Field = i, field
		}
	}
	return &f
}

// blame turns a spoilt embedding into the client's fault where its own tensor is spoilt.
func (c *call) blame(i int, err error) error {
	it := &c.request.Items[i]
	if it.Kind == Tensor && !finite(it.tensor()) {
		return fault.New(fault.Invalid, "the tensor holds values that are not finite")
	}
	return err
}

// asGiven tells whether item i's embedding leaves as the model gives it, finite or not: a protocol
// request whose own tensor is not finite. Triton answers those, and perf_analyzer sends them: its
// random tensors are random bytes.
func (c *call) asGiven(i int) bool {
	it := &c.request.Items[i]
	return c.request.Whole && !c.request.Normalize && it.Kind == Tensor && !finite(it.tensor())
}

// finite tells whether little-endian float32 values are all finite; a value may lie in two pieces, or more.
func finite(p tensor.Pieces) bool {
	var split [4]byte
	n := 0 // bytes of a value that the pieces so far did not end
	for b := range p.All() {
		if n > 0 {
			more := copy(split[n:], b)
			n, b = n+more, b[more:]
			if n < len(split) {
				continue
			}
			if !finiteBytes(split[:]) {
				return false
			}
		}
		if !finiteBytes(b) {
			return false
		}
		n = copy(split[:], b[len(b)&^3:])
	}
	return true
}

// finiteBytes tells whether little-endian float32 values are all finite.
func finiteBytes(b []byte) bool {
	for ; len(b) >= 4; b = b[4:] {
		v := math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
		if v-v != 0 { // infinite or not a number
			return false
		}
	}
	return true
}

// releaseUnused gives back the rows that no batch got.
func (c *call) releaseUnused() {
	for i, r := range c.rows {
		if r != nil {
			r.Release()
			c.rows[i] = nil
		}
	}
}

// answered is the number of items with an embedding.
func (c *call) answered() int {
	n := 0
	for i := range c.results {
		if c.results[i].Err == nil && c.results[i].Embedding != nil {
			n++
		}
	}
	return n
}
