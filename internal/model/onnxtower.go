package model

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/model/onnx"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// tower builds the graph of an image tower. Each method adds the nodes of one part and returns the name
// of its result, as the parts of the forward pass in internal/engine/cpu do with matrices.
type tower struct {
	model *Model
	opset int
	half  bool
	out   *onnx.Model
	known map[string]bool // shared constants that are there already
}

// forward is CLIP's image tower. The class embedding is added to position 0, and the sequence made by
// padding the patches with a row of zeros in front: no node depends on the batch size, so that nothing
// is left for the processor where a device computes.
func (t *tower) forward() {
	c, w := t.model.Config, &t.model.Weights
	image := ONNXInput
	if t.half {
		image = t.node("/input", "Cast", []string{image}, onnx.Int("to", int64(onnx.Float16)))
	}
	patch, width := int64(c.PatchSize), int64(c.Width)
	x := t.node("/patches", "Conv", []string{image, t.weight(w.Patch, nil)},
		onnx.Ints("kernel_shape", patch, patch), onnx.Ints("strides", patch, patch))
	x = t.node("/patches", "Reshape", []string{x, t.ints("/patches/shape", 0, width, int64(c.Tokens()-1))})
	x = t.node("/patches", "Transpose", []string{x}, onnx.Ints("perm", 0, 2, 1))
	x = t.node("/positions", "Pad", []string{x, t.ints("/positions/pads", 0, 1, 0, 0, 0, 0)})
	x = t.node("/positions", "Add", []string{x, t.positions()})
	x = t.norm("/ln_pre", x, w.PreNorm)
	for i := range w.Blocks {
		x = t.block("/blocks."+strconv.Itoa(i), x, &w.Blocks[i])
	}
	x = t.node("/class", "Gather", []string{x, t.scalar("/class/index", onnx.Int64, le64(0))}, onnx.Int("axis", 1))
	x = t.norm("/ln_post", x, w.PostNorm)
	x = t.node("/proj", "MatMul", []string{x, t.weight(w.Proj, nil)})
	if t.half {
		t.node("/output", "Cast", []string{x}, onnx.Int("to", int64(onnx.Float)))
	}
	nodes := t.out.Nodes
	nodes[len(nodes)-1].Outputs[0] = ONNXOutput
}

// block is one residual attention block.
func (t *tower) block(at, x string, b *Block) string {
	y := t.attention(at+"/attn", t.norm(at+"/ln_1", x, b.LN1), b)
	x = t.node(at+"/attn", "Add", []string{x, y})
	y = t.linear(at+"/mlp.fc1", t.norm(at+"/ln_2", x, b.LN2), b.FC1)
	y = t.linear(at+"/mlp.fc2", t.activation(at+"/mlp.act", y), b.FC2)
	return t.node(at+"/mlp", "Add", []string{x, y})
}

// attention is softmax(Q K^T / sqrt(d)) V over the heads, [batch, tokens, width] to the same.
func (t *tower) attention(at, x string, b *Block) string {
	c := t.model.Config
	heads, d, width := int64(c.Heads), int64(c.HeadDim()), int64(c.Width)
	qkv := t.linear(at+"/qkv", x, b.QKV)
	parts := []string{at + "/q", at + "/k", at + "/v"}
	t.out.Nodes = append(t.out.Nodes, onnx.Node{Op: "Split", Name: at + "/split", Outputs: parts,
		Inputs: []string{qkv, t.ints("/attn/split", width, width, width)}, Attributes: []onnx.Attribute{onnx.Int("axis", 2)}})
	shape := t.ints("/attn/heads", 0, 0, heads, d)
	head := func(part string, perm ...int64) string {
		y := t.node(part, "Reshape", []string{part, shape})
		return t.node(part, "Transpose", []string{y}, onnx.Ints("perm", perm...))
	}
	q, k, v := head(parts[0], 0, 2, 1, 3), head(parts[1], 0, 2, 3, 1), head(parts[2], 0, 2, 1, 3)
	q = t.node(at+"/scale", "Mul", []string{q, t.float("/attn/scale", 1/math.Sqrt(float64(d)))})
	p := t.node(at+"/scores", "MatMul", []string{q, k})
	p = t.node(at, "Softmax", []string{p}, onnx.Int("axis", -1))
	y := t.node(at+"/context", "MatMul", []string{p, v})
	y = t.node(at+"/context", "Transpose", []string{y}, onnx.Ints("perm", 0, 2, 1, 3))
	y = t.node(at+"/context", "Reshape", []string{y, t.ints("/attn/joined", 0, 0, width)})
	return t.linear(at+"/out", y, b.Out)
}

// linear is x W^T + b; the weight is stored transposed, as MatMul wants it.
func (t *tower) linear(at, x string, l Linear) string {
	y := t.node(at, "MatMul", []string{x, t.transposed(l.Weight)})
	return t.node(at, "Add", []string{y, t.weight(l.Bias, nil)})
}

// norm is LayerNormalization, or what it consists of before operator set 17. In half precision those
// parts are computed in float32: a squared deviation can leave float16's range.
func (t *tower) norm(at, x string, n Norm) string {
	eps := t.model.Config.Epsilon
	if t.opset >= 17 {
		return t.node(at, "LayerNormalization", []string{x, t.weight(n.Weight, nil), t.weight(n.Bias, nil)},
			onnx.Int("axis", -1), onnx.Float32("epsilon", eps))
	}
	single := onnx.Float
	if t.half {
		x = t.node(at+"/widen", "Cast", []string{x}, onnx.Int("to", int64(onnx.Float)))
	}
	axes := []onnx.Attribute{onnx.Ints("axes", -1), onnx.Int("keepdims", 1)}
	x = t.node(at, "Sub", []string{x, t.node(at+"/mean", "ReduceMean", []string{x}, axes...)})
	square := t.node(at, "Pow", []string{x, t.scalar("/norm/two", onnx.Float, le32(2))})
	variance := t.node(at+"/variance", "ReduceMean", []string{square}, axes...)
	root := t.node(at, "Sqrt", []string{t.node(at+"/epsilon", "Add", []string{variance, t.scalar("/norm/epsilon", onnx.Float, le32(eps))})})
	y := t.node(at, "Div", []string{x, root})
	y = t.node(at, "Mul", []string{y, t.weight(n.Weight, &single)})
	y = t.node(at, "Add", []string{y, t.weight(n.Bias, &single)})
	if t.half {
		y = t.node(at+"/narrow", "Cast", []string{y}, onnx.Int("to", int64(onnx.Float16)))
	}
	return y
}

// activation is QuickGELU, x sigmoid(1.702 x), or GELU, x/2 (1 + erf(x / sqrt 2)), which is an operator
// of its own from operator set 20 on.
func (t *tower) activation(at, x string) string {
	if t.model.Config.Activation == QuickGELU {
		y := t.node(at+"/alpha", "Mul", []string{x, t.float("/act/alpha", 1.702)})
		y = t.node(at, "Sigmoid", []string{y})
		return t.node(at, "Mul", []string{x, y})
	}
	if t.opset >= 20 {
		return t.node(at, "Gelu", []string{x})
	}
	y := t.node(at, "Div", []string{x, t.float("/act/sqrt2", math.Sqrt2)})
	y = t.node(at, "Erf", []string{y})
	y = t.node(at, "Add", []string{y, t.float("/act/one", 1)})
	y = t.node(at, "Mul", []string{x, y})
	return t.node(at+"/half", "Mul", []string{y, t.float("/act/half", 0.5)})
}

// node adds an operator with one output and returns that output's name.
func (t *tower) node(at, op string, inputs []string, attributes ...onnx.Attribute) string {
	name := at + "/" + op
	t.out.Nodes = append(t.out.Nodes, onnx.Node{Op: op, Name: name, Inputs: inputs, Outputs: []string{name + "_output"}, Attributes: attributes})
	return name + "_output"
}

// ints is a constant list of integers, one for all who ask for the same name.
func (t *tower) ints(name string, values ...int64) string {
	var data []byte
	for _, v := range values {
		data = append(data, le64(v)...)
	}
	return t.constant(name, onnx.Int64, []int64{int64(len(values))}, data)
}

// float is a constant of the type that is computed with.
func (t *tower) float(name string, v float64) string {
	if t.half {
		return t.scalar(name, onnx.Float16, binary.LittleEndian.AppendUint16(nil, tensor.Float32ToFP16(float32(v))))
	}
	return t.scalar(name, onnx.Float, le32(float32(v)))
}

func (t *tower) scalar(name string, d onnx.DType, data []byte) string {
	return t.constant(name, d, nil, data)
}

func (t *tower) constant(name string, d onnx.DType, dims []int64, data []byte) string {
	if t.known == nil {
		t.known = map[string]bool{}
	}
	if !t.known[name] {
		t.known[name] = true
		t.out.Tensors = append(t.out.Tensors, onnx.Tensor{Name: name, Type: d, Dims: dims,
			Write: func(w io.Writer) error { _, err := w.Write(data); return err }})
	}
	return name
}

func le64(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

func le32(v float32) []byte { return binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)) }

// weight adds a weight under its own name; as is its type, nil the one that is computed with.
func (t *tower) weight(w Tensor, as *onnx.DType) string {
	return t.add(w.Name, w.Shape, as, func() []float32 { return w.Float32s(nil) })
}

// transposed adds a matrix with rows and columns exchanged.
func (t *tower) transposed(w Tensor) string {
	rows, cols := w.Shape[0], w.Shape[1]
	return t.add(w.Name+"^T", []int{cols, rows}, nil, func() []float32 {
		from, to := w.Float32s(nil), make([]float32, rows*cols)
		for r := range rows {
			for c, v := range from[r*cols : (r+1)*cols] {
				to[c*rows+r] = v
			}
		}
		return to
	})
}

// positions adds the position embeddings, the class embedding in row 0.
func (t *tower) positions() string {
	position, class := t.model.Weights.Position, t.model.Weights.Class
	return t.add(position.Name+"+class", position.Shape, nil, func() []float32 {
		sum := position.Float32s(make([]float32, position.Len()))
		for i, v := range class.Float32s(nil) {
			sum[i] += v
		}
		return sum
	})
}

// add adds a tensor whose values are asked for when it is written, one tensor at a time.
func (t *tower) add(name string, shape []int, as *onnx.DType, values func() []float32) string {
	d := onnx.Float
	switch {
	case as != nil:
		d = *as
	case t.half:
		d = onnx.Float16
	}
	dims := make([]int64, len(shape))
	for i, n := range shape {
		dims[i] = int64(n)
	}
	t.out.Tensors = append(t.out.Tensors, onnx.Tensor{Name: name, Type: d, Dims: dims, Write: func(w io.Writer) error {
		if d == onnx.Float16 {
			return writeHalf(w, values())
		}
		return writeSingle(w, values())
	}})
	return name
}

func writeSingle(w io.Writer, values []float32) error {
	if littleEndian {
		_, err := w.Write(asBytes(values))
		return err
	}
	for _, v := range values {
		if _, err := w.Write(le32(v)); err != nil {
			return err
		}
	}
	return nil
}

// writeHalf rounds to float16. A weight that float16 cannot hold is an error: infinity would make every
// embedding NaN.
func writeHalf(w io.Writer, values []float32) error {
	b := make([]byte, 0, 2*len(values))
	for _, v := range values {
		h := tensor.Float32ToFP16(v)
		if h&0x7c00 == 0x7c00 {
			return fmt.Errorf("%g is beyond float16: export as fp32", v)
		}
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	_, err := w.Write(b)
	return err
}
