package onnx

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// product3 is a model of three nodes with one small and one larger weight.
func product3() *Model {
	zeros := func(n int) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(make([]byte, n)); return err }
	}
	return &Model{
		Opset: 17, Producer: "vitrine", ProducerVersion: "1", Graph: "three",
		Nodes: []Node{
			{Op: "MatMul", Name: "a", Inputs: []string{"x", "w"}, Outputs: []string{"h"}},
			{Op: "Add", Name: "b", Inputs: []string{"h", "bias"}, Outputs: []string{"s"}},
			{Op: "Softmax", Name: "c", Inputs: []string{"s"}, Outputs: []string{"y"}, Attributes: []Attribute{Int("axis", -1)}},
		},
		Tensors: []Tensor{
			{Name: "w", Type: Float, Dims: []int64{30, 40}, Write: zeros(4800)},
			{Name: "bias", Type: Float16, Dims: []int64{40}, Write: zeros(80)},
		},
		Inputs:   []Value{{Name: "x", Type: Float, Dims: []Dim{{Param: "batch"}, {Size: 30}}}},
		Outputs:  []Value{{Name: "y", Type: Float, Dims: []Dim{{Param: "batch"}, {Size: 40}}}},
		Metadata: map[string]string{"k": "v", "another": strings.Repeat("x", 300)},
	}
}

func encode(t testing.TB, m *Model, x *External) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b, x); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(b []byte) (*Info, error) { return Read(bytes.NewReader(b), int64(len(b))) }

func TestReadWhatWasWritten(t *testing.T) {
	m := product3()
	b := encode(t, m, nil)
	if got := m.Size(); got != int64(len(b)) {
		t.Errorf("Size says %d, %d bytes were written", got, len(b))
	}
	info, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"IR version", info.IRVersion, int64(8)},
		{"producer", info.Producer, "vitrine 1"},
		{"opset", info.Opset(), int64(17)},
		{"graph", info.Graph, "three"},
		{"operators", info.Operators, []Operator{{"Add", 1}, {"MatMul", 1}, {"Softmax", 1}}},
		{"inputs", info.Inputs, m.Inputs},
		{"outputs", info.Outputs, m.Outputs},
		{"elements", info.Elements, int64(1240)},
		{"bytes", info.ByType, map[DType]int64{Float: 4800, Float16: 80}},
		{"metadata", info.Metadata, m.Metadata},
		{"external", info.External, []string(nil)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
}

func TestExternalData(t *testing.T) {
	m := product3()
	m.Tensors = append(m.Tensors, Tensor{Name: "w2", Type: Float, Dims: []int64{300}, Write: func(w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte{7}, 1200))
		return err
	}})
	var data bytes.Buffer
	b := encode(t, m, &External{Name: "m.onnx.data", W: &data})
	if len(b) > 2000 {
		t.Errorf("%d bytes: the weights are in the model's own file", len(b))
	}
	info, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"m.onnx.data"}, info.External); diff != "" || info.WeightBytes != 4800+80+1200 {
		t.Errorf("%d bytes in %v", info.WeightBytes, info.External)
	}
	// The first tensor takes two pages, the small one stays inside, the third begins on the third page.
	if data.Len() != 8192+1200 || data.Bytes()[8191] != 0 || data.Bytes()[8192] != 7 {
		t.Errorf("%d bytes of external data", data.Len())
	}
}

func TestWriteHoldsTensorsToTheirShape(t *testing.T) {
	m := product3()
	m.Tensors[0].Dims[0]++
	if err := m.Write(io.Discard, nil); err == nil || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("got %v", err)
	}
}

func TestWriteRefusesMoreThanAMessage(t *testing.T) {
	m := product3()
	m.Tensors[0].Dims = []int64{1 << 20, 1 << 10}
	if err := m.Write(io.Discard, nil); err == nil || !strings.Contains(err.Error(), "external data") {
		t.Errorf("got %v", err)
	}
}

// TestWeightsAmongTheInputs is what files of IR version 3 look like.
func TestWeightsAmongTheInputs(t *testing.T) {
	m := product3()
	m.Inputs = append(m.Inputs, Value{Name: "w", Type: Float, Dims: []Dim{{Size: 30}, {Size: 40}}})
	info, err := read(encode(t, m, nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Inputs) != 1 || info.Inputs[0].Name != "x" {
		t.Errorf("inputs %v", info.Inputs)
	}
}

func TestReadRefuses(t *testing.T) {
	whole := encode(t, product3(), nil)
	outside := product3()
	for name, b := range map[string][]byte{
		"nothing":   nil,
		"text":      []byte("this is no model at all, whatever its name says"),
		"half":      whole[:len(whole)/2],
		"one less":  whole[:len(whole)-1],
		"no opset":  appendBytes(nil, modelGraph, outside.graphTail()),
		"no graph":  appendBytes(nil, modelOpset, appendVarint(nil, opsetVersion, 17)),
		"long name": appendString(nil, modelProducer, strings.Repeat("x", maxText+1)),
		"outside":   encode(t, outside, &External{Name: "../secrets", W: io.Discard}),
		"absolute":  encode(t, outside, &External{Name: "/etc/passwd", W: io.Discard}),
		"huge tensor": appendBytes(nil, modelGraph, appendBytes(nil, graphInitializer,
			appendVarint(appendVarint(nil, tensorDims, 1<<40), tensorDims, 1<<40))),
	} {
		if _, err := read(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(encode(f, product3(), nil))
	f.Add(encode(f, product3(), &External{Name: "data", W: io.Discard}))
	f.Add([]byte{0x3a, 0x02, 0x0a, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := read(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("an error without ErrFormat: %v", err)
			}
			return
		}
		total := 0
		for _, o := range info.Operators {
			total += o.Count
		}
		if total != info.Nodes || info.Elements < 0 || info.Tensors > len(b) {
			t.Errorf("%d operators, %d nodes, %d elements, %d tensors", total, info.Nodes, info.Elements, info.Tensors)
		}
	})
}
