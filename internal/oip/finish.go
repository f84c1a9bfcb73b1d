package oip

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// finish makes a model's answer the one that was asked for.
func (s *Server) finish(m Model, r *Request, response *Response) error {
	if len(r.Outputs) == 0 {
		return nil
	}
	chosen := make([]Output, 0, len(r.Outputs))
	for _, out := range response.Outputs { // the model's order, as in Triton
		i := slices.IndexFunc(r.Outputs, func(o RequestedOutput) bool { return o.Name == out.Name })
		if i < 0 {
			continue
		}
		asked := &r.Outputs[i]
		if asked.Classification > 0 {
			labels := find(m.Metadata().Outputs, out.Name).Labels
			if err := classify(&out, asked.Classification, labels, m.Config().MaxBatchSize > 0); err != nil {
				return err
			}
		}
		if asked.Memory != nil {
			if err := s.place(&out, asked.Memory); err != nil {
				return err
			}
		}
		chosen = append(chosen, out)
	}
	response.Outputs = chosen
	return nil
}

// place writes an output to shared memory.
func (s *Server) place(out *Output, m *Memory) error {
	if uint64(len(out.Data)) > m.Size {
		return fault.New(fault.Mistaken, "shared memory size specified with the request for output '%s' (%d bytes) should be at least %d bytes to hold the results", out.Name, m.Size, len(out.Data))
	}
	if err := s.Regions.write(m, out.Data); err != nil {
		return err
	}
	out.Memory = &Memory{Region: m.Region, Offset: m.Offset, Size: uint64(len(out.Data))}
	out.Data = nil
	return nil
}

// classify replaces a tensor by its top classes, "value:index[:label]", as BYTES of one dimension, two
// with a batch.
func classify(out *Output, top int, labels []string, batched bool) error {
	batch := int64(1)
	if batched && len(out.Shape) > 0 {
		batch = out.Shape[0]
	}
	total, ok := Elements(out.Shape)
	if !ok || batch <= 0 {
		return fault.New(fault.Internal, "output '%s' has no classes", out.Name)
	}
	if out.DType == tensor.Bytes || out.DType == tensor.Bool || out.DType == tensor.FP16 || out.DType == tensor.BF16 {
		return fault.New(fault.Invalid, "class result not available for output due to unsupported type '%v'", out.DType)
	}
	classes := int(total / batch)
	size := out.DType.Size()
	top = min(top, classes)
	var data []byte
	for b := range int(batch) {
		row := out.Data[b*classes*size : (b+1)*classes*size]
		for _, i := range topClasses(out.DType, row, classes, top) {
			text := appendValue(nil, out.DType, row[i*size:])
			text = strconv.AppendInt(append(text, ':'), int64(i), 10)
			if i < len(labels) {
				text = append(append(text, ':'), labels[i]...)
			}
			data = binary.LittleEndian.AppendUint32(data, uint32(len(text)))
			data = append(data, text...)
		}
	}
	out.DType, out.Data = tensor.Bytes, data
	out.Shape = []int64{int64(top)}
	if batched {
		out.Shape = []int64{batch, int64(top)}
	}
	return nil
}

// topClasses are the indices of the largest values, largest first, the earlier of equals first.
func topClasses(d tensor.DType, row []byte, n, top int) []int {
	index := make([]int, n)
	values := make([]float64, n)
	for i := range n {
		index[i], values[i] = i, number(d, row[i*d.Size():])
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	return index[:top]
}

// number is an element as a float64, which orders 64-bit integers by their upper 53 bits.
func number(d tensor.DType, b []byte) float64 {
	switch d {
	case tensor.Bool, tensor.Uint8:
		return float64(b[0])
	case tensor.Int8:
		return float64(int8(b[0]))
	case tensor.Uint16:
		return float64(binary.LittleEndian.Uint16(b))
	case tensor.Int16:
		return float64(int16(binary.LittleEndian.Uint16(b)))
	case tensor.Uint32:
		return float64(binary.LittleEndian.Uint32(b))
	case tensor.Int32:
		return float64(int32(binary.LittleEndian.Uint32(b)))
	case tensor.Uint64:
		return float64(binary.LittleEndian.Uint64(b))
	case tensor.Int64:
		return float64(int64(binary.LittleEndian.Uint64(b)))
	case tensor.FP16:
		return float64(tensor.FP16ToFloat32(binary.LittleEndian.Uint16(b)))
	case tensor.BF16:
		return float64(tensor.BF16ToFloat32(binary.LittleEndian.Uint16(b)))
	case tensor.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

// appendValue prints a class's value as C++ std::to_string does: six decimals for floats.
func appendValue(b []byte, d tensor.DType, row []byte) []byte {
	switch d {
	case tensor.Int64:
		return strconv.AppendInt(b, int64(binary.LittleEndian.Uint64(row)), 10)
	case tensor.Uint64:
		return strconv.AppendUint(b, binary.LittleEndian.Uint64(row), 10)
	case tensor.FP16, tensor.BF16, tensor.FP32, tensor.FP64:
		return strconv.AppendFloat(b, number(d, row), 'f', 6, 64)
	}
	return strconv.AppendInt(b, int64(number(d, row)), 10)
}
