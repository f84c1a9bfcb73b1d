package wire

import (
	"strconv"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// ResponseTensor is a tensor of an answer. One that is in shared memory has no Data and is neither
// printed nor appended.
type ResponseTensor struct {
	Name   string
	DType  tensor.DType
	Shape  []int64
	Data   []byte
	Binary bool
	Shared bool
}

// Response is the body of an answer.
type Response struct {
	ID, Model, Version string
	Params             map[string]any
	Tensors            []ResponseTensor
}

// Append prints the answer after b: JSON, and then the binary tensors. header is the length of the
// JSON; binary tells whether bytes follow it.
func (r *Response) Append(b []byte) (out []byte, header int, binary bool, err error) {
	from := len(b)
	b = append(b, '{')
	if r.ID != "" {
		b = append(AppendString(append(b, `"id":`...), r.ID), ',')
	}
	b = AppendString(append(b, `"model_name":`...), r.Model)
	b = AppendString(append(b, `,"model_version":`...), r.Version)
	if len(r.Params) > 0 {
		b = AppendParams(append(b, `,"parameters":`...), r.Params)
	}
	b = append(b, `,"outputs":[`...)
	for i := range r.Tensors {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = r.Tensors[i].append(b); err != nil {
			return b[:from], 0, false, err
		}
	}
	b = append(b, ']', '}')
	header = len(b) - from
	for i := range r.Tensors {
		if t := &r.Tensors[i]; t.Binary {
			b = append(b, t.Data...)
		}
	}
	return b, header, len(b)-from > header, nil
}

func (t *ResponseTensor) append(b []byte) ([]byte, error) {
	b = AppendString(append(b, `{"name":`...), t.Name)
	b = append(append(b, `,"datatype":"`...), t.DType.String()...)
	b = AppendShape(append(b, `","shape":`...), t.Shape)
	var err error
	switch {
	case t.Shared:
	case t.Binary:
		b = strconv.AppendInt(append(b, `,"parameters":{"binary_data_size":`...), int64(len(t.Data)), 10)
		b = append(b, '}')
	default:
		b, err = AppendData(append(b, `,"data":`...), t.DType, t.Data, t.Name)
	}
	return append(b, '}'), err
}

// AppendShape prints a shape as JSON.
func AppendShape(b []byte, shape []int64) []byte {
	b = append(b, '[')
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, d, 10)
	}
	return append(b, ']')
}

// AppendParams prints parameters: string, bool, int64, uint64 and float64, in no order.
func AppendParams(b []byte, params map[string]any) []byte {
	b = append(b, '{')
	for k, v := range params {
		b = append(AppendString(b, k), ':')
		switch v := v.(type) {
		case string:
			b = AppendString(b, v)
		case bool:
			b = strconv.AppendBool(b, v)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case uint64:
			b = strconv.AppendUint(b, v, 10)
		case float64:
			b = AppendFloat(b, v)
		default:
			b = append(b, "null"...)
		}
		b = append(b, ',')
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}')
}
