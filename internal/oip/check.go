package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Elements is the number of elements of a shape; false for a negative dimension or more than fit.
func Elements(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d != 0 && n > math.MaxInt64/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Checker is a model with rules of its own (sequences); its errors come before the model runs.
type Checker interface{ Check(r *Request) error }

// prefix is what Triton's core puts before what it says of a request.
func (r *Request) prefix() string {
	if r.ID == "" {
		return "[request id: <id_unknown>] "
	}
	return "[request id: " + r.ID + "] "
}

// refuse is an answer of Triton's core to a request that does not fit its model.
func (r *Request) refuse(format string, args ...any) error {
	return fault.New(fault.Invalid, "%s", r.prefix()+fmt.Sprintf(format, args...))
}

// check compares a request with what its model declares, and joins the inputs of a model that does not read
// pieces. Inputs are looked at from the last to the first, for Triton keeps them so and names the first that is
// wrong.
func check(m Model, r *Request) error {
	meta, maxBatch := m.Metadata(), int64(m.Config().MaxBatchSize)
	if r.Raw {
		if err := completeRaw(meta, r, maxBatch > 0); err != nil {
			return err
		}
	}
	if err := checkDuplicates(r); err != nil {
		return err
	}
	if err := checkOutputs(meta, r); err != nil {
		return err
	}
	if err := checkCount(meta, r); err != nil {
		return err
	}
	if maxBatch > 0 {
		if err := checkBatch(meta, r, maxBatch); err != nil {
			return err
		}
	}
	for i := len(r.Inputs) - 1; i >= 0; i-- {
		if err := r.checkInput(meta, &r.Inputs[i], maxBatch > 0); err != nil {
			return err
		}
	}
	if err := r.gather(m); err != nil {
		return err
	}
	if c, ok := m.(Checker); ok {
		return c.Check(r)
	}
	return nil
}

func find(specs []TensorSpec, name string) *TensorSpec {
	for i := range specs {
		if specs[i].Name == name {
			return &specs[i]
		}
	}
	return nil
}

func checkDuplicates(r *Request) error {
	for i := range r.Inputs {
		for j := range i {
			if r.Inputs[j].Name == r.Inputs[i].Name {
				return r.refuse("input '%s' already exists in request", r.Inputs[i].Name)
			}
		}
	}
	return nil
}

// checkCount makes sure that a request has as many inputs as it needs; which is which comes later.
func checkCount(meta *Metadata, r *Request) error {
	var missing []string
	optional := 0
	for i := range meta.Inputs {
		spec := &meta.Inputs[i]
		switch {
		case spec.Optional:
			optional++
		case !slices.ContainsFunc(r.Inputs, func(in Input) bool { return in.Name == spec.Name }):
			missing = append(missing, "'"+spec.Name+"'")
		}
	}
	all, got := len(meta.Inputs), len(r.Inputs)
	if got >= all-optional && got <= all {
		return nil
	}
	var names []string
	for i := got - 1; i >= 0; i-- {
		names = append(names, "'"+r.Inputs[i].Name+"'")
	}
	lost := "]" // Triton's own text where nothing is missing
	if missing != nil {
		lost = "[" + strings.Join(missing, ",") + "]"
	}
	expected := "expected " + strconv.Itoa(all)
	if optional > 0 {
		expected = fmt.Sprintf("expected number of inputs between %d and %d", all-optional, all)
		return r.refuse("%s but got %d inputs for model '%s'. Got input(s) [%s], but missing required input(s) %s. Please provide all required input(s).",
			expected, got, meta.Name, strings.Join(names, ","), lost)
	}
	return r.refuse("%s inputs but got %d inputs for model '%s'. Got input(s) [%s], but missing required input(s) %s. Please provide all required input(s).",
		expected, got, meta.Name, strings.Join(names, ","), lost)
}

func checkBatch(meta *Metadata, r *Request, maxBatch int64) error {
	batch := int64(-1)
	for i := len(r.Inputs) - 1; i >= 0; i-- {
		in := &r.Inputs[i]
		if len(in.Shape) == 0 {
			return r.refuse("input '%s' has no shape but model requires batch dimension for '%s'", in.Name, meta.Name)
		}
		switch first := i == len(r.Inputs)-1; {
		case first:
			batch = in.Shape[0]
		case batch < 0 || in.Shape[0] != batch: // a negative batch is none, so nothing matches it
			return r.refuse("input '%s' batch size does not match other inputs for '%s'", in.Name, meta.Name)
		}
	}
	if batch > maxBatch || batch < 0 && len(r.Inputs) > 0 {
		return r.refuse("inference request batch-size must be <= %d for '%s'", maxBatch, meta.Name)
	}
	return nil
}

func (r *Request) checkInput(meta *Metadata, in *Input, batched bool) error {
	spec := find(meta.Inputs, in.Name)
	if spec == nil {
		return fault.New(fault.Invalid, "unexpected inference input '%s' for model '%s'", in.Name, meta.Name)
	}
	if spec.DType != in.DType {
		return r.refuse("inference input '%s' data-type is '%s', but model '%s' expects '%v'", in.Name, TypeName(in.DType), meta.Name, spec.DType)
	}
	if !fits(in.Shape, spec.Shape) {
		note := ""
		if batched {
			note = batchNote
		}
		return r.refuse("unexpected shape for input '%s' for model '%s'. Expected %s, got %s. %s",
			in.Name, meta.Name, shapeText(spec.Shape), shapeText(in.Shape), note)
	}
	return r.checkBytes(meta.Name, in, batched)
}

// TypeName is a data type's name in Triton's errors.
func TypeName(d tensor.DType) string {
	if d == tensor.Invalid {
		return "<invalid>"
	}
	return d.String()
}

const batchNote = "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. " +
	"If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. " +
	"See the model configuration docs for more info on max_batch_size."

func fits(shape, spec []int64) bool {
	return slices.EqualFunc(shape, spec, func(d, s int64) bool { return d >= 0 && (s < 0 || d == s) })
}

func shapeText(shape []int64) string {
	b := []byte{'['}
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, d, 10)
	}
	return string(append(b, ']'))
}

// checkBytes makes sure that an input has the bytes that its shape needs, wherever they are.
func (r *Request) checkBytes(model string, in *Input, batched bool) error {
	shape := in.Shape
	if batched && len(shape) > 0 && shape[0] == 0 && in.DType != tensor.Bytes {
		shape = shape[1:] // Triton counts a batch of none as one
	}
	n, ok := Elements(shape)
	if !ok {
		return r.refuse("input '%s' has a shape that is too large: %s", in.Name, shapeText(in.Shape))
	}
	if in.DType == tensor.Bytes {
		if in.Memory != nil {
			return nil // they are checked once they are read
		}
		return r.checkStrings(model, in, n)
	}
	size := uint64(in.Len())
	if in.Memory != nil {
		size = in.Memory.Size
	}
	each := uint64(in.DType.Size())
	if each == 0 || uint64(n) > math.MaxUint64/each || uint64(n)*each != size {
		name := in.Name
		if r.Raw {
			name = "raw_input"
		}
		return r.refuse("input byte size mismatch for input '%s' for model '%s'. Expected %d, got %d", name, model, uint64(n)*each, size)
	}
	return nil
}

// checkStrings makes sure that a BYTES input holds n whole elements and nothing else.
func (r *Request) checkStrings(model string, in *Input, n int64) error {
	if err := r.join(in); err != nil {
		return err
	}
	b, have := in.Data, int64(0)
	for len(b) > 0 {
		if len(b) < 4 {
			return r.refuse("incomplete string length indicator for inference input '%s' for model '%s', expecting 4 bytes but only %d bytes available. "+
				"Please make sure the string length indicator is in one buffer.", in.Name, model, len(b))
		}
		if have++; have > n {
			return r.refuse("unexpected number of string elements %d for inference input '%s' for model '%s', expecting %d", have, in.Name, model, n)
		}
		size := uint64(binary.LittleEndian.Uint32(b))
		if uint64(len(b)-4) < size {
			if have == n {
				return fault.New(fault.Invalid, "incomplete string data for inference input '%s', expecting string of length %d but only %d bytes available", in.Name, size, len(b)-4)
			}
			return r.refuse("expected %d string elements for inference input '%s' for model '%s', got %d", n, in.Name, model, have)
		}
		b = b[4+size:]
	}
	if have != n {
		return r.refuse("expected %d string elements for inference input '%s' for model '%s', got %d", n, in.Name, model, have)
	}
	return nil
}

func checkOutputs(meta *Metadata, r *Request) error {
	for i := range r.Outputs {
		if find(meta.Outputs, r.Outputs[i].Name) == nil {
			return fault.New(fault.Invalid, "unexpected inference output '%s' for model '%s'", r.Outputs[i].Name, meta.Name)
		}
	}
	return nil
}

// prefixed puts a string's length before it, in the string's own memory where that has room: a raw request's
// body is there for nothing else, and moving an image costs less than memory for a second one.
func prefixed(s []byte) []byte {
	n := len(s)
	s = append(s, 0, 0, 0, 0)
	copy(s[4:], s[:n])
	binary.LittleEndian.PutUint32(s, uint32(n))
	return s
}

// completeRaw gives a raw request the name, type and shape that its one input's bytes imply: a batch
// of one, at most one dimension that varies, BYTES without their length. It uses the bytes up: a model sees
// them with their length, and Data must not be sent again.
func completeRaw(meta *Metadata, r *Request, batched bool) error {
	if len(meta.Inputs) != 1 {
		return r.refuse("Raw request must only have 1 input (found %d) to be deduced but got %d inputs in '%s' model configuration", 1, len(meta.Inputs), meta.Name)
	}
	spec, in := &meta.Inputs[0], &r.Inputs[0]
	in.Name, in.DType, in.Shape = spec.Name, spec.DType, slices.Clone(spec.Shape)
	if batched {
		in.Shape[0] = 1
	}
	free, fixed := -1, int64(1)
	for i, d := range in.Shape {
		switch {
		case d >= 0:
			fixed *= d
		case free >= 0:
			return r.refuse("The shape of the raw input '%s' can not be deduced because there are more than one variable-sized dimension", spec.Name)
		default:
			free = i
		}
	}
	if spec.DType == tensor.Bytes {
		if free >= 0 || fixed != 1 {
			return r.refuse("For BYTE datatype raw input '%s', the model must have input shape [1]", spec.Name)
		}
		in.Data = prefixed(in.Data)
		return nil
	}
	if free >= 0 && fixed > 0 {
		in.Shape[free] = int64(len(in.Data)) / fixed / int64(spec.DType.Size())
	}
	return nil
}
