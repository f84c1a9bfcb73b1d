package host

import (
	"runtime/debug"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Usage is what this process used.
type Usage struct {
	CPU     time.Duration // processor time, user and system
	GCPause time.Duration // for which the garbage collector stopped it
	GCs     int64
}

// Sampler measures this process from its start on.
type Sampler struct{ start Usage }

// StartSampler begins to measure.
func StartSampler() *Sampler { return &Sampler{start: usage()} }

// Since is what was used since the start.
func (s *Sampler) Since() Usage {
	now := usage()
	return Usage{CPU: now.CPU - s.start.CPU, GCPause: now.GCPause - s.start.GCPause, GCs: now.GCs - s.start.GCs}
}

// Into puts it into a cell's account of the instrument.
func (s *Sampler) Into(h *record.Harness) {
	u := s.Since()
	h.CPU, h.GCPauseTotal = u.CPU, u.GCPause
}

func usage() Usage {
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	return Usage{CPU: processorTime(), GCPause: gc.PauseTotal, GCs: gc.NumGC}
}
