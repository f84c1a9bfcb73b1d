package batcher

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// Stats is what the batcher has done and is doing.
type Stats struct {
	Queued      int // parts that wait
	QueuedRows  int
	Running     int // executions under way
	RunningRows int

	Executions uint64 // batches that ran, failed ones included
	Failed     uint64 // of these, those that failed
	Rows       uint64 // rows of all batches that ran
	Refused    uint64 // parts that found the queue full
	TimedOut   uint64 // parts whose time in the queue ran out
	Abandoned  uint64 // parts whose submitter went away

	// Sizes holds the executions by size, sizes that never ran left out, in ascending order.
	Sizes []SizeStats
}

// SizeStats are the executions of one batch size; the timings are sums over those that succeeded.
type SizeStats struct {
	Size       int
	Executions uint64
	Timings    engine.Timings
}

// counters are Stats as the batcher keeps them; the batcher's lock guards them.
type counters struct {
	running, runningRows         int
	executions, failed, rows     uint64
	refused, timedOut, abandoned uint64
	sizes                        []SizeStats // by size
	perRow                       time.Duration
}

func newCounters(largest int) counters {
	return counters{sizes: make([]SizeStats, largest+1)}
}

// add counts a batch that ran.
func (c *counters) add(w *batch, size int) {
	c.executions++
	c.rows += uint64(size)
	if w.err != nil {
		c.failed++
	}
	s := &c.sizes[size]
	s.Executions++
	s.Timings.Input += w.timings.Input
	s.Timings.Compute += w.timings.Compute
	s.Timings.Output += w.timings.Output
	c.measure(w.elapsed / time.Duration(size))
}

// measure keeps an exponential average of the time a row takes in a batch; the newest batch counts
// an eighth, so that about the last ten decide.
func (c *counters) measure(perRow time.Duration) {
	if c.perRow == 0 {
		c.perRow = perRow
		return
	}
	c.perRow += (perRow - c.perRow) / 8
}

// Bounds of what a refused client is told to wait: never at once, never so long that it gives up.
const (
	minBacklog     = time.Millisecond
	maxBacklog     = time.Minute
	unknownBacklog = time.Second // nothing has run yet
)

// backlog estimates how long the engine needs for what waits and runs now, from the measured time of
// a row and the number of instances. The lock is held.
func (b *Batcher) backlog() time.Duration {
	if b.stats.perRow == 0 {
		return unknownBacklog
	}
	rows := time.Duration(b.queue.rows + b.stats.runningRows)
	return min(max(rows*b.stats.perRow/time.Duration(b.spec.InFlight), minBacklog), maxBacklog)
}

// Stats returns a consistent copy.
func (b *Batcher) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.stats
	s := Stats{
		Queued: b.queue.parts, QueuedRows: b.queue.rows,
		Running: c.running, RunningRows: c.runningRows,
		Executions: c.executions, Failed: c.failed, Rows: c.rows,
		Refused: c.refused, TimedOut: c.timedOut, Abandoned: c.abandoned,
	}
	for size := range c.sizes {
		if e := c.sizes[size]; e.Executions > 0 {
			e.Size = size
			s.Sizes = append(s.Sizes, e)
		}
	}
	return s
}

// QueueDepth is the number of parts that wait.
func (b *Batcher) QueueDepth() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.parts
}

// MaxBatch is the largest batch in rows.
func (b *Batcher) MaxBatch() int { return b.cfg.MaxBatchSize }
