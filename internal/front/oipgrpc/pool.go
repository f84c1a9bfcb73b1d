package oipgrpc

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// Buffers come in powers of two from 4 KiB to 256 MiB; larger ones are left to the collector.
const (
	smallestClass = 12
	largestClass  = 28
)

// pool keeps message buffers. The transport's own pool knows no size between 32 KiB and 1 MiB.
type pool struct {
	classes [largestClass + 1]sync.Pool
}

var _ mem.BufferPool = (*pool)(nil)

// buffers serves all servers of the process.
var buffers pool

// Get returns a buffer of length n with any content.
func (p *pool) Get(n int) *[]byte {
	c := max(smallestClass, bits.Len(uint(max(n, 1)-1)))
	if c > largestClass {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[c].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<c)
	return &b
}

// Put takes a buffer back; one that append has grown goes to the class that it fills.
func (p *pool) Put(b *[]byte) {
	c := bits.Len(uint(cap(*b))) - 1
	if c >= smallestClass && c <= largestClass {
		p.classes[c].Put(b)
	}
}
