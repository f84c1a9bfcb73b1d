package oipgrpc

import (
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vitrine-project/vitrine/internal/oip"
)

// encodeResponse writes a ModelInferResponse into a buffer of the pool.
func encodeResponse(r *oip.Response) encoded {
	buf := buffers.Get(capacity(r))
	*buf = appendResponse((*buf)[:0], r)
	return encoded{buf}
}

// encodeStreamed writes a ModelStreamInferResponse that holds r. Every answer of ours is the last to
// its request, and says so.
func encodeStreamed(r *oip.Response) encoded {
	final := *r
	final.Params = maps.Clone(finalResponse)
	maps.Copy(final.Params, r.Params)
	buf := buffers.Get(capacity(r))
	b := appendResponse((*buf)[:0], &final)
	*buf = seal(b, 0, 2)
	return encoded{buf}
}

// encodeFailure writes a ModelStreamInferResponse that holds the error of a request. One that its model
// has seen names the model and says that nothing follows; one that was refused before does not.
func encodeFailure(message string, c *call) encoded {
	buf := buffers.Get(len(message) + len(c.model) + len(c.id) + 96)
	b := appendText((*buf)[:0], 1, message)
	mark := len(b)
	if c.ran {
		b = appendText(b, 1, c.model)
	}
	b = appendText(b, 3, c.id)
	if c.ran {
		b = appendParams(b, 4, finalResponse)
	}
	*buf = seal(b, mark, 2)
	return encoded{buf}
}

// finalResponse is the parameter of the last answer to a request.
var finalResponse = oip.Params{"triton_final_response": true}

// capacity is a little more than most answers need.
func capacity(r *oip.Response) int {
	n := 128 + len(r.Model) + len(r.Version) + len(r.ID)
	for i := range r.Outputs {
		o := &r.Outputs[i]
		n += 64 + len(o.Name) + 10*len(o.Shape) + len(o.Data)
	}
	return n
}

func appendResponse(b []byte, r *oip.Response) []byte {
	b = appendText(b, 1, r.Model)
	b = appendText(b, 2, r.Version)
	b = appendText(b, 3, r.ID)
	b = appendParams(b, 4, r.Params)
	for i := range r.Outputs {
		mark := len(b)
		b = seal(appendOutput(b, &r.Outputs[i]), mark, 5)
	}
	for i := range r.Outputs { // an output in shared memory has its empty place too
		b = protowire.AppendTag(b, 6, protowire.BytesType)
		b = protowire.AppendBytes(b, r.Outputs[i].Data)
	}
	return b
}

// appendOutput appends the fields of an InferOutputTensor.
func appendOutput(b []byte, o *oip.Output) []byte {
	b = appendText(b, 1, o.Name)
	b = appendText(b, 2, o.DType.String())
	if len(o.Shape) > 0 {
		mark := len(b)
		for _, d := range o.Shape {
			b = protowire.AppendVarint(b, uint64(d))
		}
		b = seal(b, mark, 3)
	}
	return appendParams(b, 4, o.Params)
}

// appendText appends a string field; an empty one is left out.
func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// seal makes what follows mark the content of a length-delimited field.
func seal(b []byte, mark int, num protowire.Number) []byte {
	var space [16]byte
	n := len(b) - mark
	head := protowire.AppendVarint(protowire.AppendTag(space[:0], num, protowire.BytesType), uint64(n))
	b = append(b, head...)
	copy(b[mark+len(head):], b[mark:mark+n])
	copy(b[mark:], head)
	return b
}

// appendParams appends a map of parameters, by name.
func appendParams(b []byte, num protowire.Number, params oip.Params) []byte {
	if len(params) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		mark := len(b)
		b = appendText(b, 1, k)
		value := len(b)
		b = seal(appendParameter(b, params[k]), value, 2)
		b = seal(b, mark, num)
	}
	return b
}

// appendParameter appends the field of an InferParameter.
func appendParameter(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), protowire.EncodeBool(v))
	case int64:
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(v))
	case string:
		return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), v)
	case float64:
		return protowire.AppendFixed64(protowire.AppendTag(b, 4, protowire.Fixed64Type), math.Float64bits(v))
	case uint64:
		return protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.VarintType), v)
	}
	return b
}
