package oipgrpc

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"google.golang.org/grpc/mem"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// budget bounds the memory of all messages: what the transport has received of them, and what is copied
// of them to lie in one place. It is the transport's buffer pool, so it sees bytes as they arrive, before a
// message is whole.
type budget struct {
	limit   int64
	used    atomic.Int64
	sought  atomic.Int64                // when forgotten buffers were last looked for, in nanoseconds
	classes [largestClass + 1]sync.Pool // of *lease
}

var _ mem.BufferPool = (*budget)(nil)

// newBudget is one of limit bytes, but at least what the largest message needs: its bytes and a copy.
func newBudget(limit int64, maxMessage int) *budget {
	return &budget{limit: max(limit, 2*int64(1)<<bits.Len(uint(maxMessage)))}
}

// full tells whether what has arrived so far leaves no room for another call. If so the collector looks
// for buffers that the transport forgot, once a second at most: with all calls refused nothing else
// would make it run for two minutes.
func (b *budget) full() bool {
	if b.used.Load() < b.limit {
		return false
	}
	now, last := time.Now().UnixNano(), b.sought.Load()
	if now-last >= int64(time.Second) && b.sought.CompareAndSwap(last, now) {
		go runtime.GC()
	}
	return true
}

// take asks for n bytes; give returns them.
func (b *budget) take(n int64) error {
	if b.used.Add(n) > b.limit {
		b.give(n)
		return b.exhausted()
	}
	return nil
}

func (b *budget) give(n int64) { b.used.Add(-n) }

func (b *budget) exhausted() error {
	return fault.New(fault.Exhausted, "messages hold %d of the %d bytes that the server allows them; try again later", b.used.Load(), b.limit)
}

// lease is a buffer of the transport. The transport forgets the buffers of a call that is cancelled
// half way instead of returning them: then the collector finds the lease and its bytes are given back.
type lease struct {
	bytes []byte // first: the transport has its address and no other
	state *leaseState
}

type leaseState struct {
	budget *budget
	size   int64
	held   atomic.Bool
}

func (s *leaseState) end() {
	if s.held.CompareAndSwap(true, false) {
		s.budget.give(s.size)
	}
}

// Get implements mem.BufferPool.
func (b *budget) Get(n int) *[]byte {
	c := max(smallestClass, bits.Len(uint(max(n, 1)-1)))
	var l *lease
	if c <= largestClass {
		l, _ = b.classes[c].Get().(*lease)
	}
	if l == nil {
		size := n
		if c <= largestClass {
			size = 1 << c
		}
		l = &lease{make([]byte, size), &leaseState{budget: b, size: int64(size)}}
		runtime.AddCleanup(l, (*leaseState).end, l.state)
	}
	l.state.held.Store(true)
	b.used.Add(l.state.size)
	l.bytes = l.bytes[:n]
	return &l.bytes
}

// Put implements mem.BufferPool; p is of Get.
func (b *budget) Put(p *[]byte) {
	l := (*lease)(unsafe.Pointer(p))
	l.state.end()
	if c := bits.Len64(uint64(l.state.size)) - 1; c <= largestClass && l.state.size == 1<<c {
		b.classes[c].Put(l)
	}
}
