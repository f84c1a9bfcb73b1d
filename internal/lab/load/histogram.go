package load

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Values below 2^subBits ns are exact; above, each power of two is cut into 2^subBits buckets, so that a
// quantile is right within 1/128.
const (
	subBits = 7
	sub     = 1 << subBits
	rows    = 42 - subBits // up to 2^42 ns, 73 minutes
)

// histogram counts durations without locks.
type histogram struct {
	counts [(rows + 1) * sub]atomic.Uint32
	most   atomic.Int64
}

func (h *histogram) add(ns int64) {
	h.counts[bucketOf(ns)].Add(1)
	raise(&h.most, ns)
}

func bucketOf(ns int64) int {
	if ns < sub {
		return int(max(0, ns))
	}
	shift := bits.Len64(uint64(ns)) - subBits - 1
	if shift >= rows {
		return (rows+1)*sub - 1
	}
	return (shift+1)*sub + int(ns>>shift) - sub
}

// middle is the middle of a bucket.
func middle(i int) time.Duration {
	if i < sub {
		return time.Duration(i)
	}
	shift := i/sub - 1
	return time.Duration(int64(sub+i%sub)<<shift + int64(1)<<shift/2)
}

// quantile is the value at or below which a share q of the values lies; 0 without values.
func (h *histogram) quantile(q float64) time.Duration {
	total := uint64(0)
	for i := range h.counts {
		total += uint64(h.counts[i].Load())
	}
	if total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(total)), total-1)
	for i := range h.counts {
		n := uint64(h.counts[i].Load())
		if rank < n {
			return min(middle(i), time.Duration(h.most.Load()))
		}
		rank -= n
	}
	return time.Duration(h.most.Load())
}
