package onnx

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of a file that is believed. The largest image towers have some ten thousand nodes.
const (
	maxNodes    = 1 << 20
	maxTensors  = 1 << 20
	maxValues   = 1 << 12
	maxText     = 1 << 16 // bytes of a name
	maxMetadata = 1 << 20 // bytes of all entries together
	maxRank     = 64
)

// Operator is how many nodes of a graph compute the same function.
type Operator struct {
	Name  string `json:"name"` // with its domain, if that is not the default one
	Count int    `json:"count"`
}

// Info describes a file.
type Info struct {
	IRVersion       int64
	Producer        string            // with its version
	Opsets          map[string]int64  // by domain; "" is the default one
	Graph           string            // its name
	Nodes           int               // of the main graph
	Operators       []Operator        // by count, largest first
	Inputs          []Value           // without those that have a stored value
	Outputs         []Value           //
	Tensors         int               // stored weights and constants
	Elements        int64             // of all of them
	WeightBytes     int64             // in this file and in others
	ByType          map[DType]int64   // bytes
	External        []string          // files beside it that hold weights, relative to it
	Metadata        map[string]string // metadata_props
	Bytes           int64             // of the file itself
	externalPresent map[string]bool
	metadataBytes   int
	counts          map[string]int
	initializers    map[string]bool
}

// Opset is the version of the default operator set.
func (i *Info) Opset() int64 { return i.Opsets[""] }

// Stat describes the file at path. Weights are not read.
func Stat(path string) (*Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	info, err := Read(f, st.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

// Read describes a model of size bytes.
func Read(r io.ReaderAt, size int64) (*Info, error) {
	info := &Info{Bytes: size, Opsets: map[string]int64{}, ByType: map[DType]int64{}, Metadata: map[string]string{},
		externalPresent: map[string]bool{}, counts: map[string]int{}, initializers: map[string]bool{}}
	m := message{window: &window{r: r, size: size}, end: size}
	graphs := 0
	err := m.each(func(f field) (err error) {
		switch f.number {
		case modelIRVersion:
			info.IRVersion = int64(f.varint)
		case modelProducer:
			info.Producer, err = f.text()
		case modelProducerVersion:
			var v string
			if v, err = f.text(); v != "" {
				info.Producer += " " + v
			}
		case modelGraph:
			graphs++
			err = info.readGraph(f)
		case modelOpset:
			err = info.readOpset(f)
		case modelMetadata:
			err = info.readMetadata(f)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if graphs != 1 || info.Opset() == 0 || len(info.Outputs) == 0 {
		return nil, fmt.Errorf("%w: %d graphs, operator set %d, %d outputs", ErrFormat, graphs, info.Opset(), len(info.Outputs))
	}
	info.finish()
	return info, nil
}

// finish sorts what was collected. Formats before IR version 4 list weights among the inputs.
func (i *Info) finish() {
	i.Inputs = slices.DeleteFunc(i.Inputs, func(v Value) bool { return i.initializers[v.Name] })
	for name, n := range i.counts {
		i.Operators = append(i.Operators, Operator{name, n})
	}
	slices.SortFunc(i.Operators, func(a, b Operator) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	i.External = slices.Sorted(maps.Keys(i.externalPresent))
}

func (i *Info) readOpset(f field) error {
	domain, version := "", int64(0)
	err := f.message().each(func(f field) (err error) {
		switch f.number {
		case opsetDomain:
			domain, err = f.text()
		case opsetVersion:
			version = int64(f.varint)
		}
		return err
	})
	if domain == "ai.onnx" {
		domain = ""
	}
	if len(i.Opsets) < maxValues {
		i.Opsets[domain] = version
	}
	return err
}

func (i *Info) readMetadata(f field) error {
	if i.metadataBytes += int(min(f.length, maxMetadata+1)); i.metadataBytes > maxMetadata {
		return fmt.Errorf("%w: more than %d bytes of metadata", ErrFormat, maxMetadata)
	}
	key, value, err := f.entry()
	i.Metadata[key] = value
	return err
}

func (i *Info) readGraph(f field) error {
	return f.message().each(func(f field) (err error) {
		switch f.number {
		case graphNode:
			return i.readNode(f)
		case graphName:
			i.Graph, err = f.text()
		case graphInitializer:
			return i.readTensor(f)
		case graphInput:
			return readValue(f, &i.Inputs)
		case graphOutput:
			return readValue(f, &i.Outputs)
		}
		return err
	})
}

func (i *Info) readNode(f field) error {
	if i.Nodes++; i.Nodes > maxNodes {
		return fmt.Errorf("%w: more than %d nodes", ErrFormat, maxNodes)
	}
	op, domain := "", ""
	err := f.message().each(func(f field) (err error) {
		switch f.number {
		case nodeOp:
			op, err = f.text()
		case nodeDomain:
			domain, err = f.text()
		}
		return err
	})
	if err != nil {
		return err
	}
	if domain != "" && domain != "ai.onnx" {
		op = domain + "." + op
	}
	if _, known := i.counts[op]; !known && len(i.counts) >= maxValues {
		return fmt.Errorf("%w: more than %d different operators", ErrFormat, maxValues)
	}
	i.counts[op]++
	return nil
}

// readTensor counts a tensor. Its data is skipped, whichever of the fields holds it.
func (i *Info) readTensor(f field) error {
	if i.Tensors++; i.Tensors > maxTensors {
		return fmt.Errorf("%w: more than %d tensors", ErrFormat, maxTensors)
	}
	var dims []int64
	var kind DType
	name := ""
	err := f.message().each(func(f field) (err error) {
		switch f.number {
		case tensorDims:
			dims, err = f.ints(dims)
		case tensorType:
			kind = DType(f.varint)
		case tensorName:
			name, err = f.text()
		case tensorExternal:
			err = i.readExternal(f)
		}
		return err
	})
	if err != nil {
		return err
	}
	n, ok := product(dims)
	if !ok {
		return fmt.Errorf("%w: tensor %q has shape %v", ErrFormat, name, dims)
	}
	i.initializers[name] = true
	i.Elements += n
	i.WeightBytes += n * kind.Size()
	i.ByType[kind] += n * kind.Size()
	return nil
}

func (i *Info) readExternal(f field) error {
	key, value, err := f.entry()
	if err != nil || key != "location" {
		return err
	}
	if !filepath.IsLocal(value) {
		return fmt.Errorf("%w: weights in %q, outside the model's folder", ErrFormat, value)
	}
	if len(i.externalPresent) >= maxValues {
		return fmt.Errorf("%w: weights in more than %d files", ErrFormat, maxValues)
	}
	i.externalPresent[value] = true
	return nil
}

// product is the number of elements of a shape, if it is one: at most 2^48 elements.
func product(dims []int64) (int64, bool) {
	const most = 1 << 48
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > most || n > most/max(d, 1) {
			return 0, false
		}
		n *= d
	}
	return n, true
}

func readValue(f field, to *[]Value) error {
	if len(*to) >= maxValues+maxTensors {
		return fmt.Errorf("%w: too many inputs or outputs", ErrFormat)
	}
	var v Value
	err := f.message().each(func(f field) (err error) {
		switch f.number {
		case valueName:
			v.Name, err = f.text()
		case valueType:
			err = readType(f, &v)
		}
		return err
	})
	*to = append(*to, v)
	return err
}

// readType reads a tensor's type; a value that is no tensor keeps the type 0.
func readType(f field, v *Value) error {
	return f.message().each(func(f field) error {
		if f.number != typeTensor {
			return nil
		}
		return f.message().each(func(f field) error {
			switch f.number {
			case tensorTypeElement:
				v.Type = DType(f.varint)
			case tensorTypeShape:
				return readShape(f, v)
			}
			return nil
		})
	})
}

func readShape(f field, v *Value) error {
	return f.message().each(func(f field) error {
		if f.number != shapeDim {
			return nil
		}
		if len(v.Dims) == maxRank {
			return fmt.Errorf("%w: more than %d dimensions", ErrFormat, maxRank)
		}
		var d Dim
		err := f.message().each(func(f field) (err error) {
			switch f.number {
			case dimValue:
				d.Size = int64(f.varint)
			case dimParam:
				d.Param, err = f.text()
			}
			return err
		})
		v.Dims = append(v.Dims, d)
		return err
	})
}

// window reads a file in pieces; fields lie one after the other, so most reads are of the last piece.
type window struct {
	r     io.ReaderAt
	size  int64
	piece []byte
	at    int64
}

const pieceBytes = 64 << 10

// bytes is n bytes at an offset, at most a piece; fewer at the end of the file.
func (w *window) bytes(at int64, n int) ([]byte, error) {
	if at >= w.at && at+int64(n) <= w.at+int64(len(w.piece)) {
		return w.piece[at-w.at:][:n], nil
	}
	if w.piece == nil {
		w.piece = make([]byte, 0, pieceBytes)
	}
	w.piece, w.at = w.piece[:min(pieceBytes, max(0, w.size-at))], at
	if got, err := w.r.ReadAt(w.piece, at); got < len(w.piece) {
		w.piece = w.piece[:0]
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return w.piece[:min(n, len(w.piece))], nil
}

// message is a part of the file that holds fields.
type message struct {
	window     *window
	start, end int64
}

// field is one field: a number, or a place in the file.
type field struct {
	window *window
	number protowire.Number
	kind   protowire.Type
	varint uint64 // of a number
	at     int64  // of a length-delimited one
	length int64
}

// each calls f for each field. Groups, which onnx.proto has none of, are refused.
func (m message) each(f func(field) error) error {
	for at := m.start; at < m.end; {
		one, next, err := m.next(at)
		if err != nil {
			return err
		}
		if err := f(one); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// next reads the field at an offset and says where the following one begins.
func (m message) next(at int64) (f field, next int64, err error) {
	b, err := m.window.bytes(at, int(min(2*maxVarint, m.end-at)))
	if err != nil {
		return f, 0, err
	}
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, 0, fmt.Errorf("%w: at byte %d there is no field", ErrFormat, at)
	}
	f = field{window: m.window, number: number, kind: kind}
	size := 0
	switch kind {
	case protowire.VarintType:
		f.varint, size = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed32Type:
		_, size = protowire.ConsumeFixed32(b[n:])
	case protowire.Fixed64Type:
		_, size = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		var length uint64
		length, size = protowire.ConsumeVarint(b[n:])
		f.at, f.length = at+int64(n+size), int64(min(length, math.MaxInt64>>1))
	default:
		size = -1
	}
	next = at + int64(n+size) + f.length
	if size < 0 || next > m.end {
		return f, 0, fmt.Errorf("%w: field %d at byte %d does not end where it should", ErrFormat, number, at)
	}
	return f, next, nil
}

// maxVarint is the size of the longest varint.
const maxVarint = 10

// message is the field's content as fields; a field that is a number has none.
func (f field) message() message {
	return message{window: f.window, start: f.at, end: f.at + f.length}
}

// text is the field's content as a name.
func (f field) text() (string, error) {
	if f.length > maxText {
		return "", fmt.Errorf("%w: a name of %d bytes", ErrFormat, f.length)
	}
	if f.length == 0 {
		return "", nil
	}
	b, err := f.window.bytes(f.at, int(f.length))
	return string(b), err
}

// ints appends the field's integers: one, or several packed.
func (f field) ints(to []int64) ([]int64, error) {
	if f.kind != protowire.BytesType {
		if len(to) >= maxRank {
			return to, fmt.Errorf("%w: more than %d dimensions", ErrFormat, maxRank)
		}
		return append(to, int64(f.varint)), nil
	}
	text, err := f.text()
	b := []byte(text)
	for err == nil && len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || len(to) >= maxRank {
			return to, fmt.Errorf("%w: a broken list of dimensions", ErrFormat)
		}
		to, b = append(to, int64(v)), b[n:]
	}
	return to, err
}

// entry is a StringStringEntryProto.
func (f field) entry() (key, value string, err error) {
	err = f.message().each(func(f field) (err error) {
		switch f.number {
		case entryKey:
			key, err = f.text()
		case entryValue:
			value, err = f.text()
		}
		return err
	})
	return key, value, err
}
