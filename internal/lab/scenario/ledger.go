package scenario

import (
	"slices"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/load"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// ledger keeps the latencies of a cell beside its record: verdicts that need exact ones cannot wait for the
// record to be read.
type ledger struct {
	log   *record.Writer
	cell  int
	mu    sync.Mutex
	pages []*page
}

// page is one worker's part.
type page struct {
	*record.RequestLog
	latencies []time.Duration // from due, of measured requests that succeeded
	busy      time.Duration   // from sent to done, together
	between   time.Duration   // from done to the next sent, together
	last      int64           // done of the measured request before; 0 is none
	warm      bool            // warm-up requests were sent
}

// worker makes a worker's log.
func (l *ledger) worker() load.Log {
	p := &page{RequestLog: l.log.Requests(l.cell)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages = append(l.pages, p)
	return p
}

// Add records a request.
func (p *page) Add(q record.Request) {
	p.RequestLog.Add(q)
	if q.Warmup {
		p.warm = true
		return
	}
	if p.last > 0 {
		p.between += time.Duration(q.Sent - p.last)
	}
	p.last = q.Done
	if q.Error == "" {
		p.latencies = append(p.latencies, time.Duration(q.Done-q.Due))
		p.busy += time.Duration(q.Done - q.Sent)
	}
}

// latencies are all workers', sorted. The workers must have ended.
func (l *ledger) latencies() (all []time.Duration) {
	for _, p := range l.pages {
		all = append(all, p.latencies...)
	}
	slices.Sort(all)
	return all
}

// busy is the time that requests took, added up over all workers.
func (l *ledger) busy() (sum time.Duration) {
	for _, p := range l.pages {
		sum += p.busy
	}
	return sum
}

// between is the time that clients spent between an answer and the next request, added up.
func (l *ledger) between() (sum time.Duration) {
	for _, p := range l.pages {
		sum += p.between
	}
	return sum
}

// lastWarm is how many connections ended a warm-up.
func (l *ledger) lastWarm() (n int) {
	for _, p := range l.pages {
		if p.warm {
			n++
		}
	}
	return n
}

// meets tells whether a share of the latencies is within a bound.
func meets(sorted []time.Duration, share float64, bound time.Duration) bool {
	n, _ := slices.BinarySearch(sorted, bound+1)
	return len(sorted) > 0 && float64(n) >= share*float64(len(sorted))
}
