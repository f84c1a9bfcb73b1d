package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// weights are a model's parameters on the device, in one allocation.
type weights struct {
	config     model.Config
	patchWidth int // 3*patch*patch, padded to a multiple of blockK
	memory     driver.Pointer
	bytes      int

	patch     linear // [width, patchWidth]
	positions view   // [tokens, width]; the class token's row also holds the class embedding
	preNorm   norm
	blocks    []block
	proj      linear // [embed, width], the last LayerNorm folded in
}

// linear is a matrix [n, k] with what its epilogue needs: bias, and for a folded LayerNorm the sums of the
// matrix's rows (kernels/gemm.cuh).
type linear struct {
	weight     driver.Pointer
	n, k       int
	size       int // bytes of an element
	bias, sums driver.Pointer
	op         operator

	// In fp8 (kernels/scaled.cuh).
	scales driver.Pointer // of the sums, for each output
	input  float32        // scale of the layer's input, which is E4M3; 0: it is not
	output float32        // scale of the result, or of its copy, as E4M3 for the next layer; 0: there is none
}

// reads is what the layer reads of a matrix that is there in E4M3 too.
func (l linear) reads(x, narrow view) view {
	if l.input > 0 {
		return narrow
	}
	return x
}

// outScale is what a result is multiplied by to be stored as E4M3, 0 where it is not.
func (l linear) outScale() float32 {
	if l.output == 0 {
		return 0
	}
	return 1 / l.output
}

// outputs is the layer that computes the outputs lo to hi-1 only.
func (l linear) outputs(lo, hi int) linear {
	l.weight += driver.Pointer(lo * l.k * l.size)
	l.bias += driver.Pointer(4 * lo)
	l.sums += driver.Pointer(4 * lo)
	l.n = hi - lo
	if l.scales != 0 {
		l.scales += driver.Pointer(4 * lo)
	}
	return l
}

type norm struct{ weight, bias driver.Pointer }

// block is a transformer block; the LayerNorms are folded into queryKeyValue and fc1.
type block struct{ queryKeyValue, out, fc1, fc2 linear }

// packer plans one stretch of memory, in pieces that are filled in parallel.
type packer struct {
	precision engine.Precision
	size      int // bytes of an element
	bytes     int
	pieces    []piece
	places    []*driver.Pointer // to become addresses
}

type piece struct {
	at, bytes int
	fill      func(dst []byte) error
}

// alignment of every piece: a line of the L2, and more than the tensor memory accelerator asks for.
const alignment = 256

func (p *packer) add(to *driver.Pointer, bytes int, fill func([]byte) error) {
	p.bytes = (p.bytes + alignment - 1) / alignment * alignment
	*to = driver.Pointer(p.bytes)
	p.places = append(p.places, to)
	p.pieces = append(p.pieces, piece{p.bytes, bytes, fill})
	p.bytes += bytes
}

// plan lays out the weights of m; their pointers are offsets until place is called. In fp8 a calibration says which
// layers are E4M3; the others are fp16.
func plan(m *model.Model, precision engine.Precision, scales []fp8.Block) (*weights, *packer, error) {
	c, from := m.Config, &m.Weights
	if err := supported(c, from); err != nil {
		return nil, nil, err
	}
	if precision == engine.FP8 {
		precision = engine.FP16
	}
	p := &packer{precision: precision, size: elementSize(precision)}
	area := 3 * c.PatchSize * c.PatchSize
	w := &weights{config: c, patchWidth: ceil(area, blockK) * blockK, blocks: make([]block, c.Layers)}
	p.matrix(&w.patch, source{weight: from.Patch, n: c.Width, k: area}, w.patchWidth)
	p.positions(&w.positions, from.Position, from.Class, c)
	p.norm(&w.preNorm, from.PreNorm, c.Width)
	for i := range from.Blocks {
		p.block(&w.blocks[i], &from.Blocks[i], c, scalesOf(scales, i))
	}
	w.link(scales)
	p.matrix(&w.proj, source{weight: from.Proj, transposed: true, norm: &from.PostNorm, n: c.EmbedDim, k: c.Width}, c.Width)
	w.label()
	w.bytes = p.bytes
	return w, p, nil
}

// supported tells why a model cannot be computed: what the kernels' tiles ask of its dimensions.
func supported(c model.Config, from *model.Weights) error {
	switch {
	case c.Layers < 1 || len(from.Blocks) != c.Layers:
		return fmt.Errorf("%d layers with %d blocks", c.Layers, len(from.Blocks))
	case c.Heads < 1 || c.Width != c.Heads*headDim:
		return fmt.Errorf("width %d with %d heads: the kernels have heads of %d only", c.Width, c.Heads, headDim)
	case c.Width > maxWidth:
		return fmt.Errorf("width %d: the kernels have at most %d", c.Width, maxWidth)
	case c.MLP%blockK != 0 || c.EmbedDim%blockK != 0:
		return fmt.Errorf("MLP of %d, embedding of %d: the kernels want multiples of %d", c.MLP, c.EmbedDim, blockK)
	case c.PatchSize < 1 || c.PatchSize*c.ImageSize*3%16 != 0:
		return fmt.Errorf("images of %d with patches of %d: a row of patches must be a multiple of 16 bytes", c.ImageSize, c.PatchSize)
	}
	return nil
}

// scalesOf are those of block i, zero where there are none.
func scalesOf(scales []fp8.Block, i int) fp8.Block {
	if i < len(scales) {
		return scales[i]
	}
	return fp8.Block{}
}

// link tells each layer in which scale the next one reads its result.
func (w *weights) link(scales []fp8.Block) {
	for i := range w.blocks {
		b, s := &w.blocks[i], scalesOf(scales, i)
		b.out.output, b.fc1.output, b.fc2.output = s.FC1, s.FC2, scalesOf(scales, i+1).QKV
	}
}

func (p *packer) block(b *block, from *model.Block, c model.Config, s fp8.Block) {
	p.layer(&b.queryKeyValue, source{weight: from.QKV.Weight, bias: &from.QKV.Bias, norm: &from.LN1, n: 3 * c.Width, k: c.Width}, s.QKV)
	p.layer(&b.out, source{weight: from.Out.Weight, bias: &from.Out.Bias, n: c.Width, k: c.Width}, 0)
	p.layer(&b.fc1, source{weight: from.FC1.Weight, bias: &from.FC1.Bias, norm: &from.LN2, n: c.MLP, k: c.Width}, s.FC1)
	p.layer(&b.fc2, source{weight: from.FC2.Weight, bias: &from.FC2.Bias, n: c.Width, k: c.MLP}, s.FC2)
}

// layer packs a layer whose input is E4M3 of that scale, or not if it is 0.
func (p *packer) layer(to *linear, from source, input float32) {
	if input > 0 {
		p.quantised(to, from, input)
		return
	}
	p.matrix(to, from, from.k)
}

func (p *packer) norm(to *norm, from model.Norm, width int) {
	p.vector(&to.weight, from.Weight, width)
	p.vector(&to.bias, from.Bias, width)
}

func (p *packer) vector(to *driver.Pointer, from model.Tensor, n int) {
	p.add(to, 4*n, func(dst []byte) error {
		f, err := floats(from, n)
		if err == nil {
			copy(tensor.Float32s(dst), f)
		}
		return err
	})
}

// positions adds the class embedding to the position of token 0.
func (p *packer) positions(to *view, position, class model.Tensor, c model.Config) {
	tokens := c.Tokens()
	*to = view{rows: tokens, stride: c.Width, size: p.size}
	p.add(&to.at, tokens*c.Width*p.size, func(dst []byte) error {
		f, err := floats(position, tokens*c.Width)
		if err != nil {
			return err
		}
		embedding, err := floats(class, c.Width)
		if err != nil {
			return err
		}
		for i, x := range f {
			if i < c.Width {
				x += embedding[i]
			}
			p.put(dst, i, x)
		}
		return nil
	})
}

// source is a layer as the model has it.
type source struct {
	weight     model.Tensor
	transposed bool // stored as [k, n]
	bias       *model.Tensor
	norm       *model.Norm // of the layer's input, to be folded in
	n, k       int
}

// matrix packs a layer, rows padded with zeros to the given width.
func (p *packer) matrix(to *linear, from source, width int) {
	*to = linear{n: from.n, k: width, size: p.size}
	p.add(&to.weight, from.n*width*p.size, func(dst []byte) error { return p.fillWeight(dst, from, width) })
	p.add(&to.bias, 4*from.n, func(dst []byte) error { return p.fillBias(dst, from) })
	if from.norm != nil {
		p.add(&to.sums, 4*from.n, func(dst []byte) error { return p.fillSums(dst, from) })
	}
}

// row calls visit with each weight of output i before and after folding in the LayerNorm's weight.
func (s *source) row(w, gamma []float32, i int, visit func(j int, plain, folded float32)) {
	for j := range s.k {
		at := i*s.k + j
		if s.transposed {
			at = j*s.n + i
		}
		folded := w[at]
		if gamma != nil {
			folded *= gamma[j]
		}
		visit(j, w[at], folded)
	}
}

func (s *source) load() (w, gamma, beta []float32, err error) {
	if w, err = floats(s.weight, s.n*s.k); err != nil || s.norm == nil {
		return w, nil, nil, err
	}
	if gamma, err = floats(s.norm.Weight, s.k); err != nil {
		return
	}
	beta, err = floats(s.norm.Bias, s.k)
	return
}

func (p *packer) fillWeight(dst []byte, s source, width int) error {
	w, gamma, _, err := s.load()
	if err != nil {
		return err
	}
	for i := range s.n {
		row := dst[i*width*p.size:]
		s.row(w, gamma, i, func(j int, _, folded float32) { p.put(row, j, folded) })
	}
	return nil
}

// fillBias computes b + W beta in float64.
func (p *packer) fillBias(dst []byte, s source) error {
	w, gamma, beta, err := s.load()
	if err != nil {
		return err
	}
	var bias []float32
	if s.bias != nil {
		if bias, err = floats(*s.bias, s.n); err != nil {
			return err
		}
	}
	sums := tensor.Float32s(dst)
	for i := range sums {
		var sum float64
		if bias != nil {
			sum = float64(bias[i])
		}
		if beta != nil {
			s.row(w, gamma, i, func(j int, plain, _ float32) { sum += float64(plain) * float64(beta[j]) })
		}
		sums[i] = float32(sum)
	}
	return nil
}

// fillSums adds up the folded weights as they are stored, so that what a row's mean contributes to the
// product is taken off exactly.
func (p *packer) fillSums(dst []byte, s source) error {
	w, gamma, _, err := s.load()
	if err != nil {
		return err
	}
	sums := tensor.Float32s(dst)
	for i := range s.n {
		var sum float64
		s.row(w, gamma, i, func(_ int, _, folded float32) { sum += float64(p.rounded(folded)) })
		sums[i] = float32(sum)
	}
	return nil
}

// put stores element i.
func (p *packer) put(dst []byte, i int, x float32) {
	switch p.precision {
	case engine.FP16:
		binary.LittleEndian.PutUint16(dst[2*i:], tensor.Float32ToFP16(x))
	case engine.BF16:
		binary.LittleEndian.PutUint16(dst[2*i:], tensor.Float32ToBF16(x))
	default:
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
	}
}

// rounded is x as put stores it.
func (p *packer) rounded(x float32) float32 {
	switch p.precision {
	case engine.FP16:
		return tensor.FP16ToFloat32(tensor.Float32ToFP16(x))
	case engine.BF16:
		return tensor.BF16ToFloat32(tensor.Float32ToBF16(x))
	}
	return x
}

func elementSize(p engine.Precision) int {
	if p == engine.FP32 {
		return 4
	}
	return 2
}

// fill computes all pieces, on all processors.
func (p *packer) fill() ([]byte, error) {
	memory := tensor.AlignedBytes(p.bytes)
	var (
		next  atomic.Int64
		group sync.WaitGroup
		first atomic.Pointer[error]
	)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(p.pieces); i = next.Add(1) - 1 {
				piece := p.pieces[i]
				if err := piece.fill(memory[piece.at:][:piece.bytes]); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := first.Load(); err != nil {
		return nil, *err
	}
	return memory, nil
}

// place turns the plan's offsets into addresses.
func (p *packer) place(base driver.Pointer) {
	for _, to := range p.places {
		*to += base
	}
}

// floats is t as float32, possibly a view of the model's memory.
func floats(t model.Tensor, n int) ([]float32, error) {
	if t.Len() != n || len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("weight %q has shape %v and %d bytes, want %d elements", t.Name, t.Shape, len(t.Data), n)
	}
	return t.Float32s(nil), nil
}
