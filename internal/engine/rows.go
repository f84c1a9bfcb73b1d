package engine

import (
	"slices"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// HostFormats are the formats of engines that read rows in host memory and normalise them there, the
// cheapest first.
func HostFormats() []tensor.Format {
	return []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW}
}

// RowPool lends rows in ordinary host memory, for engines that read their input there. Its NewRow is that
// of the Engine contract.
type RowPool struct {
	width, height int
	formats       []tensor.Format

	mu     sync.Mutex
	free   map[tensor.Format][][]byte
	keep   int
	closed bool
}

// NewRowPool makes a pool of rows in these formats for images of width x height pixels. It keeps the memory
// of up to keep released rows of each format for the next ones.
func NewRowPool(width, height, keep int, formats ...tensor.Format) *RowPool {
	return &RowPool{width: width, height: height, keep: keep, formats: formats, free: map[tensor.Format][][]byte{}}
}

// NewRow lends a row. Its content is undefined.
func (p *RowPool) NewRow(f tensor.Format) (tensor.Row, error) {
	if !slices.Contains(p.formats, f) {
		return nil, fault.New(fault.Invalid, "no row of format %v: the engine takes %v", f, p.formats)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed()
	}
	if free := p.free[f]; len(free) > 0 {
		memory := free[len(free)-1]
		p.free[f] = free[:len(free)-1]
		return &hostRow{pool: p, format: f, memory: memory}, nil
	}
	return &hostRow{pool: p, format: f, memory: tensor.AlignedBytes(f.Size(p.width, p.height))}, nil
}

// Close frees what the pool keeps; it lends nothing more. Rows that are lent stay usable.
func (p *RowPool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
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
