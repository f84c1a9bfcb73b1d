package kernel

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestPoolRunsEveryPartOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 7} {
		p := testPool(t, threads)
		for _, n := range []int{0, 1, 2, 100} {
			counts := make([]atomic.Int32, n)
			p.Run(n, func(part, worker int) {
				if worker < 0 || worker >= threads {
					t.Errorf("worker %d of %d", worker, threads)
				}
				counts[part].Add(1)
			})
			for i := range counts {
				if c := counts[i].Load(); c != 1 {
					t.Errorf("%d threads: part %d of %d ran %d times", threads, i, n, c)
				}
			}
		}
	}
}

// TestPoolDoesNotOversubscribe holds that callers share the workers: a worker runs one part at a time.
func TestPoolDoesNotOversubscribe(t *testing.T) {
	const threads, callers = 3, 8
	p := testPool(t, threads)
	var busy [threads]atomic.Int32
	var total atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range 50 {
				p.Run(10, func(_, worker int) {
					if busy[worker].Add(1) != 1 {
						t.Error("a worker runs two parts at once")
					}
					total.Add(1)
					busy[worker].Add(-1)
				})
			}
		})
	}
	wg.Wait()
	if got := total.Load(); got != callers*50*10 {
		t.Errorf("%d parts ran, want %d", got, callers*50*10)
	}
}

// A part that waits for the one before it ends, whatever the number of workers: parts are claimed in ascending order. In any other
// order every worker would wait for a part that nobody runs.
func TestPoolClaimsPartsInOrder(t *testing.T) {
	p := testPool(t, 4)
	var started [200]chan struct{}
	for i := range started {
		started[i] = make(chan struct{})
	}
	p.Run(len(started), func(part, _ int) {
		close(started[part])
		if part > 0 {
			<-started[part-1]
		}
	})
}

func TestPoolPassesPanicOn(t *testing.T) {
	p := testPool(t, 2)
	func() {
		defer func() {
			if r, ok := recover().(string); !ok || !strings.Contains(r, "boom") {
				t.Errorf("recovered %v", r)
			}
		}()
		p.Run(10, func(part, _ int) {
			if part == 3 {
				panic("boom")
			}
		})
	}()
	ran := false
	p.Run(1, func(int, int) { ran = true })
	if !ran {
		t.Error("the pool does not work after a panic")
	}
}

func TestPoolScratchIsPerWorkerAndAligned(t *testing.T) {
	p := testPool(t, 2)
	p.Run(20, func(part, worker int) {
		s := p.Scratch(worker, 100+part*50)
		if len(s) != 100+part*50 {
			t.Errorf("%d floats", len(s))
		}
		for i := range s {
			s[i] = float32(part)
		}
		for i := range s {
			if s[i] != float32(part) {
				t.Error("scratch shared between workers")
			}
		}
	})
}

func TestPoolCloseTwiceAndRunAfter(t *testing.T) {
	p := NewPool(2)
	p.Close()
	p.Close()
	defer func() {
		if recover() == nil {
			t.Error("Run on a closed pool did not panic")
		}
	}()
	p.Run(1, func(int, int) {})
}

func BenchmarkPoolRun(b *testing.B) {
	p := testPool(b, 2)
	for b.Loop() {
		p.Run(2, func(int, int) {})
	}
}
