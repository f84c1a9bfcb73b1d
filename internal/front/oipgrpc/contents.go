package oipgrpc

import (
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// contentFields are the fields of InferTensorContents by number: how their elements are written and
// which data types they may bring; the first names them in errors.
var contentFields = [...]struct {
	wire protowire.Type
	name string
	for_ []tensor.DType
}{
	1: {protowire.VarintType, "BOOL", []tensor.DType{tensor.Bool}},
	2: {protowire.VarintType, "INT32", []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32}},
	3: {protowire.VarintType, "INT64", []tensor.DType{tensor.Int64}},
	4: {protowire.VarintType, "UINT32", []tensor.DType{tensor.Uint8, tensor.Uint16, tensor.Uint32}},
	5: {protowire.VarintType, "UINT64", []tensor.DType{tensor.Uint64}},
	6: {protowire.Fixed32Type, "FP32", []tensor.DType{tensor.FP32}},
	7: {protowire.Fixed64Type, "FP64", []tensor.DType{tensor.FP64}},
	8: {protowire.BytesType, "BYTES", []tensor.DType{tensor.Bytes}},
}

// element tells whether f holds elements of a known field, packed or single.
func element(f *fields) bool {
	if f.num < 1 || int(f.num) >= len(contentFields) {
		return false
	}
	return f.typ == protowire.BytesType || f.typ == contentFields[f.num].wire
}

// checkContents makes sure that b is an InferTensorContents.
func checkContents(b []byte) error {
	f := fields{rest: b}
	for {
		more, err := f.next()
		if !more || err != nil {
			return err
		}
		if f.typ == protowire.BytesType && element(&f) && !validPacked(contentFields[f.num].wire, f.bytes) {
			return errWire
		}
	}
}

func validPacked(wire protowire.Type, b []byte) bool {
	switch wire {
	case protowire.Fixed32Type:
		return len(b)%4 == 0
	case protowire.Fixed64Type:
		return len(b)%8 == 0
	case protowire.VarintType:
		for len(b) > 0 {
			_, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			b = b[n:]
		}
	}
	return true
}

// typed returns the tensor that typed contents hold, as raw bytes. Packed floats are raw bytes
// already, and stay where they are.
func (t *inputTensor) typed(model string) ([]byte, error) {
	want := tensor.Parse(t.datatype)
	used, runs := t.used()
	found := protowire.Number(0)
	for num := range protowire.Number(len(contentFields)) {
		switch {
		case !used[num]:
		case found != 0:
			return nil, fault.New(fault.Invalid, "unexpected explicit tensor data for input tensor '%s' for model '%s', binary data was already supplied.", t.name, model)
		case !slices.Contains(contentFields[num].for_, want):
			return nil, fault.New(fault.Invalid, "unexpected explicit tensor data for input tensor '%s' for model '%s' of type '%s', expected datatype '%s'",
				t.name, model, contentFields[num].name, oip.TypeName(want))
		default:
			found = num
		}
	}
	return t.collect(found, want, runs == 1), nil
}

// used tells which fields hold elements, and how many runs of elements there are.
func (t *inputTensor) used() (used [len(contentFields)]bool, runs int) {
	for _, b := range t.contents {
		f := fields{rest: b}
		for more, _ := f.next(); more; more, _ = f.next() { // checked before
			if element(&f) && (f.num == 8 || f.typ != protowire.BytesType || len(f.bytes) > 0) {
				used[f.num] = true
				runs++
			}
		}
	}
	return used, runs
}

// collect gathers the elements of one field as raw bytes of a type.
func (t *inputTensor) collect(num protowire.Number, d tensor.DType, single bool) []byte {
	data := []byte{}
	for _, b := range t.contents {
		f := fields{rest: b}
		for more, _ := f.next(); more; more, _ = f.next() {
			switch {
			case f.num != num || !element(&f):
			case num == 8:
				data = append(binary.LittleEndian.AppendUint32(data, uint32(len(f.bytes))), f.bytes...)
			case f.typ != protowire.BytesType:
				data = appendNumber(data, d, f.value)
			case contentFields[num].wire == protowire.VarintType:
				data = appendVarints(slices.Grow(data, len(f.bytes)), d, f.bytes)
			case single:
				return f.bytes[:len(f.bytes):len(f.bytes)]
			default:
				data = append(data, f.bytes...)
			}
		}
	}
	return data
}

func appendVarints(data []byte, d tensor.DType, b []byte) []byte {
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		data, b = appendNumber(data, d, v), b[n:]
	}
	return data
}

// appendNumber appends the low bytes of v: an element too large for its type is cut, as in Triton.
func appendNumber(data []byte, d tensor.DType, v uint64) []byte {
	if d == tensor.Bool {
		v = protowire.EncodeBool(v != 0)
	}
	switch d.Size() {
	case 1:
		return append(data, byte(v))
	case 2:
		return binary.LittleEndian.AppendUint16(data, uint16(v))
	case 4:
		return binary.LittleEndian.AppendUint32(data, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(data, v)
}
