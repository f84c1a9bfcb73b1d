package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// When a measurement is not to be trusted.
const (
	// LateShare is how large the lateness of one request in a hundred may be, as a share of the median
	// latency, before the harness itself is in the figures.
	LateShare = 0.1
	// LateFloor is lateness that never matters: what a timer is worth on an ordinary system.
	LateFloor = 250 * time.Microsecond
	// BusyShare is how much of all processors that it may use the harness may take in an open loop.
	BusyShare = 0.9
)

// machine is this process's use of the machine.
type machine struct {
	cpu   time.Duration
	pause time.Duration
}

func readMachine() machine {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return machine{cpu: processorTime(), pause: time.Duration(m.PauseTotalNs)}
}

func (m machine) minus(before machine) machine {
	return machine{m.cpu - before.cpu, m.pause - before.pause}
}

func (r *run) summary(used machine) Summary {
	s := Summary{
		Sent: int(r.sent.Load()), OK: int(r.ok.Load()), Failed: int(r.fails.Load()), TimedOut: int(r.timedOut.Load()),
		Images: int(r.images.Load()), Workers: int(r.ids.Load()), BytesOut: r.bytesOut.Load(), BytesIn: r.bytesIn.Load(),
		P50: r.latency.quantile(0.5), P99: r.latency.quantile(0.99), Max: time.Duration(r.latency.most.Load()),
		FirstFail: r.firstText(),
	}
	s.Elapsed = max(0, time.Duration(r.lastDone.Load()-r.start))
	if r.end > 0 && r.ctx.Err() == nil && (r.MaxRequests == 0 || s.Sent < r.MaxRequests) {
		s.Elapsed = max(s.Elapsed, r.Duration) // the time was waited for, whether or not something was due at its end
	}
	s.Harness = record.Harness{CPU: used.cpu, GCPauseTotal: used.pause, Unsent: int(r.unsent.Load())}
	if r.open {
		s.Harness.LatenessP50, s.Harness.LatenessP99 = r.late.quantile(0.5), r.late.quantile(0.99)
		s.Harness.LatenessMax = time.Duration(r.late.most.Load())
	}
	s.Status, s.Reasons = r.verdict(&s)
	return s
}

// verdict is a status and its reasons: what failed comes before what cannot be trusted.
func (r *run) verdict(s *Summary) (status string, reasons []string) {
	stopped := context.Cause(r.ctx)
	if stopped != nil && !errors.Is(stopped, context.Canceled) {
		return record.Failed, []string{stopped.Error()}
	}
	switch {
	case stopped != nil && s.OK == 0:
		return record.Failed, []string{interrupted}
	case stopped != nil: // what was measured until then stands in the record, and is not the cell's figure
		return record.Invalid, []string{interrupted}
	case s.Sent == 0 && s.Harness.Unsent == 0:
		return record.Failed, []string{"no request was due"}
	case s.OK == 0 && s.TimedOut > 0:
		return record.Timeout, []string{fmt.Sprintf("none of %d requests was answered in time", s.Sent)}
	case s.OK == 0:
		return record.Failed, []string{fmt.Sprintf("all %d requests failed: %s", s.Sent, s.FirstFail)}
	}
	if reasons = r.doubts(s); len(reasons) > 0 {
		return record.Invalid, reasons
	}
	return record.OK, nil
}

// interrupted is the reason of a measurement that was asked to end early.
const interrupted = "stopped before its end"

// doubts are the reasons for which the harness, and not the server, may have made the figures.
func (r *run) doubts(s *Summary) (reasons []string) {
	if !r.open {
		return nil
	}
	h := &s.Harness
	if h.Unsent > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d requests were never sent%s", h.Unsent, h.Unsent+s.Sent, r.limit()))
	}
	if bound := max(LateFloor, time.Duration(LateShare*float64(s.P50))); h.LatenessP99 > bound {
		reasons = append(reasons, fmt.Sprintf("requests were sent late: p99 %v, more than %v (%.0f %% of the median latency)%s",
			h.LatenessP99.Round(time.Microsecond), bound.Round(time.Microsecond), 100*LateShare, r.limit()))
	}
	shared, _ := r.Target.(interface{ SharesProcess() bool })
	if share := h.CPU.Seconds() / (s.Elapsed.Seconds() * float64(runtime.GOMAXPROCS(0))); share > BusyShare && (shared == nil || !shared.SharesProcess()) {
		reasons = append(reasons, fmt.Sprintf("the harness took %.0f %% of its processors", 100*share))
	}
	return reasons
}

// limit says that connections were too few or were refused.
func (r *run) limit() string {
	switch {
	case r.full.Load():
		return fmt.Sprintf("; all %d connections were in use: the server is slower than the rate", r.MaxWorkers)
	case r.refused.Load() > 0:
		return fmt.Sprintf("; %d connections could not be opened", r.refused.Load())
	}
	return ""
}
