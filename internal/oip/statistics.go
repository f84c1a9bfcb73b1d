package oip

import (
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// Duration is a counter of Triton's: how often, and how long all together.
type Duration struct {
	Count uint64 `json:"count"`
	Ns    uint64 `json:"ns"`
}

func (d *Duration) add(t time.Duration) {
	d.Count++
	d.Ns += uint64(max(t, 0))
}

// InferStats are the counters of a model's requests.
type InferStats struct {
	Success       Duration `json:"success"`
	Fail          Duration `json:"fail"`
	Queue         Duration `json:"queue"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
	CacheHit      Duration `json:"cache_hit"`
	CacheMiss     Duration `json:"cache_miss"`
}

// BatchStats are the counters of the executions of one batch size.
type BatchStats struct {
	BatchSize     uint64   `json:"batch_size"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
}

// Statistics are the counters of one version of a model since it was loaded.
type Statistics struct {
	LastInference  uint64 // ms since 1970; 0 if there was none
	InferenceCount uint64 // items
	ExecutionCount uint64 // batches
	Infer          InferStats
	Batches        []BatchStats // ascending sizes
}

// Recorder keeps a model's Statistics; the zero value is ready.
type Recorder struct {
	mu     sync.Mutex
	s      Statistics
	recent [16]time.Time // ends of the latest executions, by which one is known from another
	next   int
}

// Success counts a request of n items by the stamps of its timeline. Requests that ran in one
// execution share its stamps, and count it once.
func (c *Recorder) Success(line *telemetry.Timeline, n int, total time.Duration) {
	queue := line.Between(telemetry.Queued, telemetry.Batched)
	input := line.Between(telemetry.Batched, telemetry.InputReady)
	infer := line.Between(telemetry.InputReady, telemetry.Computed)
	output := line.Between(telemetry.Computed, telemetry.OutputReady)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.s
	s.LastInference = uint64(time.Now().UnixMilli())
	s.InferenceCount += uint64(n)
	s.Infer.Success.add(total)
	s.Infer.Queue.add(queue)
	s.Infer.ComputeInput.add(input)
	s.Infer.ComputeInfer.add(infer)
	s.Infer.ComputeOutput.add(output)
	if !c.fresh(line.At[telemetry.Computed]) {
		return
	}
	s.ExecutionCount++
	b := s.batch(uint64(max(line.BatchSize, 1)))
	b.ComputeInput.add(input)
	b.ComputeInfer.add(infer)
	b.ComputeOutput.add(output)
}

// fresh tells whether an execution that ended at t has not been counted yet.
func (c *Recorder) fresh(t time.Time) bool {
	if t.IsZero() {
		return true
	}
	for _, seen := range c.recent {
		if seen.Equal(t) {
			return false
		}
	}
	c.recent[c.next] = t
	c.next = (c.next + 1) % len(c.recent)
	return true
}

// batch returns the counters of a size, in their place.
func (s *Statistics) batch(size uint64) *BatchStats {
	i := 0
	for ; i < len(s.Batches) && s.Batches[i].BatchSize < size; i++ {
	}
	if i == len(s.Batches) || s.Batches[i].BatchSize != size {
		s.Batches = append(s.Batches, BatchStats{})
		copy(s.Batches[i+1:], s.Batches[i:])
		s.Batches[i] = BatchStats{BatchSize: size}
	}
	return &s.Batches[i]
}

// Failure counts a request that failed.
func (c *Recorder) Failure(total time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Infer.Fail.add(total)
}

// Statistics returns a consistent copy.
func (c *Recorder) Statistics() Statistics {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Batches = append([]BatchStats{}, c.s.Batches...)
	return s
}
