package oip

import (
	"encoding/binary"
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

// check compares a request with what its model declares.
func check(m Model, r *Request) error {
	meta, maxBatch := m.Metadata(), int64(m.Config().MaxBatchSize)
	if r.Raw {
		if err := completeRaw(meta, r); err != nil {
			return err
		}
	}
	if err := checkNames(meta, r); err != nil {
		return err
	}
	batch := int64(-1)
	for i := range r.Inputs {
		in := &r.Inputs[i]
		if err := checkInput(meta, in, maxBatch, &batch); err != nil {
			return err
		}
	}
	return checkOutputs(meta, r)
}

func find(specs []TensorSpec, name string) *TensorSpec {
	for i := range specs {
		if specs[i].Name == name {
			return &specs[i]
		}
	}
	return nil
}

func checkNames(meta *Metadata, r *Request) error {
	for i := range r.Inputs {
		name := r.Inputs[i].Name
		if find(meta.Inputs, name) == nil {
			return fault.New(fault.Invalid, "unexpected inference input '%s' for model '%s'", name, meta.Name)
		}
		for j := range i {
			if r.Inputs[j].Name == name {
				return fault.New(fault.Invalid, "input '%s' already exists in request", name)
			}
		}
	}
	return checkMissing(meta, r)
}

func checkMissing(meta *Metadata, r *Request) error {
	var missing, got []string
	optional := 0
	for i := range meta.Inputs {
		spec := &meta.Inputs[i]
		has := slices.ContainsFunc(r.Inputs, func(in Input) bool { return in.Name == spec.Name })
		switch {
		case spec.Optional:
			optional++
		case !has:
			missing = append(missing, "'"+spec.Name+"'")
		}
	}
	if missing == nil {
		return nil
	}
	for i := range r.Inputs {
		got = append(got, "'"+r.Inputs[i].Name+"'")
	}
	expected := strconv.Itoa(len(meta.Inputs))
	if optional > 0 {
		return fault.New(fault.Invalid, "expected number of inputs between %d and %s but got %d inputs for model '%s'. Got input(s) [%s], but missing required input(s) [%s]. Please provide all required input(s).",
			len(meta.Inputs)-optional, expected, len(r.Inputs), meta.Name, strings.Join(got, ","), strings.Join(missing, ","))
	}
	return fault.New(fault.Invalid, "expected %s inputs but got %d inputs for model '%s'. Got input(s) [%s], but missing required input(s) [%s]. Please provide all required input(s).",
		expected, len(r.Inputs), meta.Name, strings.Join(got, ","), strings.Join(missing, ","))
}

func checkInput(meta *Metadata, in *Input, maxBatch int64, batch *int64) error {
	spec := find(meta.Inputs, in.Name)
	if spec.DType != in.DType {
		return fault.New(fault.Invalid, "inference input '%s' data-type is '%v', but model '%s' expects '%v'", in.Name, in.DType, meta.Name, spec.DType)
	}
	if maxBatch > 0 {
		if err := checkBatch(meta, in, maxBatch, batch); err != nil {
			return err
		}
	}
	if !fits(in.Shape, spec.Shape) {
		return fault.New(fault.Invalid, "unexpected shape for input '%s' for model '%s'. Expected %s, got %s. %s",
			in.Name, meta.Name, shapeText(spec.Shape), shapeText(in.Shape), batchNote)
	}
	return CheckBytes(meta.Name, in)
}

const batchNote = "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. " +
	"If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. " +
	"See the model configuration docs for more info on max_batch_size."

func checkBatch(meta *Metadata, in *Input, maxBatch int64, batch *int64) error {
	if len(in.Shape) == 0 {
		return fault.New(fault.Invalid, "input '%s' has no shape but model requires batch dimension for '%s'", in.Name, meta.Name)
	}
	switch n := in.Shape[0]; {
	case *batch < 0:
		*batch = n
	case n != *batch:
		return fault.New(fault.Invalid, "input '%s' batch size does not match other inputs for '%s'", in.Name, meta.Name)
	}
	if *batch < 1 || *batch > maxBatch {
		return fault.New(fault.Invalid, "inference request batch-size must be <= %d for '%s'", maxBatch, meta.Name)
	}
	return nil
}

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

// CheckBytes makes sure that an input has the bytes that its shape needs, wherever they are.
func CheckBytes(model string, in *Input) error {
	n, ok := Elements(in.Shape)
	if !ok {
		return fault.New(fault.Invalid, "input '%s' has a shape that is too large: %s", in.Name, shapeText(in.Shape))
	}
	if in.DType == tensor.Bytes {
		if in.Memory != nil {
			return nil // read comes first, then CheckStrings
		}
		return CheckStrings(in, n)
	}
	size := uint64(len(in.Data))
	if in.Memory != nil {
		size = in.Memory.Size
	}
	each := uint64(in.DType.Size())
	if each > 0 && uint64(n) > math.MaxUint64/each || uint64(n)*each != size {
		return fault.New(fault.Invalid, "input byte size mismatch for input '%s' for model '%s'. Expected %d, got %d", in.Name, model, uint64(n)*each, size)
	}
	return nil
}

// CheckStrings makes sure that a BYTES input holds n whole elements and nothing else.
func CheckStrings(in *Input, n int64) error {
	b, have := in.Data, int64(0)
	for len(b) > 0 {
		if have >= n {
			return fault.New(fault.Invalid, "unexpected number of string elements %d for inference input '%s', expecting %d", have+1, in.Name, n)
		}
		if len(b) < 4 {
			return fault.New(fault.Invalid, "incomplete string length indicator for inference input '%s', expecting %d bytes but only %d bytes available. Please make sure the string length indicator is in one buffer.", in.Name, 4, len(b))
		}
		size := uint64(binary.LittleEndian.Uint32(b))
		if uint64(len(b)-4) < size {
			return fault.New(fault.Invalid, "incomplete string data for inference input '%s', expecting string of length %d but only %d bytes available. Please make sure the string is in one buffer.", in.Name, size, len(b)-4)
		}
		b = b[4+size:]
		have++
	}
	if have != n {
		return fault.New(fault.Invalid, "expected %d string elements for inference input '%s', got %d", n, in.Name, have)
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

// completeRaw gives a raw request the name, type and shape that its one input's bytes imply: at most
// one dimension varies, and a batch of one.
func completeRaw(meta *Metadata, r *Request) error {
	if len(meta.Inputs) != 1 {
		return fault.New(fault.Invalid, "Raw request must only have 1 input (found %d) to be deduced but got %d inputs in '%s' model configuration", 1, len(meta.Inputs), meta.Name)
	}
	spec, in := &meta.Inputs[0], &r.Inputs[0]
	in.Name, in.DType = spec.Name, spec.DType
	in.Shape = slices.Clone(spec.Shape)
	return nil
}
