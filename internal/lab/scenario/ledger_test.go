package scenario

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/load"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// TestOwnTime measures closed loops by hand: each client takes a request's time and then time of its own.
// Little's law holds in all of them, whoever took the time, and breaks where answers are missing in the record.
func TestOwnTime(t *testing.T) {
	for _, c := range []struct {
		name           string
		clients        int
		request, own   time.Duration
		lost           int // answers of 100 a client that the record has not
		little         bool
		status, reason string
	}{
		{name: "a model", clients: 4, request: 10 * time.Millisecond, own: 20 * time.Microsecond, little: true, status: record.OK},
		{name: "faster than a millisecond", clients: 1, request: 100 * time.Microsecond, own: 20 * time.Microsecond, little: true, status: record.OK, reason: "16 % of the clients' time"},
		{name: "the harness is the bottleneck", clients: 2, request: 20 * time.Microsecond, own: 40 * time.Microsecond, little: true, status: record.Invalid, reason: "66 % of the clients' time"},
		{name: "lost answers", clients: 2, request: 10 * time.Millisecond, lost: 30, status: record.OK, reason: "30 % of the clients' time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := record.Create(filepath.Join(t.TempDir(), "r.jsonl.zst"))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			book := &ledger{log: w, cell: 1}
			const each = 100
			for range c.clients {
				log := book.worker()
				log.Add(record.Request{Sent: 1, Done: 2, Warmup: true})
				for i := range each {
					sent := int64(i) * int64(c.request+c.own)
					if i >= 10 && i < 10+c.lost {
						continue
					}
					log.Add(record.Request{Due: sent, Sent: sent, Done: sent + int64(c.request)})
				}
			}
			m := measuredLoad{load.Summary{OK: each * c.clients, Elapsed: each * (c.request + c.own), Workers: c.clients}, book}
			j := &job{run: plan.Run{Cell: plan.Cell{Params: record.Params{Concurrency: c.clients}}}}
			checks := little(j, m)
			if len(checks) != 1 || checks[0].OK != c.little {
				t.Errorf("Little's law: %+v, want %v", checks, c.little)
			}
			if c.little && c.lost == 0 && math.Abs(checks[0].Want-checks[0].Got) > 0.02*float64(c.clients) {
				t.Errorf("Little's law is off: %+v", checks)
			}
			o := outcome{status: record.OK}
			o.own(j, m)
			if o.status != c.status || !strings.Contains(strings.Join(o.reasons, "; "), c.reason) || (c.reason == "") != (len(o.reasons) == 0) {
				t.Errorf("%s %q, want %s and %q", o.status, o.reasons, c.status, c.reason)
			}
			if book.lastWarm() != c.clients {
				t.Errorf("%d connections were warm", book.lastWarm())
			}
		})
	}
}
