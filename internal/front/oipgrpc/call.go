package oipgrpc

import (
	"sync"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
)

// call is an inference request as it came (ModelInferRequest) and the oip.Request that it becomes.
// Tensors lie in buf, so it must not be released before the answer is encoded.
type call struct {
	buf      *[]byte
	memory   *budget // pays for buf
	refused  error   // why the message was not read; a codec's own error would lose its code
	ran      bool    // the request was good, and its model has seen it
	received time.Time

	model, version, id string
	params             oip.Params
	inputs             []inputTensor
	outputs            []outputTensor
	raw                [][]byte

	request oip.Request
}

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

// release gives the call and its message back.
func (c *call) release() {
	if c.buf != nil {
		c.memory.give(int64(cap(*c.buf)))
		buffers.Put(c.buf)
	}
	*c = call{
		inputs: c.inputs[:0], outputs: clearAll(c.outputs), raw: clearAll(c.raw),
		request: oip.Request{Inputs: clearAll(c.request.Inputs), Outputs: clearAll(c.request.Outputs)},
	}
	calls.Put(c)
}

func clearAll[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// unmarshal copies the message out of the transport's buffers, the one copy before a tensor is copied
// into its row, and reads it.
func (c *call) unmarshal(data mem.BufferSlice) error {
	c.received = time.Now()
	buf := buffers.Get(data.Len())
	if c.refused = c.memory.take(int64(cap(*buf))); c.refused != nil {
		buffers.Put(buf)
		return nil
	}
	c.buf = buf
	data.CopyTo(*c.buf)
	if c.decode(*c.buf) != nil {
		c.refused = errParse
	}
	return nil
}

// errParse is what Triton says of a message that is no protobuf, or none of this type.
var errParse = fault.New(fault.Mistaken, "Unable to parse request")

// size is the message's length in bytes.
func (c *call) size() int64 {
	if c.buf == nil {
		return 0
	}
	return int64(len(*c.buf))
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
