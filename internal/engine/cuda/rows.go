package cuda

import (
	"errors"
	"slices"
	"sync"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// rowPool lends rows in pinned memory, which the device reads where they lie. Pinning is slow, so memory
// is pinned in slabs and kept until the engine closes, or until rows of another format need its room.
type rowPool struct {
	gpu   driver.GPU
	size  int   // of an image, pixels
	limit int64 // of all slabs, bytes: pinned memory cannot be swapped out

	mu     sync.Mutex
	free   map[tensor.Format][]*slot
	slabs  []*slab
	pinned int64
	closed bool
}

// slab is one pinned allocation of rows of a format.
type slab struct {
	memory []byte
	format tensor.Format
	lent   int
}

// slot is a row's memory.
type slot struct {
	slab   *slab
	memory []byte
}

// slabBytes is about what one allocation pins.
const slabBytes = 8 << 20

func newRowPool(g driver.GPU, size int, limit int64) *rowPool {
	return &rowPool{gpu: g, size: size, limit: limit, free: map[tensor.Format][]*slot{}}
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
	s := free[len(free)-1]
	p.free[f] = free[:len(free)-1]
	s.slab.lent++
	return &row{pool: p, format: f, slot: s}, nil
}

// rowBytes is what a row takes of a slab.
func rowBytes(f tensor.Format, size int) int { return ceil(f.Size(size, size), alignment) * alignment }

// grow pins a slab of rows, or as many as there is room for.
func (p *rowPool) grow(f tensor.Format) error {
	bytes, each := f.Size(p.size, p.size), rowBytes(f, p.size)
	count := max(1, slabBytes/each)
	if err := p.makeRoom(int64(each * count)); err != nil {
		return err
	}
	count = int(min(int64(count), (p.limit-p.pinned)/int64(each)))
	if count < 1 {
		return fault.New(fault.Exhausted, "images of requests under way hold %d of the %d MiB of host memory that may be pinned for the GPU; try again later",
			p.pinned>>20, p.limit>>20)
	}
	s := &slab{format: f}
	err := driver.Do(p.gpu, func() (err error) {
		s.memory, err = p.gpu.AllocHost(each * count)
		return err
	})
	if driver.CodeOf(err) == driver.OutOfMemory {
		return fault.Wrap(fault.Exhausted, err, "no pinned memory for a row")
	}
	if err != nil {
		return runFault(err)
	}
	p.slabs = append(p.slabs, s)
	p.pinned += int64(len(s.memory))
	for i := range count {
		p.free[f] = append(p.free[f], &slot{s, s.memory[i*each:][:bytes:bytes]})
	}
	return nil
}

// makeRoom gives slabs back that nobody uses, as far as that many bytes do not fit in beside them. They are of other
// formats: of this one there is nothing free.
func (p *rowPool) makeRoom(bytes int64) (err error) {
	for i := 0; i < len(p.slabs) && p.pinned+bytes > p.limit; {
		s := p.slabs[i]
		if s.lent > 0 {
			i++
			continue
		}
		if err := driver.Do(p.gpu, func() error { return p.gpu.FreeHost(s.memory) }); err != nil {
			return runFault(err)
		}
		p.slabs = slices.Delete(p.slabs, i, i+1)
		p.pinned -= int64(len(s.memory))
		p.free[s.format] = slices.DeleteFunc(p.free[s.format], func(o *slot) bool { return o.slab == s })
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
		err = errors.Join(err, p.gpu.FreeHost(s.memory))
	}
	p.slabs, p.pinned = nil, 0
	return err
}

func (p *rowPool) giveBack(f tensor.Format, s *slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		s.slab.lent--
		p.free[f] = append(p.free[f], s)
	}
}

// row is made anew for each loan, so that a late second Release cannot free somebody else's memory.
type row struct {
	pool   *rowPool
	format tensor.Format
	slot   *slot
}

func (r *row) Format() tensor.Format { return r.format }

func (r *row) Bytes() []byte {
	if r.slot == nil {
		return nil
	}
	return r.slot.memory
}

func (r *row) Release() {
	if r.slot == nil {
		return
	}
	s := r.slot
	r.slot = nil
	r.pool.giveBack(r.format, s)
}
