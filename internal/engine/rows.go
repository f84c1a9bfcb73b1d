package engine

import (
	"sync"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// RowPool lends rows in ordinary host memory, for engines that read their input there.
type RowPool struct {
	width, height int
	keep          int

	mu   sync.Mutex
	free map[tensor.Format][][]byte
}

// NewRowPool makes a pool of rows for images of width x height pixels that keeps the memory of up to
// keep released rows of each format for the next ones.
func NewRowPool(width, height, keep int) *RowPool {
	return &RowPool{width: width, height: height, keep: keep, free: map[tensor.Format][][]byte{}}
}

// New lends a row. Its content is undefined.
func (p *RowPool) New(f tensor.Format) tensor.Row {
	p.mu.Lock()
	defer p.mu.Unlock()
	if free := p.free[f]; len(free) > 0 {
		memory := free[len(free)-1]
		p.free[f] = free[:len(free)-1]
		return &hostRow{pool: p, format: f, memory: memory}
	}
	return &hostRow{pool: p, format: f, memory: tensor.AlignedBytes(f.Size(p.width, p.height))}
}

// Drop frees what the pool keeps and makes it keep nothing more; rows that are lent stay usable.
func (p *RowPool) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.free)
	p.keep = 0
}

func (p *RowPool) giveBack(f tensor.Format, memory []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free[f]) < p.keep {
		p.free[f] = append(p.free[f], memory)
	}
}

// hostRow is made anew for each loan, so that a late second Release cannot free somebody else's memory.
type hostRow struct {
	pool   *RowPool
	format tensor.Format
	memory []byte
}

func (r *hostRow) Format() tensor.Format { return r.format }
func (r *hostRow) Bytes() []byte         { return r.memory }

func (r *hostRow) Release() {
	if r.memory == nil {
		return
	}
	memory := r.memory
	r.memory = nil
	r.pool.giveBack(r.format, memory)
}
