package cuda

import (
	"errors"
	"sync"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// rowPool lends rows in pinned memory, which the device reads where they lie. Pinning is slow, so memory
// is pinned in slabs and kept until the engine closes.
type rowPool struct {
	gpu  driver.GPU
	size int // of an image, pixels

	mu     sync.Mutex
	free   map[tensor.Format][][]byte
	slabs  [][]byte
	closed bool
}

// slabBytes is about what one allocation pins.
const slabBytes = 8 << 20

func newRowPool(g driver.GPU, size int) *rowPool {
	return &rowPool{gpu: g, size: size, free: map[tensor.Format][][]byte{}}
}

// new lends a row. Its content is undefined.
func (p *rowPool) new(f tensor.Format) (*row, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, engine.ErrClosed()
	}
	if len(p.free[f]) == 0 {
		if err := p.grow(f); err != nil {
			return nil, err
		}
	}
	free := p.free[f]
	memory := free[len(free)-1]
	p.free[f] = free[:len(free)-1]
	return &row{pool: p, format: f, memory: memory}, nil
}

// grow pins a slab of rows.
func (p *rowPool) grow(f tensor.Format) error {
	bytes := f.Size(p.size, p.size)
	each := ceil(bytes, alignment) * alignment
	count := max(1, slabBytes/each)
	var slab []byte
	err := driver.Do(p.gpu, func() (err error) {
		slab, err = p.gpu.AllocHost(each * count)
		return err
	})
	if driver.CodeOf(err) == driver.OutOfMemory {
		return fault.Wrap(fault.Exhausted, err, "no pinned memory for a row")
	}
	if err != nil {
		return runFault(err)
	}
	p.slabs = append(p.slabs, slab)
	for i := range count {
		p.free[f] = append(p.free[f], slab[i*each:][:bytes:bytes])
	}
	return nil
}

// close frees all memory; rows that are lent become invalid.
func (p *rowPool) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	clear(p.free)
	for _, s := range p.slabs {
		err = errors.Join(err, p.gpu.FreeHost(s))
	}
	p.slabs = nil
	return err
}

func (p *rowPool) giveBack(f tensor.Format, memory []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.free[f] = append(p.free[f], memory)
	}
}

// row is made anew for each loan, so that a late second Release cannot free somebody else's memory.
type row struct {
	pool   *rowPool
	format tensor.Format
	memory []byte
}

func (r *row) Format() tensor.Format { return r.format }
func (r *row) Bytes() []byte         { return r.memory }

func (r *row) Release() {
	if r.memory == nil {
		return
	}
	memory := r.memory
	r.memory = nil
	r.pool.giveBack(r.format, memory)
}
