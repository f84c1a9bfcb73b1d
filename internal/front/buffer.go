package front

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// budget bounds the memory of all request bodies together.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// Buffers come in powers of two from 16 KiB; larger than the largest class is left to the collector.
const (
	smallestClass = 14
	largestClass  = 28
)

type bufferPool struct {
	classes [largestClass + 1]sync.Pool
}

func class(n int64) int { return max(smallestClass, bits.Len64(uint64(max(n, 1)-1))) }

// classSize is the capacity of a buffer for n bytes.
func classSize(n int64) int { return 1 << class(n) }

// get returns a buffer of length 0 and a capacity of classSize(n).
func (p *bufferPool) get(n int64) *[]byte {
	c := class(n)
	if c <= largestClass {
		if b, ok := p.classes[c].Get().(*[]byte); ok {
			return b
		}
	}
	b := make([]byte, 0, 1<<c)
	return &b
}

// put takes a buffer back; one that append has grown goes to the class that it fills.
func (p *bufferPool) put(b *[]byte) {
	c := bits.Len64(uint64(cap(*b))) - 1
	if c < smallestClass || c > largestClass {
		return
	}
	*b = (*b)[:0]
	p.classes[c].Put(b)
}
