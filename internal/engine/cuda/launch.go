package cuda

import (
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
)

// launcher launches the operators of a forward pass on a stream, one after the other. The first error
// stays and ends everything; forward reads as if there were none.
type launcher struct {
	gpu       driver.GPU
	stream    driver.Stream
	module    *module
	precision engine.Precision
	epsilon   float32
	overlap   bool // programmatic dependent launch
	err       error
	count     int
	// launched, if set, is told of each kernel after its launch.
	launched func(work) error
}

func (l *launcher) launch(w work, f driver.Function, grid, block driver.Dim, shared int, args []byte) {
	if l.err != nil {
		return
	}
	// Nothing precedes the first kernel that it could overlap with.
	l.err = l.gpu.Launch(driver.Launch{Function: f, Grid: grid, Block: block, Shared: shared, Args: args,
		Overlap: l.overlap && l.count > 0}, l.stream)
	l.count++
	if l.launched != nil && l.err == nil {
		l.err = l.launched(w)
	}
}

// product sets dst = epilogue(src W^T). src is [dst.rows, layer.k]; sums are src's where a LayerNorm is
// folded in. What the epilogue needs besides is in g.
func (l *launcher) product(dst view, layer linear, src view, e epilogue, g scaledArgs) variant {
	if l.err != nil {
		return variant{}
	}
	sms := l.gpu.Info().Multiprocessors
	var v variant
	if v, l.err = choose(l.module.variants, dst.rows, layer.n, layer.k, e, sms); l.err == nil {
		l.productWith(v, dst, layer, src, e, g)
	}
	return v
}

func (l *launcher) productWith(v variant, dst view, layer linear, src view, e epilogue, g scaledArgs) {
	g.a, g.w, g.out = src.at, layer.weight, dst.at
	g.bias, g.sums, g.scales = layer.bias, layer.sums, layer.scales
	g.m, g.n, g.k = int32(dst.rows), int32(layer.n), int32(layer.k)
	g.lda, g.ldOut = int32(src.stride), int32(dst.stride)
	g.inverseWidth, g.epsilon = 1/float32(layer.k), l.epsilon
	g.partsOut = int32(layer.n / v.partColumns)
	if v.hopper {
		g.mapA = l.describe(src, layer.k, v.rows/v.across)
		g.mapW = l.describe(view{layer.weight, layer.n, layer.k, layer.size}, layer.k, v.cols/v.down)
	}
	args := driver.Bytes(&g.gemmArgs)
	if e.scaled() {
		args = driver.Bytes(&g)
	}
	blocks := v.blocks(dst.rows, layer.n, l.gpu.Info().Multiprocessors)
	w := work{layer.op, productCost(dst.rows, layer.n, layer.k, g.added(e), elementSize(l.precision), e)}
	if g.copy != 0 {
		w.bytes += int64(dst.rows * layer.n)
	}
	l.launch(w, l.module.products[v.name+string(e)], driver.Dim{X: uint32(blocks), Y: 1, Z: 1},
		driver.Dim{X: uint32(v.threads), Y: 1, Z: 1}, v.shared(e), args)
}

// describe describes boxes of so many rows of a matrix of so many columns.
func (l *launcher) describe(m view, columns, box int) driver.TensorMap {
	if l.err != nil {
		return driver.TensorMap{}
	}
	element := driver.Float16
	switch {
	case m.size == 1:
		element = driver.Uint8
	case l.precision == engine.BF16:
		element = driver.BFloat16
	}
	var t driver.TensorMap
	t, l.err = l.gpu.TensorMap(driver.Matrix{Data: m.at, Element: element, Rows: m.rows, Columns: columns, Stride: m.size * m.stride, BoxRows: box})
	return t
}

// normed sets dst = activation(LayerNorm(src) W^T + bias). Of a layer in fp8 src is E4M3, and so is what an
// activation gives.
func (l *launcher) normed(dst view, layer linear, src view, sums rowSums, e epilogue) {
	g := scaledArgs{gemmArgs: gemmArgs{statsIn: sums.at, statsStep: int32(sums.step), partsIn: int32(sums.parts)}}
	if layer.input > 0 {
		e = e.inFP8()
		g.outScale = layer.outScale()
	}
	l.product(dst, layer, src, e, g)
}

// add sets dst = src W^T + bias + old, and sums to the sums of dst's rows. old may be dst; with fewer rows
// it is added over and over. Where the next layer is in fp8, narrow becomes dst in E4M3.
func (l *launcher) add(dst view, layer linear, src, old view, sums driver.Pointer, narrow view) rowSums {
	g := scaledArgs{gemmArgs: gemmArgs{residual: old.at, ldResidual: int32(old.stride), statsOut: sums}}
	if old.rows < dst.rows {
		g.residualRows = int32(old.rows)
	}
	e := residual
	if layer.output > 0 {
		e = residualCopy
		g.copy, g.ldCopy, g.outScale = narrow.at, int32(narrow.stride), layer.outScale()
	}
	if layer.input > 0 {
		e = fp8Residual
	}
	v := l.product(dst, layer, src, e, g)
	return rowSums{sums, 1, layer.n / max(v.partColumns, 1)}
}

// normArgs is NormArgs of kernels/norm.cu.
type normArgs struct {
	x, weight, bias, stats driver.Pointer
	rows, width            int32
	epsilon                float32
	_                      int32
}

// maxWidth is the widest row that the norm kernel holds in registers.
const maxWidth = 2048

// norm sets x = LayerNorm(x) and sums to the sums of its rows.
func (l *launcher) norm(x view, n norm, sums driver.Pointer) rowSums {
	const rowsPerBlock = 4
	g := normArgs{x: x.at, weight: n.weight, bias: n.bias, stats: sums, rows: int32(x.rows), width: int32(x.stride), epsilon: l.epsilon}
	w := work{opNorm, normCost(x.rows, x.stride, x.size)}
	l.launch(w, l.module.norm, driver.Dim{X: uint32(ceil(x.rows, rowsPerBlock)), Y: 1, Z: 1},
		driver.Dim{X: 32 * rowsPerBlock, Y: 1, Z: 1}, 0, driver.Bytes(&g))
	return rowSums{sums, 1, 1}
}

// attentionArgs is AttentionArgs of kernels/attention.cu.
type attentionArgs struct {
	q, k, v, out      driver.Pointer
	queries, tokens   int32
	ldq, ldkv, ldOut  int32
	queryRowsPerImage int32
}

// headDim is the size of a head, and the number of queries and keys in a tile.
const headDim, attentionTile = 64, 64

// attention sets dst = softmax(query key^T / sqrt(64)) value for each head of each of n images. query and
// dst have the same number of rows, key and value all tokens.
func (l *launcher) attention(dst, query, key, value view, n, heads int) {
	queries, tokens := query.rows/n, key.rows/n
	g := attentionArgs{q: query.at, k: key.at, v: value.at, out: dst.at, queries: int32(queries), tokens: int32(tokens),
		ldq: int32(query.stride), ldkv: int32(key.stride), ldOut: int32(dst.stride), queryRowsPerImage: int32(queries)}
	w := work{opAttention, attentionCost(queries, tokens, key.size).times(n * heads)}
	l.launch(w, l.module.attention, driver.Dim{X: uint32(heads), Y: uint32(n), Z: uint32(ceil(queries, attentionTile))},
		driver.Dim{X: 128, Y: 1, Z: 1}, attentionShared(l.precision, tokens), driver.Bytes(&g))
}

// attentionShared is the queries' tile, and one tile of keys and values or two; in float32 a row of scores
// for each of four warps.
func attentionShared(p engine.Precision, tokens int) int {
	const tile = attentionTile * headDim * 2
	switch {
	case p == engine.FP32:
		return 4 * 4 * tokens
	case tokens <= attentionTile:
		return 3 * tile
	}
	return 5 * tile
}

// patchArgs is PatchArgs of kernels/patch.cu.
type patchArgs struct {
	table, out   driver.Pointer
	size, patch  int32
	tokens, ld   int32
	scale, shift [3]float32
}

// patches cuts n images into patches.
func (l *launcher) patches(dst view, table driver.Pointer, w *weights, n int) {
	c := &w.config
	g := patchArgs{table: table, out: dst.at, size: int32(c.ImageSize), patch: int32(c.PatchSize), tokens: int32(c.Tokens()), ld: int32(dst.stride)}
	for i := range g.scale {
		g.scale[i], g.shift[i] = 1/(255*c.Std[i]), -c.Mean[i]/c.Std[i]
	}
	threads := 256
	if n*c.ImageSize/c.PatchSize < l.gpu.Info().Multiprocessors {
		threads = 1024 // few blocks: each must be fast
	}
	cut := work{opInput, patchCost(c.ImageSize, c.Tokens(), dst.stride, dst.size).times(n)}
	l.launch(cut, l.module.patch, driver.Dim{X: uint32(c.ImageSize / c.PatchSize), Y: uint32(n), Z: 1},
		driver.Dim{X: uint32(threads), Y: 1, Z: 1}, patchShared(w), driver.Bytes(&g))
}

// patchShared is the bytes of a row of patches.
func patchShared(w *weights) int { return 3 * w.config.ImageSize * w.config.PatchSize }
