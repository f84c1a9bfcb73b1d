package oipgrpc

import (
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// call is an inference request as it came (ModelInferRequest) and the oip.Request that it becomes. All of
// it lies in the transport's buffers, or in copies that the call holds: it must not be released before the
// answer is encoded.
type call struct {
	data     mem.BufferSlice // the message; the call has a reference of its own
	parts    [][]byte        // its bytes
	size     int             // and their number
	copies   []*[]byte       // of what must lie in one place
	free     []byte          // of the last copy
	memory   *budget
	taken    int64 // of the budget, beyond what the transport took for its buffers
	refused  error // why the message was not read; a codec's own error would lose its code
	ran      bool  // the request was good, and its model has seen it
	received time.Time

	model, version, id string
	params             oip.Params
	inputs             []inputTensor
	outputs            []outputTensor
	raw                []tensor.Pieces

	request oip.Request
}

var _ oip.Allocator = (*call)(nil)

// inputTensor is an InferInputTensor.
type inputTensor struct {
	name, datatype string
	shape          []int64
	params         oip.Params
	contents       [][]byte // valid InferTensorContents, which the protocol merges; nil for none
}

// outputTensor is an InferRequestedOutputTensor.
type outputTensor struct {
	name   string
	params oip.Params
}

// unset is the value of a parameter that holds none.
type unset struct{}

var calls = sync.Pool{New: func() any { return new(call) }}

func newCall(memory *budget) *call {
	c := calls.Get().(*call)
	c.memory = memory
	return c
}

// release gives the call, its message and its copies back.
func (c *call) release() {
	c.data.Free()
	for _, b := range c.copies {
		buffers.Put(b)
	}
	c.memory.give(c.taken)
	*c = call{
		parts: clearAll(c.parts), copies: clearAll(c.copies),
		inputs: c.inputs[:0], outputs: clearAll(c.outputs), raw: clearAll(c.raw),
		request: oip.Request{Inputs: clearAll(c.request.Inputs), Outputs: clearAll(c.request.Outputs)},
	}
	calls.Put(c)
}

func clearAll[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// unmarshal reads the message where it lies. The transport's buffers are kept, for a large tensor is copied
// only once, from them into its row.
func (c *call) unmarshal(data mem.BufferSlice) error {
	c.received, c.size = time.Now(), data.Len()
	message, err := c.keep(data)
	if err == nil {
		err = c.decode(message)
	}
	if errors.Is(err, errWire) || errors.Is(err, errUTF8) {
		err = errParse
	}
	c.refused = err
	return nil
}

// keep holds on to a message. One of pieces so small that a list of them would cost more than its bytes are
// worth is copied: only a client that means harm sends such.
func (c *call) keep(data mem.BufferSlice) (tensor.Pieces, error) {
	if len(data) > 16+c.size/mean {
		b, err := c.Allocate(c.size)
		return tensor.Whole(b[:data.CopyTo(b)]), err
	}
	heap := 0 // bytes that are not of the transport's pool: frames of up to 1 KiB
	for _, b := range data {
		part := b.ReadOnlyData()
		c.parts = append(c.parts, part)
		if _, ok := b.(mem.SliceBuffer); ok {
			heap += len(part)
		}
	}
	if err := c.take(int64(heap)); err != nil {
		return tensor.Pieces{}, err
	}
	data.Ref()
	c.data = data
	return tensor.PiecesOf(c.parts), nil
}

// mean is the length in bytes below which pieces, in the mean of a message, are small.
const mean = 1 << 10

// errParse is what Triton says of a message that is no protobuf, or none of this type.
var errParse = fault.New(fault.Mistaken, "Unable to parse request")

func (c *call) take(n int64) error {
	err := c.memory.take(n)
	if err == nil {
		c.taken += n
	}
	return err
}

// Allocate implements oip.Allocator: n bytes until the call is released.
func (c *call) Allocate(n int) ([]byte, error) {
	if n > len(c.free) {
		buf := buffers.Get(n)
		if err := c.take(int64(cap(*buf))); err != nil {
			buffers.Put(buf)
			return nil, err
		}
		c.copies, c.free = append(c.copies, buf), (*buf)[:cap(*buf)]
	}
	b := c.free[:n:n]
	c.free = c.free[n:]
	return b, nil
}

// contiguous is p's bytes in one place: where they are if that is one, else a copy.
func (c *call) contiguous(p tensor.Pieces) ([]byte, error) {
	if b, ok := p.Contiguous(); ok {
		return b, nil
	}
	b, err := c.Allocate(p.Len())
	if err == nil {
		p.CopyTo(b)
	}
	return b, err
}

// addInput returns a new input that reuses the memory of one before.
func (c *call) addInput() *inputTensor {
	n := len(c.inputs)
	if n == cap(c.inputs) {
		c.inputs = append(c.inputs, inputTensor{})
		return &c.inputs[n]
	}
	c.inputs = c.inputs[:n+1]
	t := &c.inputs[n]
	clear(t.contents)
	*t = inputTensor{shape: t.shape[:0], contents: t.contents[:0]}
	return t
}
