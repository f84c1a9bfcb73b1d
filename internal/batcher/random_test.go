package batcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestRandomSchedules submits parts of random size, priority, format, timeout and patience to an
// engine that is slow, fails and panics at random, drains in the middle, and wants that every part
// is answered once, with its own answer, and that every row is released once and not while it runs.
func TestRandomSchedules(t *testing.T) {
	schedules := 60
	if testing.Short() {
		schedules = 10
	}
	for seed := range schedules {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomSchedule(t, rand.New(rand.NewPCG(uint64(seed), 9))) })
		})
	}
}

func randomSchedule(t *testing.T, rng *rand.Rand) {
	e := newFake(t, 1+rng.IntN(8), 1+rng.IntN(3))
	e.behave = unreliable(rng.Uint64())
	cfg := randomConfig(rng, e.spec.MaxBatch)
	x := newBench(t, e, cfg)
	var calls []*call
	parts := 100
	drainAt := parts/2 + rng.IntN(parts)
	drained := make(chan error, 1)
	for i := range parts {
		if i == drainAt {
			go func() { drained <- x.b.Drain(t.Context()) }()
		}
		c := x.submitAs(tensor.Format(1+rng.IntN(2)), 1+rng.IntN(e.spec.MaxBatch), randomPart(rng))
		if rng.IntN(4) == 0 {
			time.AfterFunc(time.Duration(rng.IntN(40))*ms, c.cancel)
		}
		calls = append(calls, c)
		time.Sleep(time.Duration(rng.IntN(8)) * ms)
	}
	if drainAt >= parts {
		x.b.Drain(t.Context())
	} else if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	kinds := map[fault.Kind]int{}
	answers := 0
	for _, c := range calls {
		if err := x.wait(c); err != nil {
			kinds[fault.KindOf(err)]++
		} else {
			answers++
		}
	}
	x.close(calls...)
	if answers == 0 {
		t.Errorf("nothing was answered: %v", kinds)
	}
	for k := range kinds {
		switch k {
		case fault.Internal, fault.Canceled, fault.Timeout, fault.Exhausted, fault.Unavailable:
		default:
			t.Errorf("a part failed as %v", k)
		}
	}
}

// unreliable is slow, and fails one run in ten, in either way.
func unreliable(seed uint64) func(context.Context, []tensor.Row) error {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(context.Context, []tensor.Row) error {
		mu.Lock()
		d, fate := time.Duration(rng.IntN(30))*ms, rng.IntN(20)
		mu.Unlock()
		time.Sleep(d)
		switch fate {
		case 0:
			panic("at random")
		case 1:
			return errors.New("at random")
		}
		return nil
	}
}

func randomConfig(rng *rand.Rand, largest int) Config {
	cfg := Config{
		MaxQueueDelay:  time.Duration(rng.IntN(3)) * 5 * ms,
		MaxQueueSize:   rng.IntN(20),
		DefaultTimeout: time.Duration(rng.IntN(2)) * 80 * ms,
		TimeoutAction:  TimeoutAction(rng.IntN(2)),
		PriorityLevels: uint32(rng.IntN(4)),
	}
	if rng.IntN(2) == 0 {
		cfg.PreferredBatchSizes = []int{1 + rng.IntN(largest), 1 + rng.IntN(largest)}
	}
	return cfg
}

func randomPart(rng *rand.Rand) Part {
	return Part{Priority: uint32(rng.IntN(5)), Timeout: time.Duration(rng.IntN(3)) * 20 * ms}
}
