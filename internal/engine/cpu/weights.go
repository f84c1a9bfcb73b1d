package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"
	"github.com/vitrine-project/vitrine/internal/model"
)

// weights are a model's parameters as the kernels want them.
type weights struct {
	config    model.Config
	patch     linear    // [width, 3*patch*patch], no bias
	positions []float32 // [tokens, width]; the class token's row also holds the class embedding
	preNorm   norm
	blocks    []block
	postNorm  norm
	proj      linear // [embed, width], no bias
	bytes     int64
}

type linear struct {
	weight *kernel.Matrix
	bias   []float32
}

type norm struct{ weight, bias []float32 }

// block has one matrix for query, key and value. The last block, of which only the class token's query
// is wanted, has two instead.
type block struct {
	ln1             norm
	queryKeyValue   linear
	query, keyValue linear
	out             linear
	ln2             norm
	fc1, fc2        linear
}

// variant names the kernels that run.
func (w *weights) variant() string {
	gemm, rest := w.patch.weight.Variant(), kernel.ElementwiseVariant()
	if gemm == rest {
		return gemm
	}
	return gemm + ", elementwise " + rest
}

// pack converts all weights, on all processors.
func pack(m *model.Model, precision kernel.Precision) (*weights, error) {
	c, from := m.Config, &m.Weights
	if c.Layers < 1 || len(from.Blocks) != c.Layers || c.Heads < 1 || c.Width%c.Heads != 0 {
		return nil, fmt.Errorf("%d layers with %d blocks, width %d with %d heads", c.Layers, len(from.Blocks), c.Width, c.Heads)
	}
	w := &weights{config: c, blocks: make([]block, c.Layers)}
	p := &packer{precision: precision}
	p.matrix(&w.patch, from.Patch, c.Width, 3*c.PatchSize*c.PatchSize)
	p.do(func() error { return w.setPositions(from.Position, from.Class) })
	p.norm(&w.preNorm, from.PreNorm, c.Width)
	for i := range from.Blocks {
		p.block(&w.blocks[i], &from.Blocks[i], c, i == c.Layers-1)
	}
	p.norm(&w.postNorm, from.PostNorm, c.Width)
	p.transposed(&w.proj, from.Proj, c.EmbedDim, c.Width)
	err := p.run()
	w.bytes = p.bytes.Load()
	return w, err
}

// setPositions adds the class embedding to the position of token 0.
func (w *weights) setPositions(position, class model.Tensor) (err error) {
	if w.positions, err = floats(position, w.config.Tokens()*w.config.Width); err != nil {
		return err
	}
	w.positions = slices.Clone(w.positions)
	embedding, err := floats(class, w.config.Width)
	for i, x := range embedding {
		w.positions[i] += x
	}
	return err
}

// packer collects conversions and runs them in parallel.
type packer struct {
	precision kernel.Precision
	tasks     []func() error
	bytes     atomic.Int64
}

func (p *packer) do(task func() error) { p.tasks = append(p.tasks, task) }

func (p *packer) block(b *block, from *model.Block, c model.Config, last bool) {
	p.norm(&b.ln1, from.LN1, c.Width)
	if last {
		p.rows(&b.query, from.QKV, 3*c.Width, 0, c.Width, c.Width)
		p.rows(&b.keyValue, from.QKV, 3*c.Width, c.Width, 3*c.Width, c.Width)
	} else {
		p.linear(&b.queryKeyValue, from.QKV, 3*c.Width, c.Width)
	}
	p.linear(&b.out, from.Out, c.Width, c.Width)
	p.norm(&b.ln2, from.LN2, c.Width)
	p.linear(&b.fc1, from.FC1, c.MLP, c.Width)
	p.linear(&b.fc2, from.FC2, c.Width, c.MLP)
}

func (p *packer) norm(dst *norm, from model.Norm, width int) {
	p.vector(&dst.weight, from.Weight, width, 0, width)
	p.vector(&dst.bias, from.Bias, width, 0, width)
}

func (p *packer) linear(dst *linear, from model.Linear, n, k int) { p.rows(dst, from, n, 0, n, k) }

// rows packs the outputs lo to hi-1 of a layer with n outputs.
func (p *packer) rows(dst *linear, from model.Linear, n, lo, hi, k int) {
	p.vector(&dst.bias, from.Bias, n, lo, hi)
	p.do(func() error {
		f, err := floats(from.Weight, n*k)
		if err == nil {
			dst.weight = p.count(kernel.Pack(f[lo*k:hi*k], hi-lo, k, p.precision))
		}
		return err
	})
}

// vector copies the elements lo to hi-1 of n.
func (p *packer) vector(dst *[]float32, from model.Tensor, n, lo, hi int) {
	p.do(func() error {
		f, err := floats(from, n)
		if err == nil {
			*dst = slices.Clone(f[lo:hi])
			p.bytes.Add(int64(4 * (hi - lo)))
		}
		return err
	})
}

func (p *packer) matrix(dst *linear, from model.Tensor, n, k int) {
	p.do(func() error {
		f, err := floats(from, n*k)
		if err == nil {
			dst.weight = p.count(kernel.Pack(f, n, k, p.precision))
		}
		return err
	})
}

// transposed packs a matrix that is stored as [k, n].
func (p *packer) transposed(dst *linear, from model.Tensor, n, k int) {
	p.do(func() error {
		f, err := floats(from, n*k)
		if err != nil {
			return err
		}
		dst.weight = p.count(kernel.PackFunc(n, k, p.precision, func(i int, row []float32) {
			for j := range row {
				row[j] = f[j*n+i]
			}
		}))
		return nil
	})
}

func (p *packer) count(m *kernel.Matrix) *kernel.Matrix {
	p.bytes.Add(m.Bytes())
	return m
}

// floats is t as float32, possibly a view of the model's memory.
func floats(t model.Tensor, n int) ([]float32, error) {
	if t.Len() != n || len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("weight %q has shape %v and %d bytes, want %d elements", t.Name, t.Shape, len(t.Data), n)
	}
	return t.Float32s(nil), nil
}

func (p *packer) run() error {
	var (
		next  atomic.Int64
		group sync.WaitGroup
		first atomic.Pointer[error]
	)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(p.tasks); i = next.Add(1) - 1 {
				if err := p.tasks[i](); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}
