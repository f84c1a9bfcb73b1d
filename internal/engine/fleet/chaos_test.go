package fleet

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
)

var (
	quiet = slog.New(slog.DiscardHandler)
	nan   = float32(math.NaN())
)

// batches is how many each worker of TestChaos runs.
const batches = 300

func chaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := 1 + int(seed)
	g := newRig(t, n, 2, 200*ms)
	warm := 0
	for _, c := range g.cards {
		warm += c.get().runs
	}
	stop := make(chan struct{})
	var vandal, workers sync.WaitGroup
	vandal.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rng.IntN(1500)) * ms):
			}
			c := g.cards[rng.IntN(n)]
			switch rng.IntN(3) {
			case 0:
				c.set(func(c *card) { c.broken = true })
			case 1:
				gate := make(chan struct{})
				c.set(func(c *card) { c.gate = gate })
				time.Sleep(300 * ms)
				c.set(func(c *card) { c.gate = nil })
				close(gate)
			}
			time.Sleep(time.Duration(rng.IntN(500)) * ms)
			c.set(func(c *card) { c.broken = false })
		}
	})
	var good, failed atomic.Int64
	for w := range 2 * n {
		workers.Go(func() {
			for b := range batches {
				switch err := g.run(byte(w), byte(b), byte(b>>8)); {
				case err == nil:
					good.Add(1)
				case fault.KindOf(err) == fault.Unavailable:
					failed.Add(1)
					time.Sleep(100 * ms)
				default:
					t.Errorf("batch %d of worker %d: %v", b, w, err)
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	vandal.Wait()
	if good.Load()+failed.Load() != int64(2*batches*n) {
		t.Errorf("%d answers and %d failures of %d batches", good.Load(), failed.Load(), 2*batches*n)
	}
	var executions, retries, items int64
	for _, s := range g.fleet.Devices() {
		executions, retries, items = executions+s.Executions, retries+s.Retries, items+s.Items
	}
	if executions > int64(2*batches*n)+retries || items != 3*good.Load() {
		t.Errorf("%d executions with %d retries, %d items of %d answers", executions, retries, items, good.Load())
	}
	t.Logf("%d cards: %d answers, %d failures, %d retries, %d runs", n, good.Load(), failed.Load(), retries, executions)
	time.Sleep(2 * maxDelay)
	if g.up() != n {
		t.Errorf("%d of %d cards are up at the end", g.up(), n)
	}
	g.finish()
}
