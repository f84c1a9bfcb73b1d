// Package onnx writes and reads ONNX files (onnx.proto, https://github.com/onnx/onnx) without holding
// their weights in memory: tensors are streamed out of their own source, and a file is described without
// reading them.
package onnx

import "fmt"

// DType is a TensorProto.DataType.
type DType int32

// The element types that have a name here.
const (
	Float    DType = 1
	Uint8    DType = 2
	Int8     DType = 3
	Int32    DType = 6
	Int64    DType = 7
	String   DType = 8
	Bool     DType = 9
	Float16  DType = 10
	Double   DType = 11
	BFloat16 DType = 16
)

// dtypes have the names that the specification gives them, and the bytes of one element (0 if they vary).
var dtypes = map[DType]struct {
	name string
	size int64
}{
	Float: {"float32", 4}, Uint8: {"uint8", 1}, Int8: {"int8", 1}, 4: {"uint16", 2}, 5: {"int16", 2}, Int32: {"int32", 4},
	Int64: {"int64", 8}, String: {"string", 0}, Bool: {"bool", 1}, Float16: {"float16", 2}, Double: {"float64", 8},
	12: {"uint32", 4}, 13: {"uint64", 8}, 14: {"complex64", 8}, 15: {"complex128", 16}, BFloat16: {"bfloat16", 2},
	17: {"float8e4m3fn", 1}, 18: {"float8e4m3fnuz", 1}, 19: {"float8e5m2", 1}, 20: {"float8e5m2fnuz", 1},
}

// String is the type's name as ONNX's documentation has it.
func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("type %d", int32(d))
}

// Size is the number of bytes of an element, 0 for strings and types that are not known here.
func (d DType) Size() int64 { return dtypes[d].size }

// Dim is one dimension of a graph's input or output: a size, or the name of one that varies. Neither is
// a size that is not known.
type Dim struct {
	Size  int64
	Param string
}

// Fixed tells whether the dimension has one size.
func (d Dim) Fixed() bool { return d.Size > 0 }

// String is the size, the name, or a question mark.
func (d Dim) String() string {
	switch {
	case d.Fixed():
		return fmt.Sprint(d.Size)
	case d.Param != "":
		return d.Param
	}
	return "?"
}

// Value is an input or an output of a graph.
type Value struct {
	Name string
	Type DType
	Dims []Dim
}

// String is the value as `model inspect` prints it: image float32[batch,3,224,224].
func (v Value) String() string {
	s := v.Name + " " + v.Type.String() + "["
	for i, d := range v.Dims {
		if i > 0 {
			s += ","
		}
		s += d.String()
	}
	return s + "]"
}

// Field numbers of onnx.proto, by message.
const (
	modelIRVersion       = 1
	modelProducer        = 2
	modelProducerVersion = 3
	modelGraph           = 7
	modelOpset           = 8
	modelMetadata        = 14

	opsetDomain  = 1
	opsetVersion = 2

	entryKey   = 1 // StringStringEntryProto
	entryValue = 2

	graphNode        = 1
	graphName        = 2
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12

	nodeInput     = 1
	nodeOutput    = 2
	nodeName      = 3
	nodeOp        = 4
	nodeAttribute = 5
	nodeDomain    = 7

	attributeName  = 1
	attributeFloat = 2
	attributeInt   = 3
	attributeInts  = 8
	attributeType  = 20

	tensorDims         = 1
	tensorType         = 2
	tensorName         = 8
	tensorRaw          = 9
	tensorExternal     = 13
	tensorDataLocation = 14

	valueName = 1
	valueType = 2

	typeTensor = 1

	tensorTypeElement = 1
	tensorTypeShape   = 2

	shapeDim = 1

	dimValue = 1
	dimParam = 2

	attributeTypeFloat = 1
	attributeTypeInt   = 2
	attributeTypeInts  = 7

	locationExternal = 1
)
