package wire

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Region is a part of a shared memory region.
type Region struct {
	Name         string
	Offset, Size uint64
}

// Input is a tensor of a request. Data is a view of the body, or of the Request's own memory.
type Input struct {
	Name   string
	DType  tensor.DType
	Shape  []int64
	Data   []byte
	Region *Region
	Params map[string]any
}

// Output is an output that a request names.
type Output struct {
	Name    string
	Binary  bool
	Classes uint64
	Region  *Region
	Params  map[string]any
}

// Parameters of a request that the protocol defines.
type Parameters struct {
	SequenceID                 uint64
	SequenceName               string
	SequenceStart, SequenceEnd bool
	Priority, Timeout          uint64 // Timeout in microseconds
	BinaryOutput               bool
	Custom                     map[string]any // string, int64, bool, float64
}

// Request is the body of an inference request. Its memory is used again by the next Parse.
type Request struct {
	ID      string
	Params  Parameters
	Inputs  []Input
	Outputs []Output

	drafts []draft
	memory []byte  // JSON tensors
	shapes []int64 // all inputs' shapes
	name   string  // an input's name
}

// Reset forgets the request and keeps its memory.
func (r *Request) Reset() {
	clear(r.Inputs)
	clear(r.Outputs)
	clear(r.drafts)
	*r = Request{Inputs: r.Inputs[:0], Outputs: r.Outputs[:0], drafts: r.drafts[:0], memory: r.memory[:0], shapes: r.shapes[:0], name: r.name}
}

// keep is text as a string, the same as the last time where it says the same: most models have one input.
func (r *Request) keep(text []byte) string {
	if r.name != string(text) {
		r.name = string(text)
	}
	return r.name
}

// Memory is how many bytes the request keeps for the next.
func (r *Request) Memory() int { return cap(r.memory) }

// draft is an input as far as it was read, in any order of members.
type draft struct {
	Input
	hasName, hasType, hasShape       bool
	hasData, hasBinary, hasRegion    bool
	nameErr, typeErr, shapeErr, dErr error
	parErr                           error
	binary                           uint64
	dataAt                           int // where data that came too early begins
	dataFrom, dataTo                 int // in memory
	shapeFrom, shapeTo               int
}

// reader is one parse under way.
type reader struct {
	scanner
	r                               *Request
	model                           string
	idErr, paramErr, inErr, outErr  error
	hasID, hasParams, hasIn, hasOut bool
}

// Parse reads a body whose first header bytes are JSON and whose rest is binary tensors; model names
// the model in errors. Syntax errors come before all others, and then those of id, parameters,
// inputs and outputs, as in Triton. The request refers to body.
func (r *Request) Parse(body []byte, header int, model string) error {
	r.Reset()
	p := reader{scanner: scanner{b: body[:header:header]}, r: r, model: model}
	if err := p.begin(); err != nil {
		return err
	}
	if err := p.root(); err != nil {
		return err
	}
	if err := p.end(); err != nil {
		return err
	}
	for _, err := range []error{p.idErr, p.paramErr} {
		if err != nil {
			return err
		}
	}
	if !p.hasIn {
		return unable("inputs", missing("inputs"))
	}
	if p.inErr != nil {
		return p.inErr
	}
	if err := p.finish(body[header:]); err != nil {
		return err
	}
	return p.outErr
}

func (p *reader) root() error {
	if p.next() != '{' {
		return p.skip()
	}
	return p.object(func(key []byte) error {
		switch {
		case string(key) == "id" && !p.hasID:
			p.hasID = true
			return p.id()
		case string(key) == "parameters" && !p.hasParams:
			p.hasParams = true
			return p.parameters()
		case string(key) == "inputs" && !p.hasIn:
			p.hasIn = true
			return p.list("inputs", &p.inErr, p.input)
		case string(key) == "outputs" && !p.hasOut:
			p.hasOut = true
			return p.list("outputs", &p.outErr, p.output)
		}
		return p.skip()
	})
}

// list reads an array's elements until one is refused, and then over the rest.
func (p *reader) list(name string, refused *error, element func() error) error {
	if p.next() != '[' {
		*refused = unable(name, wrong("array"))
		return p.skip()
	}
	return p.array(func() error {
		if *refused != nil {
			return p.skip()
		}
		return element()
	})
}

func (p *reader) id() error {
	text, err := p.stringValue()
	if fail := p.soft(err, &p.idErr, "id"); fail != nil || p.idErr != nil {
		return fail
	}
	p.r.ID = string(text)
	return nil
}

// kindError is a value of another type than is needed; the value itself was read.
type kindError struct{ error }

// soft sorts errors: a wrong kind is kept in refused (the first one) and reading goes on; syntax ends it.
func (p *reader) soft(err error, refused *error, name string) error {
	if err == nil {
		return nil
	}
	if k := (kindError{}); errors.As(err, &k) {
		if *refused == nil {
			*refused = unable(name, k.error)
		}
		return nil
	}
	return err
}

func (p *reader) stringValue() ([]byte, error) {
	if p.next() != '"' {
		if err := p.skip(); err != nil {
			return nil, err
		}
		return nil, kindError{wrong("string")}
	}
	return p.text()
}

func (p *reader) boolValue() (bool, error) {
	switch p.next() {
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	}
	if err := p.skip(); err != nil {
		return false, err
	}
	return false, kindError{wrong("boolean")}
}

func (p *reader) uintValue() (uint64, error) {
	c := p.next()
	if c != '-' && c-'0' > 9 {
		if err := p.skip(); err != nil {
			return 0, err
		}
		return 0, kindError{wrong("unsigned-integer")}
	}
	start := p.p
	if err := p.scalar(); err != nil {
		return 0, err
	}
	n, err := scanNumber(p.b, start)
	if err != nil {
		return 0, err
	}
	v, ok := n.uint64(p.b[start:n.end])
	if !ok || !n.integer || n.neg && v != 0 {
		return 0, kindError{wrong("unsigned-integer")}
	}
	return v, nil
}

var errParamMembers = fault.New(fault.Mistaken, "failed to get request params.: attempt to get members for non-object")

func (p *reader) parameters() error {
	if p.next() != '{' {
		p.paramErr = errParamMembers
		return p.skip()
	}
	return p.object(p.parameter)
}

func (p *reader) parameter(key []byte) error {
	if p.paramErr != nil {
		return p.skip()
	}
	q, name := &p.r.Params, string(key)
	var err error
	switch name {
	case "sequence_id":
		err = p.sequenceID()
	case "sequence_start":
		q.SequenceStart, err = p.boolValue()
	case "sequence_end":
		q.SequenceEnd, err = p.boolValue()
	case "priority":
		q.Priority, err = p.uintValue()
	case "timeout":
		q.Timeout, err = p.uintValue()
	case "binary_data_output":
		q.BinaryOutput, err = p.boolValue()
	default:
		return p.customParameter(name)
	}
	return p.soft(err, &p.paramErr, name)
}

func (p *reader) sequenceID() (err error) {
	q := &p.r.Params
	if p.next() == '"' {
		text, err := p.text()
		q.SequenceName = string(text)
		return err
	}
	q.SequenceID, err = p.uintValue()
	if errors.As(err, new(kindError)) {
		err = kindError{wrong("string")}
	}
	return err
}

const reserved = "triton_"

func (p *reader) customParameter(name string) error {
	v, err := p.value()
	switch {
	case err != nil:
		return err
	case len(name) >= len(reserved) && name[:len(reserved)] == reserved:
		p.paramErr = invalid("parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.")
	case v == nil:
		p.paramErr = invalid("parameter '%s' has invalid type. It should be either 'int', 'bool', or 'string'.", name)
	default:
		if p.r.Params.Custom == nil {
			p.r.Params.Custom = map[string]any{}
		}
		p.r.Params.Custom[name] = v
	}
	return nil
}

// value reads a string, bool, int64 or float64; anything else is read and becomes nil.
func (p *reader) value() (any, error) {
	switch c := p.next(); {
	case c == '"':
		text, err := p.text()
		return string(text), err
	case c == 't' || c == 'f':
		return p.boolValue()
	case c == '-' || c-'0' <= 9 || c == 'N' || c == 'I':
		return p.numberValue()
	}
	return nil, p.skip()
}

func (p *reader) numberValue() (any, error) {
	start := p.p
	n, err := scanNumber(p.b, start)
	if err != nil {
		return nil, err
	}
	p.p = n.end
	f, err := n.float64(p.b, start)
	if v, ok := n.uint64(p.b[start:n.end]); ok && n.integer && v <= math.MaxInt64 {
		if n.neg {
			return -int64(v), err
		}
		return int64(v), err
	}
	return f, err
}

// input reads one input; whatever is wrong with it waits for finish, which knows Triton's order.
func (p *reader) input() error {
	d := draft{dataAt: -1}
	err := p.inputMembers(&d)
	if err != nil {
		return err
	}
	if d.dataAt >= 0 && d.hasType && d.hasShape {
		end := p.p
		p.p = d.dataAt
		if err := p.tensorData(&d); err != nil {
			return err
		}
		p.p = end
	}
	p.r.drafts = append(p.r.drafts, d)
	return nil
}

func (p *reader) inputMembers(d *draft) error {
	if p.next() != '{' {
		return p.skip()
	}
	return p.object(func(key []byte) error {
		switch {
		case string(key) == "name" && !d.hasName:
			d.hasName = true
			text, err := p.stringValue()
			d.Name = p.r.keep(text)
			return p.soft(err, &d.nameErr, "name")
		case string(key) == "datatype" && !d.hasType:
			d.hasType = true
			text, err := p.stringValue()
			d.DType = parseType(text)
			return p.soft(err, &d.typeErr, "datatype")
		case string(key) == "shape" && !d.hasShape:
			d.hasShape = true
			return p.shape(d)
		case string(key) == "parameters" && d.Params == nil:
			return p.inputParameters(d)
		case string(key) == "data" && !d.hasData:
			d.hasData = true
			if d.hasType && d.hasShape {
				return p.tensorData(d)
			}
			d.dataAt = p.p
		}
		return p.skip()
	})
}

// parseType is tensor.Parse for a view of the request's bytes.
func parseType(name []byte) tensor.DType {
	for d := tensor.Bool; d <= tensor.Bytes; d++ {
		if string(name) == d.String() {
			return d
		}
	}
	return tensor.Invalid
}

func (p *reader) shape(d *draft) error {
	if p.next() != '[' {
		d.shapeErr = unable("shape", wrong("array"))
		return p.skip()
	}
	d.shapeFrom = len(p.r.shapes)
	err := p.array(func() error {
		v, err := p.uintValue()
		p.r.shapes = append(p.r.shapes, int64(v)) // beyond int64 it becomes negative, as in Triton
		return p.soft(err, &d.shapeErr, "shape")
	})
	d.shapeTo = len(p.r.shapes)
	return err
}

func (p *reader) inputParameters(d *draft) error {
	if p.next() != '{' {
		return p.skip()
	}
	d.Params = map[string]any{}
	var region, offset, size error
	at := Region{}
	err := p.object(func(key []byte) (err error) {
		switch name := string(key); name {
		case "binary_data_size":
			d.hasBinary = true
			d.binary, err = p.uintValue()
			return p.soft(err, &d.parErr, name)
		case "shared_memory_region":
			d.hasRegion = true
			text, err := p.stringValue()
			at.Name = string(text)
			return p.soft(err, &region, name)
		case "shared_memory_offset":
			at.Offset, err = p.uintValue()
			return p.soft(err, &offset, name)
		case "shared_memory_byte_size":
			at.Size, err = p.uintValue()
			return p.soft(err, &size, name)
		default:
			d.Params[name], err = p.value()
			return err
		}
	})
	for _, e := range []error{region, offset, size} {
		if d.parErr == nil && !d.hasBinary {
			d.parErr = e
		}
	}
	if d.hasRegion {
		d.Region = &at
	}
	return err
}

// tensorData reads "data"; what is wrong with it is the input's, unless it is the syntax.
func (p *reader) tensorData(d *draft) error {
	start := p.p
	p.next()
	count, err := elements(d.Name, p.r.shapes[d.shapeFrom:d.shapeTo])
	switch {
	case d.shapeErr != nil || d.typeErr != nil || err != nil:
		d.dErr = err
		return p.skip()
	case p.next() != '[':
		d.dErr = unable("data", wrong("array"))
		return p.skip()
	case count == 0: // not looked at
		return p.skip()
	case d.DType == tensor.FP16 || d.DType == tensor.BF16:
		d.dErr = invalid("receiving %v data via JSON is not supported. Please use the binary data format for input %s", d.DType, d.Name)
		return p.skip()
	case d.DType == tensor.Invalid:
		d.dErr = invalid("invalid datatype for input %s", d.Name)
		return p.skip()
	}
	d.dataFrom = len(p.r.memory)
	p.r.memory, err = p.data(p.r.memory, d.DType, count)
	d.dataTo = len(p.r.memory)
	if err == nil {
		return nil
	}
	p.p = start
	if fail := p.skip(); fail != nil {
		return fail // what is not JSON is told first
	}
	d.dErr = unable("data", err)
	if d.DType == tensor.Bytes {
		d.dErr = fault.New(fault.Mistaken, "Unable to parse JSON bytes array: %s", fault.Of(err).Msg)
	}
	if errors.Is(err, errDepth) {
		d.dErr = fault.New(fault.Invalid, "Unable to parse 'data': %s", errDepth.Msg)
	}
	return nil
}

// elements is the number of elements of a shape.
func elements(name string, shape []int64) (int64, error) {
	if len(shape) == 0 || slices.Contains(shape, 0) {
		return 0, nil
	}
	n := int64(1)
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, invalid("invalid shape for input '%s': shape %s contains one or more invalid dimensions", name, AppendShape(nil, shape))
		case n > math.MaxInt64/8/d: // eight bytes the widest element
			return 0, invalid("invalid shape for input '%s': shape %s causes total element count to exceed maximum size of %d", name, AppendShape(nil, shape), math.MaxInt64)
		}
		n *= d
	}
	return n, nil
}

// finish checks the inputs in order and gives them their bytes.
func (p *reader) finish(binary []byte) error {
	for i := range p.r.drafts {
		d := &p.r.drafts[i]
		if err := d.check(); err != nil {
			return err
		}
		d.Shape = p.r.shapes[d.shapeFrom:d.shapeTo:d.shapeTo]
		switch {
		case d.hasBinary:
			if uint64(len(binary)) < d.binary {
				return invalid("unexpected size for input '%s', expecting %d additional bytes for model '%s'",
					d.Name, d.binary-uint64(len(binary)), p.model)
			}
			d.Data = binary[:d.binary:d.binary]
			binary = binary[d.binary:]
		case d.hasData:
			d.Data = p.r.memory[d.dataFrom:d.dataTo:d.dataTo]
		}
		p.r.Inputs = append(p.r.Inputs, d.Input)
	}
	if len(binary) > 0 {
		return invalid("unexpected additional input data for model '%s'", p.model)
	}
	return nil
}

// check finds what is wrong with an input, in the order in which Triton looks.
func (d *draft) check() error {
	if err := d.content(); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		has  bool
		err  error
	}{{"name", d.hasName, d.nameErr}, {"datatype", d.hasType, d.typeErr}, {"shape", d.hasShape, d.shapeErr}} {
		if !m.has {
			return unable(m.name, missing(m.name))
		}
		if m.err != nil {
			return m.err
		}
	}
	if d.parErr != nil {
		return d.parErr
	}
	return d.dErr
}

// content makes sure that an input has its bytes from one place.
func (d *draft) content() error {
	var set []string
	for _, c := range [...]struct {
		has  bool
		name string
	}{{d.hasData, "'data'"}, {d.hasBinary, "'binary_data_size'"}, {d.hasRegion, "'shared_memory_region'"}} {
		if c.has {
			set = append(set, c.name)
		}
	}
	text := " no field is set"
	switch len(set) {
	case 0:
	case 1:
		return nil
	default:
		text = " set " + strings.Join(set, " ")
	}
	return invalid("Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But%s", text)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
