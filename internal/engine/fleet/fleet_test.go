package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func TestComplianceOfNull(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine {
				return open(t, n, func(d Device) (engine.Engine, error) {
					return null.New(null.Options{Width: 8, Height: 8, Dim: 16, MaxBatch: 5, InFlight: d.Instances}), nil
				})
			})
		})
	}
}

func TestComplianceOfCPU(t *testing.T) {
	c, ok := model.Preset("ViT-B-32")
	if !ok {
		t.Fatal("no preset")
	}
	c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Heads, c.MLP, c.EmbedDim = 32, 16, 64, 2, 2, 128, 32
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		return open(t, 2, func(d Device) (engine.Engine, error) {
			m, err := model.Synthetic(c, model.SyntheticOptions{})
			if err != nil {
				return nil, err
			}
			defer m.Close()
			return cpu.New(m, cpu.Options{Precision: engine.FP32, Threads: 2, Instances: d.Instances, MaxBatch: 8, Logger: quiet})
		})
	})
}

func open(t *testing.T, n int, factory func(Device) (engine.Engine, error)) engine.Engine {
	t.Helper()
	var devices []Device
	for i := range n {
		devices = append(devices, Device{GPU: i, Instances: 2})
	}
	f, err := New(t.Context(), devices, func(_ context.Context, d Device) (engine.Engine, error) { return factory(d) }, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestThroughputShare keeps 1 to 8 equal cards full: each computes the same share, and all together take
// as long as one would for its share.
func TestThroughputShare(t *testing.T) {
	for n := 1; n <= 8; n++ {
		for _, instances := range []int{1, 2} {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, n, instances, time.Second)
				before := make([]int, n)
				for i, c := range g.cards {
					before[i] = c.get().runs
				}
				const each = 50
				start := time.Now()
				g.flood(n*instances, each)
				if took := time.Since(start); took != each*latency {
					t.Errorf("%d cards of %d: %v, want %v", n, instances, took, each*latency)
				}
				for i, c := range g.cards {
					if got := c.get(); got.runs-before[i] != each*instances || got.mostNow > instances {
						t.Errorf("%d cards of %d: %v had %d runs, want %d; %d at once", n, instances, c.device, got.runs-before[i], each*instances, got.mostNow)
					}
				}
				g.finish()
			})
		}
	}
}

// flood has so many workers run so many batches each on average, none of which may fail.
func (g *rig) flood(workers, batches int) {
	var all sync.WaitGroup
	var begun atomic.Int64
	for w := range workers {
		all.Go(func() {
			for b := begun.Add(1); b <= int64(workers*batches); b = begun.Add(1) {
				if err := g.run(byte(w+1), byte(b)); err != nil {
					g.t.Errorf("worker %d, batch %d: %v", w, b, err)
				}
			}
		})
	}
	all.Wait()
}

// TestUnequalCards gives a card with three times the instances three times the work, and a slow one less.
func TestUnequalCards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &rig{t: t, cards: []*card{{device: Device{GPU: 0}, latency: latency}, {device: Device{GPU: 1}, latency: latency}, {device: Device{GPU: 2}, latency: 5 * latency}}}
		var err error
		g.fleet, err = New(t.Context(), []Device{{GPU: 0, Instances: 3}, {GPU: 1, Instances: 1}, {GPU: 2, Instances: 1}}, g.make, Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if s := g.fleet.Spec(); s.InFlight != 5 {
			t.Errorf("%d runs in flight, want the sum, 5", s.InFlight)
		}
		g.flood(5, 40)
		s := g.fleet.Devices()
		if s[0].Executions < 2*s[1].Executions || s[1].Executions < 3*s[2].Executions {
			t.Errorf("shares %d, %d, %d", s[0].Executions, s[1].Executions, s[2].Executions)
		}
		if total := s[0].Items + s[1].Items + s[2].Items; total != 5*40*2 {
			t.Errorf("%d items counted, want %d", total, 5*40*2)
		}
		g.finish()
	})
}

// TestOneFailsUnderLoad breaks a card while all are busy: every request is answered, those of the card
// are retried once, and the card is back when it is whole again.
func TestOneFailsUnderLoad(t *testing.T) {
	for n := 2; n <= 8; n++ {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, n, 2, time.Second)
			go func() {
				time.Sleep(100*ms + latency/2)
				g.cards[0].set(func(c *card) { c.broken = true })
			}()
			g.flood(2*n, 40)
			s := g.fleet.Devices()
			if s[0].Up || s[0].Failures != 1 || s[0].Retries != 2 || !strings.Contains(s[0].Why, "fell off the bus") || g.up() != n-1 {
				t.Errorf("%+v, %d up", s[0], g.up())
			}
			made := len(g.cards[0].get().made)
			time.Sleep(2 * time.Minute)
			if g.up() != n-1 || len(g.cards[0].get().made) != made {
				t.Errorf("a broken card is up")
			}
			g.cards[0].set(func(c *card) { c.broken = false })
			time.Sleep(maxDelay + time.Second)
			if s := g.fleet.Devices()[0]; !s.Up || s.Returns != 1 {
				t.Errorf("the card is not back: %+v", s)
			}
			runs := g.cards[0].get().runs
			g.flood(2*n, 10)
			if got := g.cards[0].get().runs - runs; got != 20 {
				t.Errorf("%d runs after the return, want 20", got)
			}
			g.finish()
		})
	}
}

// TestPoison sends an image that breaks every card that it meets: two cards are lost and no more, and
// only its own batch fails.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 4, 1, time.Second)
		for _, c := range g.cards {
			c.set(func(c *card) { c.poison = 66 })
		}
		err := g.run(1, 66, 3)
		if fault.KindOf(err) != fault.Unavailable || fault.Of(err).RetryAfter < time.Second || !strings.Contains(err.Error(), "two devices") {
			t.Errorf("the poisonous batch: %v", err)
		}
		killed := 0
		for _, c := range g.cards {
			killed += c.get().killed
		}
		if killed != 2 || g.up() != 2 {
			t.Errorf("%d runs were killed and %d cards are up, want 2 and 2", killed, g.up())
		}
		g.flood(2, 5)
		g.finish()
	})
}

// TestAllDead has no card left, says so at once, and serves again when one returns.
func TestAllDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2, 1, time.Second)
		for _, c := range g.cards {
			c.set(func(c *card) { c.broken = true })
		}
		if err := g.run(1); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("with broken cards: %v", err)
		}
		start := time.Now()
		err := g.run(1)
		if fault.KindOf(err) != fault.Unavailable || time.Since(start) != 0 || !strings.Contains(err.Error(), "no device is up") || g.up() != 0 {
			t.Errorf("with no card: %v after %v, %d up", err, time.Since(start), g.up())
		}
		g.cards[1].set(func(c *card) { c.broken = false })
		time.Sleep(fault.Of(err).RetryAfter + 100*ms)
		if err := g.run(1); err != nil || g.up() != 1 {
			t.Errorf("with one back: %v, %d up", err, g.up())
		}
		g.finish()
	})
}

// TestOnlyOne has nobody to retry with.
func TestOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1, 1, 0)
		g.cards[0].set(func(c *card) { c.broken = true })
		if err := g.run(1); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "there is no other device: the card fell off the bus") {
			t.Errorf("%v", err)
		}
		if s := g.fleet.Devices()[0]; s.Retries != 0 || s.Executions != 1 {
			t.Errorf("%+v", s)
		}
		g.cards[0].set(func(c *card) { c.broken = false })
		time.Sleep(1100 * ms)
		if err := g.run(1); err != nil {
			t.Error(err)
		}
		g.finish()
	})
}

// TestOverrun hangs a card: its runs are given up at the deadline and computed elsewhere, what it writes
// later reaches nobody, its rows stay valid until then, and only then is it made anew.
func TestOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2, 2, time.Second)
		gate := make(chan struct{})
		g.cards[0].set(func(c *card) { c.gate = gate })
		start := time.Now()
		g.flood(4, 1)
		if took := time.Since(start); took != time.Second+latency {
			t.Errorf("took %v, want the deadline and one run", took)
		}
		s := g.fleet.Devices()[0]
		if s.Up || s.Retries != 2 || !strings.Contains(s.Why, "within 1s") {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		if made := len(g.cards[0].get().made); made != 1 {
			t.Errorf("%d engines were made while a run hung in the first", made)
		}
		g.cards[0].set(func(c *card) { c.gate, c.wrong = nil, true })
		close(gate) // the late runs write now
		time.Sleep(10 * time.Second)
		if g.up() != 1 {
			t.Error("a card with wrong answers is up")
		}
		g.cards[0].set(func(c *card) { c.wrong = false })
		time.Sleep(maxDelay + time.Second)
		g.flood(4, 5)
		if g.up() != 2 {
			t.Errorf("%+v", g.fleet.Devices()[0])
		}
		g.finish()
	})
}

// TestOneOverrunEndsTheOthers gives up all runs of a card when the first of them misses its deadline.
func TestOneOverrunEndsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2, 4, time.Second)
		gate := make(chan struct{})
		g.cards[0].set(func(c *card) { c.gate = gate })
		var all sync.WaitGroup
		start := time.Now()
		for i := range 4 { // half a second after each other; every second goes to the card that hangs
			all.Go(func() {
				time.Sleep(time.Duration(i) * 200 * ms)
				if err := g.run(byte(i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took != time.Second+latency {
			t.Errorf("took %v: a later run waited for a deadline of its own", took)
		}
		close(gate)
		synctest.Wait()
		g.finish()
	})
}

// TestCloseWithAHungRun does not wait for a run that nobody waits for, and closes its engine when it ends.
func TestCloseWithAHungRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2, 1, time.Second)
		gate := make(chan struct{})
		g.cards[0].set(func(c *card) { c.gate = gate })
		g.flood(2, 1)
		if err := g.fleet.Close(); err != nil {
			t.Error(err)
		}
		if e := g.cards[0].get().made[0]; e.closed != 0 {
			t.Error("an engine with a run in it was closed")
		}
		close(gate)
		synctest.Wait()
		g.finish()
	})
}

// TestRowsOfACardThatIsGone computes and releases rows after the card that lent them has failed.
func TestRowsOfACardThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2, 1, time.Second)
		var rows []tensor.Row
		for range 2 { // one of each card
			r, err := g.fleet.NewRow(tensor.FormatUint8HWC)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, r)
		}
		g.cards[0].set(func(c *card) { c.broken = true })
		for g.up() == 2 {
			if err := g.run(1); err != nil {
				t.Fatal(err)
			}
		}
		g.cards[0].set(func(c *card) { c.broken = false })
		time.Sleep(time.Hour)
		if made := len(g.cards[0].get().made); made != 1 {
			t.Errorf("%d engines were made while rows of the first were lent", made)
		}
		out := [][]float32{make([]float32, dim), make([]float32, dim)}
		if _, err := g.fleet.Run(t.Context(), rows, out); err != nil {
			t.Error(err)
		}
		for _, r := range rows {
			r.Release()
			r.Release() // does nothing
		}
		time.Sleep(2 * time.Second)
		if g.up() != 2 {
			t.Error("the card is not back after its rows were")
		}
		g.finish()
	})
}

// TestNoRows finds the loss of a card when it is asked for a row.
func TestNoRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2, 1, time.Second)
		g.cards[0].set(func(c *card) { c.noRows = true })
		if err := g.run(1, 2, 3); err != nil || g.up() != 1 {
			t.Errorf("%v, %d up", err, g.up())
		}
		g.cards[1].set(func(c *card) { c.noRows = true })
		if err := g.run(1, 2, 3); fault.KindOf(err) != fault.Unavailable || g.up() != 0 {
			t.Errorf("%v, %d up", err, g.up())
		}
		g.finish()
	})
}

// TestBackOff counts attempts for a card that never returns, and for one that fails as soon as it is back.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1, 1, time.Second)
		var attempts atomic.Int64
		inner := g.fleet.factory
		g.fleet.factory = func(ctx context.Context, d Device) (engine.Engine, error) { attempts.Add(1); return inner(ctx, d) }
		g.cards[0].set(func(c *card) { c.broken = true })
		_ = g.run(1)
		time.Sleep(64 * time.Second) // 1 + 2 + 4 + 8 + 16 + 32 = 63
		if n := attempts.Load(); n != 6 {
			t.Errorf("%d attempts in 64 s, want 6", n)
		}
		time.Sleep(10 * time.Minute)
		if n := attempts.Load(); n != 16 {
			t.Errorf("%d attempts 10 minutes later, want one a minute", n-6)
		}
		g.cards[0].set(func(c *card) { c.broken = false })
		time.Sleep(time.Minute)
		for range 3 { // up for a second, then broken again: still a minute
			g.cards[0].set(func(c *card) { c.poison = 1 })
			if err := g.run(1); err == nil {
				t.Error("the poison was harmless")
			}
			g.cards[0].set(func(c *card) { c.broken, c.poison = false, 0 })
			time.Sleep(maxDelay - time.Second)
			if g.up() != 0 {
				t.Error("a card that keeps failing is back early")
			}
			time.Sleep(2 * time.Second)
			if g.up() != 1 {
				t.Error("the card is not back")
			}
		}
		time.Sleep(2 * maxDelay) // long enough to be trusted again
		g.cards[0].set(func(c *card) { c.poison = 1 })
		_ = g.run(1)
		g.cards[0].set(func(c *card) { c.broken, c.poison = false, 0 })
		time.Sleep(firstDelay + 100*ms)
		if g.up() != 1 {
			t.Error("after a long good time the first attempt should come soon")
		}
		g.finish()
	})
}

// TestPanic fails a batch, and only it.
func TestPanic(t *testing.T) {
	f, err := New(t.Context(), []Device{{GPU: CPU, Instances: 1}}, func(context.Context, Device) (engine.Engine, error) {
		return &panicking{Engine: null.New(null.Options{Width: side, Height: side, Dim: dim})}, nil
	}, Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, fleet: f}
	if err := g.run(66); fault.KindOf(err) != fault.Internal {
		t.Errorf("%v", err)
	}
	if err := g.run(1); err != nil || g.up() != 1 {
		t.Errorf("after it: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

type panicking struct{ *null.Engine }

func (p *panicking) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if rows[0].Bytes()[0] == 66 {
		panic("index out of range")
	}
	return p.Engine.Run(ctx, rows, out)
}

// TestStart refuses engines that cannot be made, that differ, or that do not agree.
func TestStart(t *testing.T) {
	plain := null.Options{Width: side, Height: side, Dim: dim}
	other := plain
	other.Dim++
	for _, c := range []struct {
		name, want string
		second     func() (engine.Engine, error)
	}{
		{"not made", "gpu:1: no memory", func() (engine.Engine, error) { return nil, errors.New("no memory") }},
		{"another model", "gpu:0 and gpu:1: of another outputs", func() (engine.Engine, error) { return null.New(other), nil }},
		{"wrong", "gpu:0 and gpu:1 disagree on the test image: the answer is wrong", func() (engine.Engine, error) { return &crooked{null.New(plain), 100}, nil }},
		{"no vector", "gpu:1: test inference: row 0 of a batch of 1: the answer is no vector", func() (engine.Engine, error) { return &crooked{null.New(plain), nan}, nil }},
		{"panic", "gpu:1: the engine could not be made: out of cards", func() (engine.Engine, error) { panic("out of cards") }},
	} {
		first := null.New(plain)
		_, err := New(t.Context(), []Device{{GPU: 0, Instances: 1}, {GPU: 1, Instances: 1}}, func(_ context.Context, d Device) (engine.Engine, error) {
			if d.GPU == 0 {
				return first, nil
			}
			return c.second()
		}, Options{Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if _, err := first.NewRow(tensor.FormatUint8HWC); err == nil {
			t.Errorf("%s: the engine that was made is still open", c.name)
		}
	}
	if _, err := New(t.Context(), nil, nil, Options{}); err == nil {
		t.Error("a fleet of nothing")
	}
}

// crooked adds to each answer.
type crooked struct {
	*null.Engine
	by float32
}

func (c *crooked) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	t, err := c.Engine.Run(ctx, rows, out)
	for i := range out {
		out[i][0] += c.by
	}
	return t, err
}

// TestChaos breaks and mends cards at random moments under load. No answer is wrong, no request is lost:
// each ends, and none takes more than two runs.
func TestChaos(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
	}
}
