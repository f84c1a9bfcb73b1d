package oipgrpc

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

var (
	errWire = errors.New("the message is not valid protobuf")
	errUTF8 = errors.New("a string field holds invalid UTF-8")
)

// fields walks the fields of a message. A field of an unexpected wire type is unknown, as an unknown
// number is, and skipped by whoever reads it.
type fields struct {
	rest  []byte
	num   protowire.Number
	typ   protowire.Type
	bytes []byte // of a length-delimited field
	value uint64 // of a number
}

// next reads a field; false at the end.
func (f *fields) next() (bool, error) {
	if len(f.rest) == 0 {
		return false, nil
	}
	num, typ, n := protowire.ConsumeTag(f.rest)
	if n < 0 || num > protowire.MaxValidNumber {
		return false, errWire
	}
	f.num, f.typ, f.rest = num, typ, f.rest[n:]
	switch typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(f.rest)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(f.rest)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(f.rest)
		f.value = uint64(v)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(f.rest)
	default:
		n = protowire.ConsumeFieldValue(num, typ, f.rest)
	}
	if n < 0 {
		return false, errWire
	}
	f.rest = f.rest[n:]
	return true, nil
}

// text reads a string.
func (f *fields) text(s *string) error {
	if !utf8.Valid(f.bytes) {
		return errUTF8
	}
	*s = intern(f.bytes)
	return nil
}

// datatypes holds the protocol's names of data types, so that reading one allocates nothing.
var datatypes = func() map[string]string {
	names := map[string]string{}
	for d := tensor.Bool; d <= tensor.Bytes; d++ {
		names[d.String()] = d.String()
	}
	return names
}()

func intern(b []byte) string {
	if s, ok := datatypes[string(b)]; ok {
		return s
	}
	return string(b)
}

// decode reads a ModelInferRequest. Raw tensors stay in their pieces; other fields are read where they lie if
// that is one place, else copied.
func (c *call) decode(m tensor.Pieces) error {
	for m.Len() > 0 {
		tag, err := varint(&m)
		if err != nil {
			return err
		}
		num, typ := protowire.DecodeTag(tag)
		if num < protowire.MinValidNumber || num > protowire.MaxValidNumber {
			return errWire
		}
		if err := c.field(num, typ, &m); err != nil {
			return err
		}
	}
	return nil
}

// varint takes a number off m.
func varint(m *tensor.Pieces) (uint64, error) {
	var space [binary.MaxVarintLen64]byte
	v, n := protowire.ConsumeVarint(m.Peek(space[:]))
	if n < 0 {
		return 0, errWire
	}
	_, *m = m.Cut(n)
	return v, nil
}

// skip takes n bytes off m.
func skip(m *tensor.Pieces, n int) error {
	if n > m.Len() {
		return errWire
	}
	_, *m = m.Cut(n)
	return nil
}

// field takes the value of a field off m. All fields of the message are length-delimited.
func (c *call) field(num protowire.Number, typ protowire.Type, m *tensor.Pieces) error {
	switch typ {
	case protowire.BytesType:
		n, err := varint(m)
		if err != nil {
			return err
		}
		if n > uint64(m.Len()) {
			return errWire
		}
		var value tensor.Pieces
		value, *m = m.Cut(int(n))
		return c.value(num, value)
	case protowire.VarintType:
		_, err := varint(m)
		return err
	case protowire.Fixed32Type:
		return skip(m, 4)
	case protowire.Fixed64Type:
		return skip(m, 8)
	}
	return c.group(num, typ, m)
}

// group takes a group off m, which no client of this protocol sends: what is left is read in one place.
func (c *call) group(num protowire.Number, typ protowire.Type, m *tensor.Pieces) error {
	b, err := c.contiguous(*m)
	if err != nil {
		return err
	}
	n := protowire.ConsumeFieldValue(num, typ, b)
	if n < 0 {
		return errWire
	}
	*m = tensor.Whole(b[n:])
	return nil
}

func (c *call) value(num protowire.Number, value tensor.Pieces) error {
	if num == 7 {
		c.raw = append(c.raw, value)
		return nil
	}
	if num > 7 {
		return nil
	}
	b, err := c.contiguous(value)
	if err != nil {
		return err
	}
	f := fields{bytes: b}
	switch num {
	case 1:
		return f.text(&c.model)
	case 2:
		return f.text(&c.version)
	case 3:
		return f.text(&c.id)
	case 4:
		return entry(b, &c.params)
	case 5:
		return c.addInput().decode(b)
	}
	c.outputs = append(c.outputs, outputTensor{})
	return c.outputs[len(c.outputs)-1].decode(b)
}

// decode reads an InferInputTensor.
func (t *inputTensor) decode(b []byte) error {
	f := fields{rest: b}
	for {
		more, err := f.next()
		if !more || err != nil {
			return err
		}
		switch {
		case f.num == 3:
			t.shape, err = shape(t.shape, &f)
		case f.typ != protowire.BytesType:
		case f.num == 1:
			err = f.text(&t.name)
		case f.num == 2:
			err = f.text(&t.datatype)
		case f.num == 4:
			err = entry(f.bytes, &t.params)
		case f.num == 5:
			t.contents = append(t.contents, f.bytes)
			err = checkContents(f.bytes)
		}
		if err != nil {
			return err
		}
	}
}

// decode reads an InferRequestedOutputTensor.
func (t *outputTensor) decode(b []byte) error {
	f := fields{rest: b}
	for {
		more, err := f.next()
		if !more || err != nil {
			return err
		}
		switch {
		case f.typ != protowire.BytesType:
		case f.num == 1:
			err = f.text(&t.name)
		case f.num == 2:
			err = entry(f.bytes, &t.params)
		}
		if err != nil {
			return err
		}
	}
}

// shape appends the dimensions of a field, packed or single.
func shape(dims []int64, f *fields) ([]int64, error) {
	if f.typ == protowire.VarintType {
		return append(dims, int64(f.value)), nil
	}
	if f.typ != protowire.BytesType {
		return dims, nil
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return dims, errWire
		}
		dims, b = append(dims, int64(v)), b[n:]
	}
	return dims, nil
}

// entry reads an entry of a map of parameters into the map.
func entry(b []byte, params *oip.Params) error {
	var key string
	var value any = unset{}
	f := fields{rest: b}
	for {
		more, err := f.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch {
		case f.typ != protowire.BytesType:
		case f.num == 1:
			err = f.text(&key)
		case f.num == 2:
			err = parameter(f.bytes, &value)
		}
		if err != nil {
			return err
		}
	}
	if *params == nil {
		*params = oip.Params{}
	}
	(*params)[key] = value
	return nil
}

// parameter reads an InferParameter; of several values the last counts.
func parameter(b []byte, value *any) error {
	f := fields{rest: b}
	for {
		more, err := f.next()
		if !more || err != nil {
			return err
		}
		switch {
		case f.num == 1 && f.typ == protowire.VarintType:
			*value = protowire.DecodeBool(f.value)
		case f.num == 2 && f.typ == protowire.VarintType:
			*value = int64(f.value)
		case f.num == 3 && f.typ == protowire.BytesType:
			var s string
			if err := f.text(&s); err != nil {
				return err
			}
			*value = s
		case f.num == 4 && f.typ == protowire.Fixed64Type:
			*value = math.Float64frombits(f.value)
		case f.num == 5 && f.typ == protowire.VarintType:
			*value = f.value
		}
	}
}
