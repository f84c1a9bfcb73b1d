package record

import (
	"sync"
	"sync/atomic"
)

// blockSize is how many requests a log collects before it takes another block: 35 kB, so that a
// thousand workers stay small.
const blockSize = 256

// wakeAfter is how many full blocks may wait before the writer is woken ahead of its second.
const wakeAfter = 64

// block is filled by one worker and read by the writer as far as n says.
type block struct {
	n    atomic.Int32
	next atomic.Pointer[block]
	list [blockSize]Request
}

// RequestLog collects the requests of one worker in one cell. It belongs to one goroutine: Add takes no
// lock (a short one each 256 requests) and, once blocks circulate, no memory.
type RequestLog struct {
	w      *Writer
	cell   int
	last   *block // being filled
	filled int
	closed atomic.Bool

	// The writer's, under Writer.mu.
	first *block
	taken int
}

// Add records r. It never blocks and never fails: what the file could not take is the writer's error.
func (l *RequestLog) Add(r Request) {
	if l.filled == blockSize {
		next := l.w.blocks.get()
		l.last.next.Store(next)
		l.last, l.filled = next, 0
		l.w.full()
	}
	l.last.list[l.filled] = r
	l.filled++
	l.last.n.Store(int32(l.filled))
}

// Close says that nothing more will be added. It must be called by the goroutine that added, or after it.
func (l *RequestLog) Close() { l.closed.Store(true) }

// take moves what was added since the last time to dst, at most as many as dst has room for. more tells
// that something may be left.
func (l *RequestLog) take(dst []Request) (_ []Request, more bool) {
	for {
		b := l.first
		// Next is read before n: a block that has a successor is full.
		next := b.next.Load()
		n := min(int(b.n.Load()), l.taken+cap(dst)-len(dst))
		dst = append(dst, b.list[l.taken:n]...)
		l.taken = n
		if n < blockSize || next == nil {
			return dst, len(dst) == cap(dst)
		}
		l.first, l.taken = next, 0
		l.w.blocks.put(b)
	}
}

// blockPool keeps blocks for reuse; unlike sync.Pool it survives garbage collections.
type blockPool struct {
	mu   sync.Mutex
	free []*block
}

func (p *blockPool) get() *block {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return new(block)
	}
	b := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return b
}

func (p *blockPool) put(b *block) {
	b.n.Store(0)
	b.next.Store(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b)
}
