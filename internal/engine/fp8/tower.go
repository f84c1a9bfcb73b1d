package fp8

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitrine-project/vitrine/internal/engine/cpu/kernel"
	"github.com/vitrine-project/vitrine/internal/model"
)

// tower computes a model on the processor in float32, with chosen products as the card will compute them in
// fp8. Products of E4M3 numbers are exact in float32, so only the order of sums differs. What a card computes
// in 16 bits is computed in float32 here.
type tower struct {
	config model.Config
	pool   *kernel.Pool
	rules  rules

	patch     linear
	positions []float32 // [tokens, width], the class embedding added to token 0's
	preNorm   norm
	blocks    []block
	postNorm  norm
	proj      linear
}

type linear struct {
	weight *kernel.Matrix
	bias   []float32
}

type norm struct{ weight, bias []float32 }

// block has every matrix as it is and, of those that may be in fp8, as fp8 has it: LayerNorm's weight folded
// in, and rounded.
type block struct {
	ln1, ln2           norm
	qkv, out, fc1, fc2 linear
	qkv8, fc18, fc28   linear
}

// rules are how fp8 rounds; study_test.go tries others.
type rules struct {
	weights func(w []float32, n, k int)         // a layer's, LayerNorm's weight folded in
	input   func(x []float32, k int, s float32) // rows of a layer's input; s is the calibrated scale
}

// ours are the rules that the package's comment states.
var ours = rules{
	weights: func(w []float32, n, k int) {
		for i := range n {
			row := w[i*k : (i+1)*k]
			round(row, scaleFor(magnitude(row)))
		}
	},
	input: func(x []float32, _ int, s float32) { round(x, s) },
}

func newTower(m *model.Model, r rules, threads int) (*tower, error) {
	c, from := m.Config, &m.Weights
	if c.Layers < 1 || len(from.Blocks) != c.Layers {
		return nil, fmt.Errorf("fp8: %d layers with %d blocks", c.Layers, len(from.Blocks))
	}
	t := &tower{config: c, pool: kernel.NewPool(threads), rules: r, blocks: make([]block, c.Layers)}
	l := &loader{rules: r}
	area := 3 * c.PatchSize * c.PatchSize
	t.patch.weight = kernel.Pack(l.floats(from.Patch, c.Width*area), c.Width, area, kernel.F32)
	t.positions = slices.Clone(l.floats(from.Position, c.Tokens()*c.Width))
	for i, x := range l.floats(from.Class, c.Width) {
		t.positions[i] += x
	}
	t.preNorm, t.postNorm = l.norm(from.PreNorm, c.Width), l.norm(from.PostNorm, c.Width)
	for i := range from.Blocks {
		l.block(&t.blocks[i], &from.Blocks[i], c)
	}
	proj := l.floats(from.Proj, c.Width*c.EmbedDim)
	t.proj.weight = kernel.PackFunc(c.EmbedDim, c.Width, kernel.F32, func(i int, row []float32) {
		for j := range row {
			row[j] = proj[j*c.EmbedDim+i]
		}
	})
	if l.err != nil {
		t.pool.Close()
		return nil, fmt.Errorf("fp8: %w", l.err)
	}
	return t, nil
}

func (t *tower) close() { t.pool.Close() }

// loader reads parameters. After an error it gives zeros.
type loader struct {
	rules rules
	err   error
}

func (l *loader) floats(t model.Tensor, n int) []float32 {
	if t.Len() != n || len(t.Data) != n*t.DType.Size() {
		if l.err == nil {
			l.err = fmt.Errorf("weight %q has shape %v and %d bytes, want %d elements", t.Name, t.Shape, len(t.Data), n)
		}
		return make([]float32, n)
	}
	return t.Float32s(nil)
}

func (l *loader) norm(n model.Norm, width int) norm {
	return norm{slices.Clone(l.floats(n.Weight, width)), slices.Clone(l.floats(n.Bias, width))}
}

func (l *loader) block(b *block, from *model.Block, c model.Config) {
	b.ln1, b.ln2 = l.norm(from.LN1, c.Width), l.norm(from.LN2, c.Width)
	b.qkv, b.qkv8 = l.linear(from.QKV, 3*c.Width, c.Width), l.rounded(from.QKV, &b.ln1, 3*c.Width, c.Width)
	b.out = l.linear(from.Out, c.Width, c.Width)
	b.fc1, b.fc18 = l.linear(from.FC1, c.MLP, c.Width), l.rounded(from.FC1, &b.ln2, c.MLP, c.Width)
	b.fc2, b.fc28 = l.linear(from.FC2, c.Width, c.MLP), l.rounded(from.FC2, nil, c.Width, c.MLP)
}

func (l *loader) linear(from model.Linear, n, k int) linear {
	return linear{kernel.Pack(l.floats(from.Weight, n*k), n, k, kernel.F32), slices.Clone(l.floats(from.Bias, n))}
}

// rounded is a layer in fp8. A LayerNorm before it leaves only (x - mean) / deviation to be done.
func (l *loader) rounded(from model.Linear, ln *norm, n, k int) linear {
	w, bias := slices.Clone(l.floats(from.Weight, n*k)), slices.Clone(l.floats(from.Bias, n))
	if ln != nil {
		for i := range bias {
			row, sum := w[i*k:(i+1)*k], float64(bias[i])
			for j := range row {
				sum += float64(row[j]) * float64(ln.bias[j])
				row[j] *= ln.weight[j]
			}
			bias[i] = float32(sum)
		}
	}
	l.rules.weights(w, n, k)
	return linear{kernel.Pack(w, n, k, kernel.F32), bias}
}

// watcher sees the inputs of a block's layers, in float32.
type watcher func(block int, layer layer, x []float32)

// layer is one whose input may be in fp8.
type layer int

const (
	layerQKV layer = iota
	layerFC1
	layerFC2
	layers
)

// pass is the working memory of one forward pass.
type pass struct {
	*tower
	n, rows int
	x, h    []float32 // [rows, width]
	wide    []float32
	scales  []Block // nil is float32
	watch   watcher
}

// embed computes images, each the pixels of a FormatUint8HWC row.
func (t *tower) embed(images [][]byte, scales []Block, watch watcher) ([][]float32, error) {
	c := t.config
	rows := len(images) * c.Tokens()
	p := &pass{tower: t, n: len(images), rows: rows, scales: scales, watch: watch,
		x: make([]float32, rows*c.Width), h: make([]float32, rows*c.Width),
		wide: make([]float32, rows*max(3*c.PatchSize*c.PatchSize, 3*c.Width, c.MLP))}
	if err := p.patches(images); err != nil {
		return nil, err
	}
	p.norm(p.x, p.x, t.preNorm)
	for i := range t.blocks {
		p.block(i)
	}
	return p.project(), nil
}

// scale is the scale of a layer's input, 0 for float32.
func (p *pass) scale(block int, l layer) float32 {
	if p.scales == nil {
		return 0
	}
	b := p.scales[block]
	return [layers]float32{b.QKV, b.FC1, b.FC2}[l]
}

// patches sets x to the patches' embeddings and positions.
func (p *pass) patches(images [][]byte) error {
	c := p.config
	grid, area := c.ImageSize/c.PatchSize, 3*c.PatchSize*c.PatchSize
	cut := p.wide[:p.rows*area]
	for i, pixels := range images {
		if len(pixels) != 3*c.ImageSize*c.ImageSize {
			return fmt.Errorf("fp8: an image of %d bytes, want %d", len(pixels), 3*c.ImageSize*c.ImageSize)
		}
		first := i * c.Tokens()
		clear(cut[first*area:][:area])
		for token := range grid * grid {
			cutPatch(cut[(first+1+token)*area:][:area], pixels, &c, token/grid, token%grid)
		}
		copy(p.x[first*c.Width:], p.positions)
	}
	p.patch.weight.Mul(p.pool, p.x, c.Width, cut, area, p.rows, kernel.Epilogue{Residual: p.x})
	return nil
}

// cutPatch writes the normalised pixels of one patch, channel by channel.
func cutPatch(dst []float32, pixels []byte, c *model.Config, y, x int) {
	for channel := range 3 {
		for line := range c.PatchSize {
			at := ((y*c.PatchSize+line)*c.ImageSize + x*c.PatchSize) * 3
			row := dst[(channel*c.PatchSize+line)*c.PatchSize:][:c.PatchSize]
			for i := range row {
				row[i] = (float32(pixels[at+3*i+channel])/255 - c.Mean[channel]) / c.Std[channel]
			}
		}
	}
}

func (p *pass) norm(dst, src []float32, n norm) {
	width := len(n.weight)
	p.pool.Run(p.rows, func(i, _ int) {
		kernel.LayerNorm(dst[i*width:(i+1)*width], src[i*width:(i+1)*width], n.weight, n.bias, p.config.Epsilon)
	})
}

// block is x += out(attention(qkv(LN1 x))); x += fc2(act(fc1(LN2 x))).
func (p *pass) block(i int) {
	b, c := &p.blocks[i], &p.config
	qkv := p.wide[:3*p.rows*c.Width]
	p.normed(qkv, i, layerQKV, b.ln1, b.qkv, b.qkv8, kernel.None)
	p.attention(qkv)
	p.add(b.out, p.h, c.Width)

	mlp := p.wide[:p.rows*c.MLP]
	p.normed(mlp, i, layerFC1, b.ln2, b.fc1, b.fc18, activation(c))
	if p.watch != nil {
		p.watch(i, layerFC2, mlp)
	}
	if s := p.scale(i, layerFC2); s != 0 {
		p.round(mlp, c.MLP, s)
		p.add(b.fc28, mlp, c.MLP)
		return
	}
	p.add(b.fc2, mlp, c.MLP)
}

func activation(c *model.Config) kernel.Activation {
	if c.Activation == model.QuickGELU {
		return kernel.ActQuickGELU
	}
	return kernel.ActGELU
}

// normed sets dst = activation(l(LN(x))), by the layer as it is or as fp8 has it.
func (p *pass) normed(dst []float32, block int, which layer, n norm, plain, in8 linear, act kernel.Activation) {
	width := p.config.Width
	if p.watch != nil {
		p.watch(block, which, p.x)
	}
	l := plain
	if s := p.scale(block, which); s == 0 {
		p.norm(p.h, p.x, n)
	} else {
		l = in8
		p.standardise(s)
	}
	l.weight.Mul(p.pool, dst, l.weight.Rows(), p.h, width, p.rows, kernel.Epilogue{Bias: l.bias, Activation: act})
}

// standardise sets h to (q(x) - mean) / deviation, mean and deviation being those of x itself: the folded
// LayerNorm of an input in fp8.
func (p *pass) standardise(s float32) {
	width := p.config.Width
	copy(p.h, p.x)
	p.round(p.h, width, s)
	p.pool.Run(p.rows, func(i, _ int) {
		x, h := p.x[i*width:(i+1)*width], p.h[i*width:(i+1)*width]
		var sum, squares float64
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean := sum / float64(width)
		scale := 1 / math.Sqrt(max(squares/float64(width)-mean*mean, 0)+float64(p.config.Epsilon))
		for j, v := range h {
			h[j] = float32((float64(v) - mean) * scale)
		}
	})
}

// round rounds rows of k values, on all processors.
func (p *pass) round(x []float32, k int, s float32) {
	const rowsPerPart = 16
	p.pool.Run((p.rows+rowsPerPart-1)/rowsPerPart, func(part, _ int) {
		lo, hi := part*rowsPerPart, min((part+1)*rowsPerPart, p.rows)
		p.rules.input(x[lo*k:hi*k], k, s)
	})
}

// add adds l(src) to x.
func (p *pass) add(l linear, src []float32, k int) {
	l.weight.Mul(p.pool, p.x, p.config.Width, src, k, p.rows, kernel.Epilogue{Bias: l.bias, Residual: p.x})
}

// attention sets h to every head's softmax(query key^T / sqrt(dim)) value.
func (p *pass) attention(qkv []float32) {
	c := &p.config
	tokens, dim, stride := c.Tokens(), c.HeadDim(), 3*c.Width
	p.pool.Run(p.n*c.Heads, func(part, worker int) {
		image, column := part/c.Heads, part%c.Heads*dim
		from := qkv[image*tokens*stride+column:]
		kernel.Attention(kernel.Head{
			Out: p.h[image*tokens*c.Width+column:], OutStride: c.Width,
			Query: from, Key: from[c.Width:], Value: from[2*c.Width:], QueryStride: stride, KeyStride: stride,
			Queries: tokens, Tokens: tokens, Dim: dim,
		}, p.pool.Scratch(worker, kernel.AttentionScratch(tokens, tokens, dim)))
	})
}

// project is the embeddings of the class tokens.
func (p *pass) project() [][]float32 {
	c := &p.config
	class, out := p.h[:p.n*c.Width], make([]float32, p.n*c.EmbedDim)
	for i := range p.n {
		kernel.LayerNorm(class[i*c.Width:(i+1)*c.Width], p.x[i*c.Tokens()*c.Width:][:c.Width], p.postNorm.weight, p.postNorm.bias, c.Epsilon)
	}
	p.proj.weight.Mul(p.pool, out, c.EmbedDim, class, c.Width, p.n, kernel.Epilogue{})
	var embeddings [][]float32
	for i := range p.n {
		embeddings = append(embeddings, out[i*c.EmbedDim:(i+1)*c.EmbedDim])
	}
	return embeddings
}
