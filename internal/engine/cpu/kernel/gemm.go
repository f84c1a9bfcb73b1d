package kernel

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Activation is the function that an Epilogue applies.
type Activation uint8

const (
	None         Activation = iota
	ActGELU                 // the function GELU
	ActQuickGELU            // the function QuickGELU
)

// Epilogue is what follows a product while its tile is in the first-level cache:
// activation(y + Bias) + Residual.
type Epilogue struct {
	Bias       []float32 // [n] or nil
	Activation Activation
	Residual   []float32 // [m,ldc] or nil; may be c itself
}

// Blocking. A block of A's rows times kBlock units and a panel of W share the second-level cache;
// partial sums exist for chunkPanels panels at a time.
const (
	blockRows   = 104
	chunkPanels = 8
	panelStep   = 64 // floats; a panel's activation runs over whole steps, so that vector code meets no tail
	packRows    = 8  // rows of A that one part packs where workers share the packed A
)

// Mul computes c = epilogue(a W^T) for a [m,k] with rows lda apart and c [m,n] with rows ldc apart. c
// must not overlap a.
//
// A row of c is the same, bit for bit, whatever m, the row's place and the number of threads are: sums
// run over k in ascending order in every tile. Another variant or precision gives other bits.
func (w *Matrix) Mul(p *Pool, c []float32, ldc int, a []float32, lda, m int, e Epilogue) {
	if m == 0 {
		return
	}
	w.check(c, ldc, a, lda, m, e)
	j := p.takeMul()
	j.w, j.p, j.e = w, p, e
	j.c, j.ldc, j.a, j.lda, j.m = c, ldc, a, lda, m
	j.plan(p.Threads())
	if j.shared {
		j.packed = p.buffer(j.packedLen(m))
	}
	defer p.giveMul(j)
	p.Run(j.packs+j.blocks*j.splits, j.run)
}

func (w *Matrix) check(c []float32, ldc int, a []float32, lda, m int, e Epilogue) {
	switch {
	case m < 0 || lda < w.k || ldc < w.n:
		panic(fmt.Sprintf("kernel: Mul: m=%d lda=%d ldc=%d with W %d by %d", m, lda, ldc, w.n, w.k))
	case len(a) < (m-1)*lda+w.k:
		panic(fmt.Sprintf("kernel: Mul: a has %d floats, want %d rows %d apart", len(a), m, lda))
	case len(c) < (m-1)*ldc+w.n, e.Residual != nil && len(e.Residual) < (m-1)*ldc+w.n:
		panic(fmt.Sprintf("kernel: Mul: c or Residual has too few floats for %d rows %d apart", m, ldc))
	case e.Bias != nil && len(e.Bias) < w.n:
		panic(fmt.Sprintf("kernel: Mul: %d biases for %d columns", len(e.Bias), w.n))
	}
}

// mul is one call of Mul, cut into parts.
//
// Where there are several blocks of rows for each worker, a part is a block of rows: its worker packs
// the block into its own scratch and multiplies it by all of W. Else the parts 0 to packs-1 pack A
// into memory that all share, and the others are blocks of rows times ranges of panels. Parts are
// many more than workers, so that a worker which the system suspends holds up little.
type mul struct {
	w      *Matrix
	p      *Pool
	e      Epilogue
	c, a   []float32
	ldc    int
	lda, m int

	blocks, splits int
	shared         bool
	packs          int
	packed         []float32
	done           atomic.Int64 // packs that are done
	run            func(part, worker int)
	tiles          []tile // by worker
}

func (p *Pool) takeMul() *mul {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := len(p.muls); l > 0 {
		j := p.muls[l-1]
		p.muls = p.muls[:l-1]
		return j
	}
	j := &mul{tiles: make([]tile, p.Threads())}
	j.run = j.part
	return j
}

// giveMul keeps j for the next call, without references to what the caller owns.
func (p *Pool) giveMul(j *mul) {
	if j.packed != nil {
		p.release(j.packed)
	}
	clear(j.tiles)
	j.w, j.p, j.e, j.c, j.a, j.packed = nil, nil, Epilogue{}, nil, nil, nil
	p.mu.Lock()
	p.muls = append(p.muls, j)
	p.mu.Unlock()
}

func (j *mul) plan(threads int) {
	j.done.Store(0)
	j.blocks, j.splits, j.packs = ceil(j.m, blockRows), 1, 0
	const blocksPerThread, partsPerThread = 4, 6
	j.shared = j.blocks < blocksPerThread*threads
	if !j.shared {
		j.blocks = min(ceil(j.blocks, threads)*threads, j.m)
		return
	}
	j.packs = ceil(j.m, packRows)
	j.splits = min(j.w.panels, ceil(threads*partsPerThread, j.blocks))
}

func (j *mul) part(part, worker int) {
	if part < j.packs {
		defer j.done.Add(1) // also in a panic: others wait for it
		r := part * packRows
		j.pack(j.packed[r*aStride:], j.m, r, min(r+packRows, j.m))
		return
	}
	part -= j.packs
	block, split := part/j.splits, part%j.splits
	t := task{mul: j, t: &j.tiles[worker]}
	t.r0, t.r1 = share(j.m, j.blocks, block)
	t.p0, t.p1 = share(j.w.panels, j.splits, split)
	t.following, _ = share(j.w.panels, j.splits, min(split+j.p.Threads(), j.splits-1))
	rows := t.r1 - t.r0
	panel := ceil(rows*j.w.g.cols, panelStep) * panelStep
	own := 0
	if !j.shared {
		own = j.packedLen(rows)
	}
	scratch := j.p.Scratch(worker, own+(chunkPanels+1)*panel+j.w.g.cols)
	t.panel, t.partial, t.bias = scratch[own:][:panel], scratch[own+panel:][:chunkPanels*panel], scratch[own+(chunkPanels+1)*panel:]
	if j.shared {
		j.await()
		t.a, t.aRows = j.packed[t.r0*aStride:], j.m
	} else {
		t.a, t.aRows = scratch[:own], rows
		j.pack(t.a, rows, t.r0, t.r1)
	}
	t.multiply()
}

// await waits until A is packed. The missing packs are running: parts start in order.
func (j *mul) await() {
	for j.done.Load() < int64(j.packs) {
		runtime.Gosched()
	}
}

// packedLen is the room that rows packed rows take, with three more that the portable kernel may read.
func (j *mul) packedLen(rows int) int {
	return (ceil(j.w.units, kBlock)*rows + genericTile - 1) * aStride
}

// pack writes rows r0 to r1-1 of a to dst, block of k by block of k; the same row of the next block is
// rows rows on.
func (j *mul) pack(dst []float32, rows, r0, r1 int) {
	g := j.w.g
	for k0 := 0; k0 < j.w.units; k0 += kBlock {
		kc := min(kBlock, j.w.units-k0)
		from, to := k0, k0+kc
		if g.pairs {
			from, to = 2*from, min(2*to, j.w.k)
		}
		for r := r0; r < r1; r++ {
			g.convert(dst[(r-r0)*aStride:][:kc], j.a[r*j.lda+from:r*j.lda+to])
		}
		if k0+kc < j.w.units {
			dst = dst[rows*aStride:]
		}
	}
}

// task computes rows r0 to r1-1 of the panels p0 to p1-1.
type task struct {
	*mul
	t              *tile
	r0, r1, p0, p1 int
	following      int       // panel where this worker's next task probably begins
	a              []float32 // packed, from row r0 on
	aRows          int       // from a block of k to the next
	partial        []float32 // sums over the blocks of k so far, panel by panel of a chunk
	panel          []float32 // one panel before its activation
	bias           []float32 // one panel's, padded
}

func (t *task) multiply() {
	for c0 := t.p0; c0 < t.p1; c0 += chunkPanels {
		c1 := min(c0+chunkPanels, t.p1)
		for k0 := 0; k0 < t.w.units; k0 += kBlock {
			for p := c0; p < c1; p++ {
				t.column(k0, p, c0)
				t.prefetch(k0, p, c0, c1)
				t.rows()
				if k0+kBlock >= t.w.units && !t.direct(p) {
					t.finish(p)
				}
			}
		}
	}
}

// direct tells whether the tile functions themselves write panel p to c.
func (t *task) direct(p int) bool {
	return t.e.Activation == None && (p+1)*t.w.g.cols <= t.w.n
}

// column sets the tile up for panel p of a chunk that starts at panel c0, at its first row.
func (t *task) column(k0, p, c0 int) {
	const float = 4
	cols, rows := t.w.g.cols, t.r1-t.r0
	sum := unsafe.Pointer(unsafe.SliceData(t.partial[(p-c0)*rows*cols:]))
	stride := uintptr(cols) * float
	b := t.w.panel(k0, p)
	*t.t = tile{
		a: unsafe.Pointer(unsafe.SliceData(t.a[k0/kBlock*t.aRows*aStride:])),
		b: unsafe.Pointer(unsafe.SliceData(b)), k: uintptr(len(b) / cols),
		in: sum, inStride: stride, out: sum, outStride: stride,
	}
	if k0 == 0 {
		t.t.in, t.t.inStride = t.biases(p), 0
	}
	if k0+kBlock < t.w.units {
		return
	}
	if !t.direct(p) {
		t.t.out = unsafe.Pointer(unsafe.SliceData(t.panel))
		return
	}
	c := t.r0*t.ldc + p*cols
	t.t.out, t.t.outStride = unsafe.Pointer(&t.c[c]), uintptr(t.ldc)*float
	if t.e.Residual != nil {
		t.t.add, t.t.addStride = unsafe.Pointer(&t.e.Residual[c]), uintptr(t.ldc)*float
	}
}

// biases is the bias of panel p, nil if there is none.
func (t *task) biases(p int) unsafe.Pointer {
	if t.e.Bias == nil {
		return nil
	}
	cols := t.w.g.cols
	if b := t.e.Bias[p*cols : t.w.n]; len(b) < cols {
		clear(t.bias[copy(t.bias, b):])
		return unsafe.Pointer(unsafe.SliceData(t.bias))
	}
	return unsafe.Pointer(&t.e.Bias[p*cols])
}

// prefetch points the tile at the panel that comes after panel p.
func (t *task) prefetch(k0, p, c0, c1 int) {
	switch last := k0+kBlock >= t.w.units; {
	case p+1 < c1:
		p++
	case !last:
		k0, p = k0+kBlock, c0
	case c1 < t.p1:
		k0, p = 0, c1
	default:
		k0, p = 0, t.following
	}
	t.t.next = uintptr(unsafe.Pointer(unsafe.SliceData(t.w.panel(k0, p))))
}

// rows runs the tile functions down the rows of the panel that column has set up. Each of the first
// few tiles fetches its share of the next panel.
func (t *task) rows() {
	const line = 64
	g, rows, top := t.w.g, t.r1-t.r0, *t.t
	tiles := ceil(rows, g.rows)
	perTile := top.k / 4 * 2 * line
	fetches := int(top.k) * g.cols * 4 / max(1, int(perTile))
	for i := range tiles {
		from, to := share(rows, tiles, i)
		at := uintptr(from)
		t.t.a = unsafe.Add(top.a, at*aStride*4)
		t.t.in = unsafe.Add(top.in, at*top.inStride)
		t.t.add = unsafe.Add(top.add, at*top.addStride)
		t.t.out = unsafe.Add(top.out, at*top.outStride)
		t.t.rows, t.t.nextStep = uintptr(to-from), 0
		if i < fetches {
			t.t.next, t.t.nextStep = top.next+uintptr(i)*perTile, 2*line
		}
		g.tiles[to-from-1](t.t)
	}
}

// finish applies the epilogue to t.panel and writes it to panel p of c.
func (t *task) finish(p int) {
	switch t.e.Activation {
	case ActGELU:
		GELU(t.panel)
	case ActQuickGELU:
		QuickGELU(t.panel)
	}
	cols := t.w.g.cols
	width := min(cols, t.w.n-p*cols)
	for r := t.r0; r < t.r1; r++ {
		y := t.panel[(r-t.r0)*cols:][:width]
		at := r*t.ldc + p*cols
		if t.e.Residual != nil {
			for i, x := range t.e.Residual[at : at+width] {
				y[i] += x
			}
		}
		copy(t.c[at:at+width], y)
	}
}

func ceil(a, b int) int { return (a + b - 1) / b }

// share is the i-th of n nearly equal ranges of 0 to total-1.
func share(total, n, i int) (from, to int) { return i * total / n, (i + 1) * total / n }
