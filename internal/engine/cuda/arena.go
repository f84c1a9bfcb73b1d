package cuda

import (
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// arena is the working memory of one run, planned once for the largest batch: no run allocates.
type arena struct {
	memory driver.Pointer
	bytes  int
	pinned []byte // the table of rows, then the embeddings
	dim    int

	x      view           // [tokens, width] the residual stream
	h      view           // [tokens, width] what attention gives
	narrow view           // [tokens, width] the residual stream as E4M3, in fp8 only
	wide   view           // one after the other: patches, query-key-value, the MLP's hidden layer
	query  view           // [images, width] of the class tokens in the last block
	class  view           // [images, width] the residual stream of the class tokens in the last block
	sums   driver.Pointer // [tokens][parts] of x's rows

	outputs int // where the embeddings begin in pinned
}

// smallestPart is the fewest columns that a partial sum of a row covers (gemm.go).
const smallestPart = 24

func newArena(g driver.GPU, w *weights, precision engine.Precision, batch int) (*arena, error) {
	c := &w.config
	tokens, size := batch*c.Tokens(), elementSize(precision)
	a := &arena{dim: c.EmbedDim}
	place := func(bytes int) driver.Pointer {
		at := (a.bytes + alignment - 1) / alignment * alignment
		a.bytes = at + bytes
		return driver.Pointer(at)
	}
	matrix := func(rows, columns int) view {
		return view{place(rows * columns * size), rows, columns, size}
	}
	a.x, a.h = matrix(tokens, c.Width), matrix(tokens, c.Width)
	if precision == engine.FP8 {
		a.narrow = view{place(tokens * c.Width), tokens, c.Width, 1}
	}
	a.wide = matrix(tokens, max(w.patchWidth, 3*c.Width, c.MLP))
	a.query, a.class = matrix(batch, c.Width), matrix(batch, c.Width)
	a.sums = place(tokens * ceil(c.Width, smallestPart) * 8)
	var pinned int
	a.outputs, pinned = exchange(batch, c.EmbedDim)

	var err error
	if a.memory, err = g.Alloc(a.bytes); err != nil {
		return nil, outOfMemory(g, err, "activations of a batch", a.bytes)
	}
	if a.pinned, err = g.AllocHost(pinned); err != nil {
		return nil, errors.Join(err, g.Free(a.memory))
	}
	for _, p := range []*driver.Pointer{&a.x.at, &a.h.at, &a.narrow.at, &a.wide.at, &a.query.at, &a.class.at, &a.sums} {
		*p += a.memory
	}
	return a, nil
}

// exchange is where the embeddings begin in an arena's pinned memory, behind the table of rows, and the size of both.
func exchange(batch, dim int) (outputs, bytes int) {
	outputs = ceil(tableHeader+8*batch, alignment) * alignment
	return outputs, outputs + 4*batch*dim
}

func (a *arena) close(g driver.GPU) error { return errors.Join(g.Free(a.memory), g.FreeHost(a.pinned)) }

// hiddenFor is a matrix in the wide memory that a layer will read.
func (a *arena) hiddenFor(l linear, rows int) view { return view{a.wide.at, rows, l.k, l.size} }

// hidden is a matrix in the wide memory; the last one ends where the next begins.
func (a *arena) hidden(rows, columns int) view { return view{a.wide.at, rows, columns, a.wide.size} }

func (a *arena) tableAt() driver.Pointer { return driver.Address(a.pinned) }

// embeddings is where the device writes them: in pinned memory.
func (a *arena) embeddings(n int) view {
	return view{driver.Address(a.pinned) + driver.Pointer(a.outputs), n, a.dim, 4}
}

func (a *arena) embedding(i int) []float32 {
	return tensor.Float32s(a.pinned[a.outputs+4*i*a.dim:][:4*a.dim])
}

// outOfMemory says what was needed and what there is.
func outOfMemory(g driver.GPU, err error, what string, bytes int) error {
	if driver.CodeOf(err) != driver.OutOfMemory {
		return err
	}
	free, total, infoErr := g.MemoryInfo()
	if infoErr != nil {
		return errors.Join(err, infoErr)
	}
	return fmt.Errorf("%s need %d MiB on the device, where %d of %d MiB are free: %w", what, bytes>>20, free>>20, total>>20, err)
}
