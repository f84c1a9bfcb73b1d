package onnx

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxBytes is the largest protobuf message, and so the largest file without external data.
const MaxBytes = math.MaxInt32

// Tensor is a weight. Write puts out its elements, row-major and little-endian; it is called once.
type Tensor struct {
	Name  string
	Type  DType
	Dims  []int64
	Write func(w io.Writer) error
}

// Bytes is the size of the elements.
func (t Tensor) Bytes() int64 {
	n := t.Type.Size()
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Attribute is one attribute of a node, encoded.
type Attribute []byte

// Int is an integer attribute.
func Int(name string, v int64) Attribute {
	b := appendString(nil, attributeName, name)
	b = appendVarint(b, attributeInt, uint64(v))
	return appendVarint(b, attributeType, attributeTypeInt)
}

// Ints is a list of integers.
func Ints(name string, v ...int64) Attribute {
	b := appendString(nil, attributeName, name)
	for _, i := range v {
		b = appendVarint(b, attributeInts, uint64(i))
	}
	return appendVarint(b, attributeType, attributeTypeInts)
}

// Float32 is a float attribute.
func Float32(name string, v float32) Attribute {
	b := appendString(nil, attributeName, name)
	b = protowire.AppendTag(b, attributeFloat, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, math.Float32bits(v))
	return appendVarint(b, attributeType, attributeTypeFloat)
}

// Node is one operator of the default domain.
type Node struct {
	Op, Name        string
	Inputs, Outputs []string
	Attributes      []Attribute
}

// Model is what a file is written from.
type Model struct {
	Opset                     int
	Producer, ProducerVersion string
	Graph                     string
	Nodes                     []Node // in an order in which they can be computed
	Tensors                   []Tensor
	Inputs, Outputs           []Value
	Metadata                  map[string]string
}

// External is a file of tensors beside a model's own.
type External struct {
	Name string // relative to the model's file
	W    io.Writer
}

// Smaller tensors stay in the model's file: shapes and indices are read while a graph is planned.
const externalFrom = 1024

// externalAlign is the alignment of external tensors in bytes, a page: they can be mapped then.
const externalAlign = 4096

// irVersions are the oldest versions of the format that may hold an operator set, and so what the most
// readers take (onnx/helper.py, OP_SET_ID_VERSION_MAP).
func irVersion(opset int) uint64 {
	switch {
	case opset < 15:
		return 7
	case opset < 19:
		return 8
	}
	return 9
}

// Size is the size of the file without external data.
func (m *Model) Size() int64 {
	head, tail := m.frame()
	n := int64(len(head) + len(tail))
	graph := m.graphBytes(nil)
	return n + int64(protowire.SizeTag(modelGraph)+protowire.SizeVarint(uint64(graph))) + graph
}

// Write writes the model, its larger tensors to x if that is not nil.
func (m *Model) Write(w io.Writer, x *External) error {
	if x == nil && m.Size() > MaxBytes {
		return fmt.Errorf("%d bytes are more than one protobuf file can hold: write the weights to a file of their own (external data)", m.Size())
	}
	offsets := m.place(x)
	head, tail := m.frame()
	head = protowire.AppendTag(head, modelGraph, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(m.graphBytes(offsets)))
	if _, err := w.Write(append(head, m.graphHead()...)); err != nil {
		return err
	}
	var at int64 // where in the external file
	for i, t := range m.Tensors {
		if err := m.writeTensor(w, x, offsets, i, &at); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	_, err := w.Write(append(m.graphTail(), tail...))
	return err
}

// placement says where a tensor lies in the external file; the zero value is in the model's own.
type placement struct {
	file   string
	offset int64
}

// place gives every large tensor its offset.
func (m *Model) place(x *External) []placement {
	all := make([]placement, len(m.Tensors))
	if x == nil {
		return all
	}
	end := int64(0)
	for i, t := range m.Tensors {
		if t.Bytes() < externalFrom {
			continue
		}
		offset := (end + externalAlign - 1) &^ (externalAlign - 1)
		all[i] = placement{x.Name, offset}
		end = offset + t.Bytes()
	}
	return all
}

func (m *Model) writeTensor(w io.Writer, x *External, places []placement, i int, at *int64) error {
	t, p := m.Tensors[i], places[i]
	head := t.head(p)
	size := int64(len(head))
	if p.file == "" {
		size += t.Bytes()
	}
	b := protowire.AppendTag(nil, graphInitializer, protowire.BytesType)
	b = append(protowire.AppendVarint(b, uint64(size)), head...)
	if _, err := w.Write(b); err != nil {
		return err
	}
	if p.file == "" {
		return exactly(w, t)
	}
	if _, err := x.W.Write(make([]byte, p.offset-*at)); err != nil {
		return err
	}
	*at = p.offset + t.Bytes()
	return exactly(x.W, t)
}

// exactly writes a tensor's elements and holds their number to what was announced.
func exactly(w io.Writer, t Tensor) error {
	c := &counter{w: w}
	if err := t.Write(c); err != nil {
		return err
	}
	if c.n != t.Bytes() {
		return fmt.Errorf("%d bytes were written, shape %v has %d", c.n, t.Dims, t.Bytes())
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// head is a tensor without its raw data, up to and with that field's length.
func (t Tensor) head(p placement) []byte {
	var b []byte
	for _, d := range t.Dims {
		b = appendVarint(b, tensorDims, uint64(d))
	}
	b = appendVarint(b, tensorType, uint64(t.Type))
	b = appendString(b, tensorName, t.Name)
	if p.file == "" {
		b = protowire.AppendTag(b, tensorRaw, protowire.BytesType)
		return protowire.AppendVarint(b, uint64(t.Bytes()))
	}
	for _, e := range [][2]string{{"location", p.file}, {"offset", strconv.FormatInt(p.offset, 10)}, {"length", strconv.FormatInt(t.Bytes(), 10)}} {
		b = appendBytes(b, tensorExternal, entry(e[0], e[1]))
	}
	return appendVarint(b, tensorDataLocation, locationExternal)
}

// graphBytes is the size of the graph message.
func (m *Model) graphBytes(places []placement) int64 {
	n := int64(len(m.graphHead()) + len(m.graphTail()))
	for i, t := range m.Tensors {
		var p placement
		if places != nil {
			p = places[i]
		}
		size := int64(len(t.head(p)))
		if p.file == "" {
			size += t.Bytes()
		}
		n += int64(protowire.SizeTag(graphInitializer)+protowire.SizeVarint(uint64(size))) + size
	}
	return n
}

// frame is what stands before and after the graph.
func (m *Model) frame() (head, tail []byte) {
	head = appendVarint(nil, modelIRVersion, irVersion(m.Opset))
	head = appendString(head, modelProducer, m.Producer)
	head = appendString(head, modelProducerVersion, m.ProducerVersion)
	opset := appendString(nil, opsetDomain, "")
	tail = appendBytes(nil, modelOpset, appendVarint(opset, opsetVersion, uint64(m.Opset)))
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		tail = appendBytes(tail, modelMetadata, entry(k, m.Metadata[k]))
	}
	return head, tail
}

func (m *Model) graphHead() (b []byte) {
	for _, n := range m.Nodes {
		b = appendBytes(b, graphNode, n.encode())
	}
	return appendString(b, graphName, m.Graph)
}

func (m *Model) graphTail() (b []byte) {
	for _, v := range m.Inputs {
		b = appendBytes(b, graphInput, v.encode())
	}
	for _, v := range m.Outputs {
		b = appendBytes(b, graphOutput, v.encode())
	}
	return b
}

func (n Node) encode() (b []byte) {
	for _, name := range n.Inputs {
		b = appendString(b, nodeInput, name)
	}
	for _, name := range n.Outputs {
		b = appendString(b, nodeOutput, name)
	}
	b = appendString(b, nodeName, n.Name)
	b = appendString(b, nodeOp, n.Op)
	for _, a := range n.Attributes {
		b = appendBytes(b, nodeAttribute, a)
	}
	return b
}

func (v Value) encode() []byte {
	var shape []byte
	for _, d := range v.Dims {
		var dim []byte
		switch {
		case d.Fixed():
			dim = appendVarint(dim, dimValue, uint64(d.Size))
		case d.Param != "":
			dim = appendString(dim, dimParam, d.Param)
		}
		shape = appendBytes(shape, shapeDim, dim)
	}
	t := appendVarint(nil, tensorTypeElement, uint64(v.Type))
	t = appendBytes(t, tensorTypeShape, shape)
	b := appendString(nil, valueName, v.Name)
	return appendBytes(b, valueType, appendBytes(nil, typeTensor, t))
}

func entry(key, value string) []byte {
	return appendString(appendString(nil, entryKey, key), entryValue, value)
}

func appendVarint(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func appendString(b []byte, n protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// ErrFormat is in the chain of the errors about a file that is not ONNX.
var ErrFormat = errors.New("not an ONNX model")
