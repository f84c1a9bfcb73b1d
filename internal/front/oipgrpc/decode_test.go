package oipgrpc

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// full is a request with a value in every field.
func full() *pb.ModelInferRequest {
	params := map[string]*pb.InferParameter{"a": integer(-1), "b": word("x"), "c": {},
		"d": {ParameterChoice: &pb.InferParameter_DoubleParam{DoubleParam: 1.5}}, "e": {ParameterChoice: &pb.InferParameter_BoolParam{BoolParam: true}}}
	all := &pb.InferTensorContents{BoolContents: []bool{true}, IntContents: []int32{-1}, Int64Contents: []int64{-1}, UintContents: []uint32{7},
		Uint64Contents: []uint64{1 << 63}, Fp32Contents: []float32{1, 2}, Fp64Contents: []float64{3}, BytesContents: [][]byte{[]byte("x"), {}}}
	return &pb.ModelInferRequest{ModelName: "m", ModelVersion: "1", Id: "i", Parameters: params,
		Inputs:           []*pb.ModelInferRequest_InferInputTensor{{Name: "n", Datatype: "FP32", Shape: []int64{-1, 3}, Parameters: params, Contents: all}, input("t", "INT8", ints(3), 3)},
		Outputs:          []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "o", Parameters: params}},
		RawInputContents: [][]byte{[]byte("raw"), {}}}
}

// FuzzDecode compares the decoder with the generated one, however a message is cut into pieces: the same messages
// are refused, and the same values are read from the others.
func FuzzDecode(f *testing.F) {
	for _, m := range []*pb.ModelInferRequest{full(), sound(), simple(nil, nil, make([]byte, 64))} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(0))
		f.Add(b[:len(b)-1], uint16(6))
	}
	f.Add([]byte("\xff\xff\xff"), uint16(0))
	f.Add([]byte("\x0b\x0c\x2a\x06\x2a\x04\x30\x01\x18\x05"), uint16(1)) // a group, an unpacked element
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		var want pb.ModelInferRequest
		wantErr := proto.Unmarshal(b, &want)
		memory := newBudget(1<<30, 64<<20)
		for _, data := range []mem.BufferSlice{{mem.SliceBuffer(b)}, split(b), pooled(memory, b, 1+int(n))} {
			c := newCall(memory)
			err := c.unmarshal(data)
			data.Free() // as the transport does
			if err == nil {
				err = c.refused
			}
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("error %v, generated code's %v", err, wantErr)
			}
			if err == nil {
				compare(t, c, &want)
			}
			c.release()
		}
		if used := memory.used.Load(); used != 0 {
			t.Fatalf("%d bytes are held when all calls are released", used)
		}
	})
}

// joined is the bytes of pieces, as a string.
func joined(p tensor.Pieces) string {
	b := make([]byte, p.Len())
	return string(b[:p.CopyTo(b)])
}

// pooled cuts a message in pieces of n bytes, in buffers of the pool where the transport would take them from it.
func pooled(memory *budget, b []byte, n int) (s mem.BufferSlice) {
	for part := range slices.Chunk(b, n) {
		s = append(s, mem.Copy(part, memory))
	}
	return s
}

// split cuts a message in three, as it comes in several frames.
func split(b []byte) mem.BufferSlice {
	i, j := len(b)/3, len(b)/2
	return mem.BufferSlice{mem.SliceBuffer(b[:i]), mem.SliceBuffer(b[i:j]), mem.SliceBuffer(b[j:])}
}

func compare(t *testing.T, c *call, want *pb.ModelInferRequest) {
	t.Helper()
	equal(t, "model", c.model, want.ModelName)
	equal(t, "version", c.version, want.ModelVersion)
	equal(t, "id", c.id, want.Id)
	equal(t, "parameters", ordinary(c.params), ordinary(plain(want.Parameters)))
	equal(t, "raw tensors", len(c.raw), len(want.RawInputContents))
	for i := range c.raw {
		equal(t, "raw", joined(c.raw[i]), string(want.RawInputContents[i]))
	}
	equal(t, "outputs", len(c.outputs), len(want.Outputs))
	for i := range c.outputs {
		equal(t, "output", c.outputs[i].name, want.Outputs[i].Name)
		equal(t, "output's parameters", ordinary(c.outputs[i].params), ordinary(plain(want.Outputs[i].Parameters)))
	}
	equal(t, "inputs", len(c.inputs), len(want.Inputs))
	for i := range c.inputs {
		in, w := &c.inputs[i], want.Inputs[i]
		equal(t, "input", in.name+" "+in.datatype, w.Name+" "+w.Datatype)
		equal(t, "shape", append([]int64{}, in.shape...), append([]int64{}, w.Shape...))
		equal(t, "input's parameters", ordinary(in.params), ordinary(plain(w.Parameters)))
		equal(t, "has contents", len(in.contents) > 0, w.Contents != nil)
		compareContents(t, in, w.Contents)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %#v, want %#v", what, got, want)
	}
}

// compareContents collects every field as its widest type.
func compareContents(t *testing.T, in *inputTensor, w *pb.InferTensorContents) {
	t.Helper()
	var want [9][]byte
	for _, v := range w.GetBoolContents() {
		want[1] = appendNumber(want[1], tensor.Bool, uint64(map[bool]int{true: 1}[v]))
	}
	for _, v := range w.GetIntContents() {
		want[2] = binary.LittleEndian.AppendUint32(want[2], uint32(v))
	}
	for _, v := range w.GetInt64Contents() {
		want[3] = binary.LittleEndian.AppendUint64(want[3], uint64(v))
	}
	for _, v := range w.GetUintContents() {
		want[4] = binary.LittleEndian.AppendUint32(want[4], v)
	}
	for _, v := range w.GetUint64Contents() {
		want[5] = binary.LittleEndian.AppendUint64(want[5], v)
	}
	for _, v := range w.GetFp32Contents() {
		want[6] = binary.LittleEndian.AppendUint32(want[6], math.Float32bits(v))
	}
	for _, v := range w.GetFp64Contents() {
		want[7] = binary.LittleEndian.AppendUint64(want[7], math.Float64bits(v))
	}
	for _, v := range w.GetBytesContents() {
		want[8] = append(binary.LittleEndian.AppendUint32(want[8], uint32(len(v))), v...)
	}
	used, runs := in.used()
	widest := [...]tensor.DType{1: tensor.Bool, 2: tensor.Int32, 3: tensor.Int64, 4: tensor.Uint32, 5: tensor.Uint64, 6: tensor.FP32, 7: tensor.FP64, 8: tensor.Bytes}
	for num := 1; num < len(want); num++ {
		equal(t, "used", used[num], len(want[num]) > 0)
		equal(t, contentFields[num].name, string(in.collect(protowire.Number(num), widest[num], runs == 1)), string(want[num]))
	}
}

// plain is a map of parameters as the decoder makes it.
func plain(m map[string]*pb.InferParameter) oip.Params {
	var out oip.Params
	for k, p := range m {
		if out == nil {
			out = oip.Params{}
		}
		switch v := p.GetParameterChoice().(type) {
		case *pb.InferParameter_BoolParam:
			out[k] = v.BoolParam
		case *pb.InferParameter_Int64Param:
			out[k] = v.Int64Param
		case *pb.InferParameter_StringParam:
			out[k] = v.StringParam
		case *pb.InferParameter_DoubleParam:
			out[k] = v.DoubleParam
		case *pb.InferParameter_Uint64Param:
			out[k] = v.Uint64Param
		default:
			out[k] = unset{}
		}
	}
	return out
}

// ordinary makes values comparable that are not numbers.
func ordinary(m oip.Params) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		if f, ok := v.(float64); ok {
			v = [1]uint64{math.Float64bits(f)}
		}
		out[k] = v
	}
	return out
}
