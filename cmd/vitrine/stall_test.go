package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// stalling is a server that answers at once, but for one stretch of time: when it has answered after requests,
// it answers nobody for stall.
type stalling struct {
	mu    sync.Mutex // held by whoever is served: a stall holds everybody up
	after int
	stall time.Duration
}

func (s *stalling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Method == http.MethodPost {
		s.mu.Lock()
		if s.after--; s.after == 0 {
			time.Sleep(s.stall)
		}
		s.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"embeddings":[[1,0]],"count":1,"model_info":{}}`)
}

// TestBenchShowsAStall measures a server that stalls for a second, over real sockets. In the open loop every
// request that was due in the stall's first half waits for at least the other half, however busy this machine
// is: at 100 a second those are 49 or more. A closed loop meets the stall once.
func TestBenchShowsAStall(t *testing.T) {
	const rate, stall = 100, time.Second
	slow := map[string]int{}
	for name, args := range map[string][]string{
		"open":   {"rate", "--rate", fmt.Sprint(rate), "--arrival", "constant", "--requests", "200", "--duration", "0s"},
		"closed": {"single", "--requests", "200"},
	} {
		server := httptest.NewServer(&stalling{after: 40, stall: stall})
		path := filepath.Join(t.TempDir(), "stall.jsonl.zst")
		r := call(t, append(append([]string{"bench"}, args...), "--target", server.URL, "--metrics-url", "off", "--warmup", "2", "--quiet", "--out", path)...)
		server.Close()
		run := loadRecord(t, path)
		if len(run.Cells) != 1 || len(run.Cells[0].Requests) != 202 {
			t.Fatalf("%s: %d cells\n%s\n%s", name, len(run.Cells), r.err, r.out)
		}
		slow[name] = waited(run.Cells[0], stall/2)
	}
	if slow["open"] < 49 {
		t.Errorf("open loop: %d requests show the stall, want 49 or more", slow["open"])
	}
	if slow["closed"] < 1 || slow["closed"] > slow["open"]/10 {
		t.Errorf("closed loop: %d requests show the stall, want 1", slow["closed"])
	}
}

// waited counts the measured requests whose latency is at least d.
func waited(c *record.CellData, d time.Duration) (n int) {
	for _, q := range c.Requests {
		if !q.Warmup && q.Done-q.Due >= int64(d) {
			n++
		}
	}
	return n
}
