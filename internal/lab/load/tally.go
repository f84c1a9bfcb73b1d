package load

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// tally counts without locks.
type tally struct {
	sent, ok, fails, timedOut, unsent atomic.Int64
	warmOK, images, bytesOut, bytesIn atomic.Int64
	lastDone, lastGood                atomic.Int64
	row                               atomic.Int64 // failures since the last success
	first                             atomic.Pointer[string]
	latency, late                     histogram

	ids, count             atomic.Int32
	idle, dialing, refused atomic.Int64
	dialTime, gap          atomic.Int64 // ns
	full                   atomic.Bool  // MaxWorkers was reached
}

func (t *tally) add(q *record.Request, images int) {
	good := q.Error == ""
	if good {
		t.row.Store(0)
		t.lastGood.Store(q.Done)
	}
	if q.Warmup {
		if good {
			t.warmOK.Add(1)
		}
		return
	}
	t.sent.Add(1)
	t.bytesOut.Add(int64(q.BytesOut))
	t.bytesIn.Add(int64(q.BytesIn))
	t.late.add(q.Sent - q.Due)
	raise(&t.lastDone, q.Done)
	if !good {
		return
	}
	t.ok.Add(1)
	t.images.Add(int64(images))
	t.latency.add(q.Done - q.Due)
}

func raise(to *atomic.Int64, v int64) {
	for {
		was := to.Load()
		if v <= was || to.CompareAndSwap(was, v) {
			return
		}
	}
}

// errAllFail ends a measurement in which nothing succeeds any more.
var errAllFail = errors.New("everything fails")

// failed counts a failure, and ends the measurement after enough of them with nothing between.
func (r *run) failed(q *record.Request) {
	text := q.Error
	r.first.CompareAndSwap(nil, &text)
	if !q.Warmup {
		r.fails.Add(1)
		if text == target.Timeout {
			r.timedOut.Add(1)
		}
	}
	const quiet = 2 * time.Second
	limit := max(100, 10*int64(r.count.Load()))
	if n := r.row.Add(1); n >= limit && q.Done-r.lastGood.Load() >= int64(quiet) {
		r.stop(fmt.Errorf("%w: the last %d requests; the first error was: %s", errAllFail, n, r.firstText()))
	}
}

func (r *run) stop(err error) { r.cancel(err) }

func (r *run) firstText() string {
	if p := r.first.Load(); p != nil {
		return *p
	}
	return ""
}
