package oipgrpc

import (
	"math"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// build turns what came into an oip.Request, in Triton's order of checks and in its words.
func (c *call) build() (*oip.Request, error) {
	r := &c.request
	r.Model, r.Version, r.ID = c.model, c.version, c.id
	r.Allocator = c
	for k, v := range c.params {
		if err := setParameter(r, k, v); err != nil {
			return nil, err
		}
	}
	if err := c.buildInputs(); err != nil {
		return nil, err
	}
	for i := range c.outputs {
		out, err := c.outputs[i].build()
		if err != nil {
			return nil, err
		}
		r.Outputs = append(r.Outputs, out)
	}
	return r, nil
}

func wrongType(name, expected string) error {
	return fault.New(fault.Invalid, "invalid value type for '%s' parameter, expected %s", name, expected)
}

const finalParameter = "triton_enable_empty_final_response"

// setParameter takes one of a request's parameters over.
func setParameter(r *oip.Request, k string, v any) error {
	var ok bool
	switch k {
	case "sequence_id":
		var id int64
		if id, ok = v.(int64); ok {
			r.Sequence.ID = uint64(id)
		} else if r.Sequence.Name, ok = v.(string); !ok {
			return wrongType(k, "int64_param or string_param.")
		}
	case "sequence_start":
		if r.Sequence.Start, ok = v.(bool); !ok {
			return wrongType(k, "bool_param.")
		}
	case "sequence_end":
		if r.Sequence.End, ok = v.(bool); !ok {
			return wrongType(k, "bool_param.")
		}
	case "priority":
		return setPriority(r, k, v)
	case "timeout":
		us, ok := v.(int64)
		if !ok {
			return wrongType(k, "int64_param.")
		}
		r.Timeout = microseconds(us)
	case finalParameter:
		if _, ok := v.(bool); !ok {
			return wrongType(k, "bool_param.")
		}
	default:
		return setOther(r, k, v)
	}
	return nil
}

func setPriority(r *oip.Request, k string, v any) error {
	switch p := v.(type) {
	case int64:
		if p < 0 {
			return fault.New(fault.Invalid, "invalid value for 'priority', expected value >= 0.")
		}
		r.Priority = uint64(p)
	case uint64:
		r.Priority = p
	default:
		return wrongType(k, "int64_param or uint64_param.")
	}
	return nil
}

// microseconds is a time that does not overflow; a negative one is a very long one, as in Triton.
func microseconds(us int64) time.Duration {
	if us < 0 || us > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(us) * time.Microsecond
}

// setOther takes a parameter of the client's own over.
func setOther(r *oip.Request, k string, v any) error {
	if strings.HasPrefix(k, "triton_") {
		return fault.New(fault.Invalid, "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting with 'triton_' are allowed: %s", finalParameter)
	}
	switch v.(type) {
	case bool, int64, string, float64:
	default:
		return wrongType(k, "int64_param, bool_param, or string_param.")
	}
	if r.Params == nil {
		r.Params = oip.Params{}
	}
	r.Params[k] = v
	return nil
}

// buildInputs finds each input's bytes: in shared memory, in the next raw contents, or typed.
func (c *call) buildInputs() error {
	raw := c.raw
	for i := range c.inputs {
		t := &c.inputs[i]
		memory, err := sharedMemory(t.name, t.params)
		if err != nil {
			return err
		}
		in := oip.Input{Name: t.name, DType: tensor.Parse(t.datatype), Shape: t.shape, Memory: memory, Params: others(t.params)}
		switch {
		case memory != nil && len(t.contents) > 0:
			return fault.New(fault.Invalid, "unexpected 'content' provided when using shared memory for input tensor '%s' for model '%s'", t.name, c.model)
		case memory != nil:
		case len(t.contents) > 0 && len(c.raw) > 0:
			return fault.New(fault.Invalid, "contents field must not be specified when using raw_input_contents for '%s' for model '%s'", t.name, c.model)
		case len(raw) > 0:
			in.Data, in.Pieces = dense(raw[0])
			raw = raw[1:]
		case len(t.contents) > 0:
			if in.Data, err = t.typed(c.model); err != nil {
				return err
			}
		default:
			return fault.New(fault.Invalid, "unable to find data for input tensor '%s' for model '%s' in request.", t.name, c.model)
		}
		c.request.Inputs = append(c.request.Inputs, in)
	}
	return nil
}

// dense is bytes as they are wherever they lie in one place.
func dense(p tensor.Pieces) ([]byte, tensor.Pieces) {
	if b, ok := p.Contiguous(); ok {
		return b, tensor.Pieces{}
	}
	return nil, p
}

const (
	regionKey = "shared_memory_region"
	sizeKey   = "shared_memory_byte_size"
	offsetKey = "shared_memory_offset"
)

// sharedMemory reads where a tensor lies in shared memory; nil for one that does not.
func sharedMemory(name string, params oip.Params) (*oip.Memory, error) {
	if len(params) == 0 {
		return nil, nil
	}
	m := &oip.Memory{}
	region, inRegion := params[regionKey]
	if inRegion {
		var ok bool
		if m.Region, ok = region.(string); !ok {
			return nil, fault.New(fault.Invalid, "invalid value type for '%s' parameter for tensor '%s', expected string_param.", regionKey, name)
		}
	}
	if _, err := extent(&m.Offset, offsetKey, name, params, inRegion); err != nil {
		return nil, err
	}
	sized, err := extent(&m.Size, sizeKey, name, params, inRegion)
	switch {
	case err != nil:
		return nil, err
	case !inRegion:
		return nil, nil
	case !sized:
		return nil, fault.New(fault.Invalid, "'%s' must be specified along with '%s' parameter for tensor '%s'", sizeKey, regionKey, name)
	}
	return m, nil
}

// extent reads an offset or a size, and tells whether it is there; without a region it may not be.
func extent(to *uint64, key, name string, params oip.Params, inRegion bool) (there bool, err error) {
	v, there := params[key]
	if !there {
		return false, nil
	}
	if !inRegion {
		return true, fault.New(fault.Invalid, "'%s' can not be specified without '%s' parameter for tensor '%s'", key, regionKey, name)
	}
	n, ok := v.(int64)
	if !ok {
		return true, fault.New(fault.Invalid, "invalid value type for '%s' parameter for tensor '%s', expected int64_param.", key, name)
	}
	*to = uint64(n)
	return true, nil
}

// others are the parameters of a tensor that have no meaning to the server.
func others(params oip.Params) oip.Params {
	var left oip.Params
	for k, v := range params {
		switch k {
		case regionKey, sizeKey, offsetKey, "classification":
			continue
		}
		if _, empty := v.(unset); empty {
			continue
		}
		if left == nil {
			left = oip.Params{}
		}
		left[k] = v
	}
	return left
}

func (t *outputTensor) build() (oip.RequestedOutput, error) {
	out := oip.RequestedOutput{Name: t.name, Binary: true, Params: others(t.params)}
	if v, ok := t.params["classification"]; ok {
		n, ok := v.(int64)
		if !ok {
			return out, fault.New(fault.Invalid, "invalid value type for 'classification' parameter, expected int64_param")
		}
		if n <= 0 {
			return out, fault.New(fault.Invalid, "invalid value for 'classification' parameter, expected >= 0")
		}
		out.Classification = int(min(n, math.MaxInt32))
	}
	var err error
	if out.Memory, err = sharedMemory(t.name, t.params); err != nil {
		return out, err
	}
	if out.Memory != nil && out.Classification > 0 {
		return out, fault.New(fault.Invalid, "output can't set both '%s' and 'classification'", regionKey)
	}
	return out, nil
}
