// Package watch shows a running measurement: a few lines that redraw themselves on a terminal, plain lines
// elsewhere. It reads counters and touches nothing of what is measured.
package watch

import (
	"math"
	"sync/atomic"
	"time"
)

// buckets of a meter are a twentieth of an octave wide, from 1 µs on: a quantile is right within 2 %,
// which is enough for a screen. Records hold the exact times.
const (
	perOctave = 20
	octaves   = 32
)

// Meter counts requests as they are answered. It is safe for concurrent use and takes no lock.
type Meter struct {
	done, failed, images, inFlight atomic.Int64
	buckets                        [perOctave * octaves]atomic.Int64
}

// Sent counts a request that is on its way.
func (m *Meter) Sent() { m.inFlight.Add(1) }

// Answered counts a request that was on its way and is no more.
func (m *Meter) Answered(latency time.Duration, images int, ok bool) {
	m.inFlight.Add(-1)
	if !ok {
		m.failed.Add(1)
		return
	}
	m.done.Add(1)
	m.images.Add(int64(images))
	m.buckets[bucket(latency)].Add(1)
}

func bucket(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	return min(int(perOctave*math.Log2(float64(d)/float64(time.Microsecond))), perOctave*octaves-1)
}

// Counts is a meter's state.
type Counts struct {
	Done, Failed, Images, InFlight int64
	P50, P99                       time.Duration
}

// Read is the state now; its numbers may be a request apart.
func (m *Meter) Read() Counts {
	c := Counts{Done: m.done.Load(), Failed: m.failed.Load(), Images: m.images.Load(), InFlight: m.inFlight.Load()}
	c.P50, c.P99 = m.quantile(0.5), m.quantile(0.99)
	return c
}

func (m *Meter) quantile(q float64) time.Duration {
	var counts [perOctave * octaves]int64
	total := int64(0)
	for i := range m.buckets {
		counts[i] = m.buckets[i].Load()
		total += counts[i]
	}
	rank := int64(math.Ceil(q * float64(total)))
	for i, n := range counts {
		if rank -= n; rank <= 0 && total > 0 {
			return time.Duration(float64(time.Microsecond) * math.Exp2((float64(i)+0.5)/perOctave))
		}
	}
	return 0
}
