package batcher

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

const ms = time.Millisecond

// TestFormation submits parts at given moments and wants given executions. Each run takes 100 ms.
func TestFormation(t *testing.T) {
	type arrival struct {
		at   time.Duration
		rows int
	}
	ones := func(at time.Duration, n int) (as []arrival) {
		for range n {
			as = append(as, arrival{at, 1})
		}
		return as
	}
	for _, c := range []struct {
		name     string
		cfg      Config
		arrivals []arrival
		want     []execution
	}{
		{"greedy: the first runs alone, the rest together", Config{}, ones(0, 6),
			[]execution{{0, 1}, {100 * ms, 5}}},
		{"greedy: never beyond the largest", Config{MaxBatchSize: 4}, ones(0, 10),
			[]execution{{0, 1}, {100 * ms, 4}, {200 * ms, 4}, {300 * ms, 1}}},
		{"a delay waits for a full batch, not longer", Config{MaxQueueDelay: 10 * ms}, ones(0, 3),
			[]execution{{10 * ms, 3}}},
		{"a full batch does not wait", Config{MaxQueueDelay: 10 * ms}, ones(0, 8),
			[]execution{{0, 8}}},
		{"the delay counts from the oldest", Config{MaxQueueDelay: 10 * ms}, []arrival{{0, 1}, {9 * ms, 1}},
			[]execution{{10 * ms, 2}}},
		{"a preferred size runs at once", Config{MaxQueueDelay: 10 * ms, PreferredBatchSizes: []int{4}}, ones(0, 4),
			[]execution{{0, 4}}},
		{"a rest below a preferred size waits for the delay", Config{MaxQueueDelay: 10 * ms, PreferredBatchSizes: []int{4}}, ones(0, 3),
			[]execution{{10 * ms, 3}}},
		{"the largest preferred size first, the rest after", Config{PreferredBatchSizes: []int{2, 4}}, ones(0, 8),
			[]execution{{0, 1}, {100 * ms, 4}, {200 * ms, 2}, {300 * ms, 1}}},
		{"a group stays whole", Config{}, []arrival{{0, 1}, {0, 5}, {0, 4}, {0, 4}},
			[]execution{{0, 1}, {100 * ms, 5}, {200 * ms, 8}}},
		{"what does not fit ends the wait", Config{MaxQueueDelay: 10 * ms}, []arrival{{0, 5}, {1 * ms, 4}},
			[]execution{{1 * ms, 5}, {101 * ms, 4}}},
		{"a group can hit a preferred size", Config{MaxQueueDelay: 10 * ms, PreferredBatchSizes: []int{6}}, []arrival{{0, 2}, {0, 4}},
			[]execution{{0, 6}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake(t, 8, 1)
				e.behave = takes(100 * ms)
				x := newBench(t, e, c.cfg)
				var calls []*call
				for _, a := range c.arrivals {
					time.Sleep(a.at - time.Since(x.zero))
					calls = append(calls, x.submit(a.rows, Part{}))
				}
				for _, c := range calls {
					if err := x.wait(c); err != nil {
						t.Error(err)
					}
				}
				if d := cmp.Diff(c.want, e.ran); d != "" {
					t.Error(d)
				}
				x.close(calls...)
			})
		})
	}
}

func TestInstancesOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 8, 3)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{})
		var calls []*call
		for range 5 {
			calls = append(calls, x.submit(1, Part{}))
		}
		for _, c := range calls {
			if err := x.wait(c); err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]execution{{0, 1}, {0, 1}, {0, 1}, {100 * ms, 2}}, e.ran); d != "" {
			t.Error(d)
		}
		x.close(calls...)
	})
}

func TestOneFormatABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 8, 1)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{})
		var calls []*call
		for i := range 7 {
			f := []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW}[i%2]
			calls = append(calls, x.submitAs(f, 1, Part{}))
		}
		for _, c := range calls {
			if err := x.wait(c); err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]execution{{0, 1}, {100 * ms, 3}, {200 * ms, 3}}, e.ran); d != "" {
			t.Error(d)
		}
		x.close(calls...)
	})
}

// TestOrder wants the executions' first rows in an order; the engine takes one row at a time, and the
// first part, id 1, holds it while the others queue.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		parts []Part
		want  []float32
	}{
		{"arrival", Config{}, []Part{{Priority: 3}, {Priority: 1}, {}}, []float32{1, 2, 3, 4}},
		{"priority; none and unknown mean the default", Config{PriorityLevels: 3, DefaultPriority: 2},
			[]Part{{Priority: 3}, {}, {Priority: 9}, {Priority: 2}, {Priority: 1}}, []float32{1, 6, 3, 4, 5, 2}},
		{"a default of none is the lowest level", Config{PriorityLevels: 2},
			[]Part{{}, {Priority: 1}}, []float32{1, 3, 2}},
		{"delayed parts go behind those of their level", Config{PriorityLevels: 2, TimeoutAction: Delay},
			[]Part{{Priority: 1, Timeout: 10 * ms}, {Priority: 1}, {Priority: 2}}, []float32{1, 3, 2, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake(t, 1, 1)
				e.behave = takes(100 * ms)
				x := newBench(t, e, c.cfg)
				calls := []*call{x.submit(1, Part{})}
				for _, p := range c.parts {
					calls = append(calls, x.submit(1, p))
				}
				for _, c := range calls {
					if err := x.wait(c); err != nil {
						t.Error(err)
					}
				}
				if d := cmp.Diff(c.want, e.first); d != "" {
					t.Error(d)
				}
				x.close(calls...)
			})
		})
	}
}

func TestTimeoutFreesThePlaceAtOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		own  time.Duration
		want time.Duration
	}{
		{"own", Config{}, 30 * ms, 30 * ms},
		{"default", Config{DefaultTimeout: 20 * ms}, 0, 20 * ms},
		{"own shortens the default", Config{DefaultTimeout: 40 * ms}, 30 * ms, 30 * ms},
		{"own does not lengthen the default", Config{DefaultTimeout: 20 * ms}, 30 * ms, 20 * ms},
		{"own is ignored", Config{DefaultTimeout: 40 * ms, IgnorePartTimeout: true}, 30 * ms, 40 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake(t, 1, 1)
				e.behave = takes(100 * ms)
				c.cfg.MaxQueueSize = 1
				x := newBench(t, e, c.cfg)
				first := x.submit(1, Part{})
				late := x.submit(1, Part{Timeout: c.own})
				full := x.submit(1, Part{})
				if err := x.wait(full); fault.KindOf(err) != fault.Exhausted {
					t.Errorf("a full queue answered %v", err)
				}
				if err := x.wait(late); fault.KindOf(err) != fault.Timeout || late.at != c.want {
					t.Errorf("after %v: %v", late.at, err)
				}
				if late.line.At[telemetry.Queued].IsZero() || !late.line.At[telemetry.Batched].IsZero() {
					t.Errorf("its timeline is %+v", late.line)
				}
				if n := late.rows[0].released.Load(); n != 1 {
					t.Errorf("its row was released %d times", n)
				}
				if s := x.b.Stats(); s.TimedOut != 1 || s.Refused != 1 {
					t.Errorf("%+v", s)
				}
				next := x.submit(1, Part{})
				if depth := x.b.QueueDepth(); depth != 1 {
					t.Errorf("the place is not free: %d wait", depth)
				}
				next.cancel()
				x.wait(next)
				if err := x.wait(first); err != nil {
					t.Error(err)
				}
				x.close(first, late, full, next)
			})
		})
	}
}

// TestLevelsHaveTheirOwnPolicies fills each level's queue: level 1 refuses the second that waits, level 2
// takes two and ends their time at 30 ms, level 3 does neither, but heeds no part's own timeout.
func TestLevelsHaveTheirOwnPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 1, 1)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{PriorityLevels: 3, Levels: []Policy{
			{MaxQueueSize: 1}, {MaxQueueSize: 2, DefaultTimeout: 30 * ms}, {IgnorePartTimeout: true}}})
		calls := []*call{x.submit(1, Part{})}
		for _, level := range []uint32{1, 1, 2, 2, 2, 3} {
			calls = append(calls, x.submit(1, Part{Priority: level, Timeout: 50 * ms}))
		}
		type end struct {
			kind fault.Kind
			at   time.Duration
		}
		const answered = fault.Kind(255)
		var got []end
		for _, c := range calls {
			kind := answered
			if err := x.wait(c); err != nil {
				kind = fault.KindOf(err)
			}
			got = append(got, end{kind, c.at})
		}
		want := []end{{answered, 100 * ms}, {fault.Timeout, 50 * ms}, {fault.Exhausted, 0},
			{fault.Timeout, 30 * ms}, {fault.Timeout, 30 * ms}, {fault.Exhausted, 0}, {answered, 200 * ms}}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(end{})); d != "" {
			t.Error(d)
		}
		x.close(calls...)
	})
}

func TestCancelledInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 4, 1)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{MaxQueueSize: 2})
		first, gone, stays := x.submit(1, Part{}), x.submit(1, Part{}), x.submit(1, Part{})
		gone.cancel()
		if err := x.wait(gone); fault.KindOf(err) != fault.Canceled || gone.at != 0 {
			t.Errorf("after %v: %v", gone.at, err)
		}
		comes := x.submit(1, Part{})
		for _, c := range []*call{first, stays, comes} {
			if err := x.wait(c); err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]execution{{0, 1}, {100 * ms, 2}}, e.ran); d != "" {
			t.Error(d)
		}
		x.close(first, gone, stays, comes)
	})
}

func TestAbandonedInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 4, 1)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{})
		first := x.submit(1, Part{})
		first.cancel()
		if err := x.wait(first); fault.KindOf(err) != fault.Canceled || first.at != 0 {
			t.Errorf("after %v: %v", first.at, err)
		}
		if first.rows[0].released.Load() != 0 {
			t.Error("the row was released while its batch ran")
		}
		second := x.submit(1, Part{})
		if err := x.wait(second); err != nil {
			t.Error(err)
		}
		x.close(first, second)
	})
}

func TestAnEndedContextIsNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, newFake(t, 4, 1), Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		row := &fakeRow{t: t, format: tensor.FormatUint8HWC}
		var line telemetry.Timeline
		err := x.b.Do(ctx, Part{Rows: []tensor.Row{row}, Out: [][]float32{make([]float32, 2)}}, &line)
		if fault.KindOf(err) != fault.Canceled || row.released.Load() != 1 || len(x.e.ran) != 0 {
			t.Errorf("%v, released %d, ran %v", err, row.released.Load(), x.e.ran)
		}
		x.close()
	})
}

func TestAFailingBatchFailsItsMembersOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		behave func() error
		want   string
	}{
		{"error", func() error { return errors.New("bad weights") }, "the engine failed: bad weights"},
		{"fault", func() error { return fault.New(fault.Exhausted, "no memory") }, "no memory"},
		{"panic", func() error { panic("index out of range") }, "the engine failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				e := newFake(t, 4, 1)
				e.behave = func(_ context.Context, rows []tensor.Row) error {
					time.Sleep(10 * ms)
					if len(rows) == 2 {
						return c.behave()
					}
					return nil
				}
				x := newBench(t, e, Config{MaxBatchSize: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				first, a, b, last := x.submit(1, Part{}), x.submit(1, Part{}), x.submit(1, Part{}), x.submit(1, Part{})
				if err := errors.Join(x.wait(first), x.wait(last)); err != nil {
					t.Error(err)
				}
				ea, eb := x.wait(a), x.wait(b)
				if ea == nil || eb == nil || ea.Error() != c.want || eb.Error() != c.want {
					t.Fatalf("got %v and %v, want %q", ea, eb, c.want)
				}
				if fault.Of(ea) == fault.Of(eb) {
					t.Error("two parts share one fault")
				}
				if c.name == "panic" != strings.Contains(log.String(), "batcher_test.go") {
					t.Errorf("a panic is logged with its stack: %s", log.String())
				}
				if s := x.b.Stats(); s.Executions != 3 || s.Failed != 1 || s.Rows != 4 {
					t.Errorf("%+v", s)
				}
				x.close(first, a, b, last)
			})
		})
	}
}

func TestALostEngineRefusesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 1, 1)
		e.behave = func(context.Context, []tensor.Row) error {
			time.Sleep(10 * ms)
			return fault.New(fault.Unavailable, "the device fell off the bus")
		}
		x := newBench(t, e, Config{})
		calls := []*call{x.submit(1, Part{}), x.submit(1, Part{})}
		for _, c := range calls {
			if err := x.wait(c); fault.KindOf(err) != fault.Unavailable || c.at != 10*ms {
				t.Errorf("after %v: %v", c.at, err)
			}
		}
		after := x.submit(1, Part{})
		if err := x.wait(after); fault.KindOf(err) != fault.Unavailable || len(e.ran) != 1 || x.b.Err() == nil {
			t.Errorf("%v after %d runs", err, len(e.ran))
		}
		x.close(append(calls, after)...)
	})
}

func TestRetryAfterFollowsTheMeasuredRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 1, 2)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{MaxQueueSize: 2})
		retry := func() time.Duration {
			c := x.submit(1, Part{})
			f := fault.Of(x.wait(c))
			if f == nil || f.Kind != fault.Exhausted {
				t.Fatalf("a full queue answered %v", f)
			}
			return f.RetryAfter
		}
		calls := []*call{x.submit(1, Part{}), x.submit(1, Part{}), x.submit(1, Part{}), x.submit(1, Part{})}
		if d := retry(); d != unknownBacklog {
			t.Errorf("before anything ran: %v", d)
		}
		x.wait(calls[0])
		synctest.Wait() // both workers have taken the next
		calls = append(calls, x.submit(1, Part{}), x.submit(1, Part{}))
		if d := retry(); d != 200*ms { // two run and two wait, 100 ms each, two at a time
			t.Errorf("four rows ahead: %v", d)
		}
		for _, c := range calls {
			x.wait(c)
		}
		x.close(calls...)
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 2, 1)
		e.behave = takes(100 * ms)
		x := newBench(t, e, Config{MaxQueueDelay: time.Hour})
		calls := []*call{x.submit(2, Part{}), x.submit(1, Part{})}
		drained := make(chan error, 1)
		go func() { drained <- x.b.Drain(t.Context()) }()
		synctest.Wait()
		refused := x.submit(1, Part{})
		if err := x.wait(refused); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a draining batcher answered %v", err)
		}
		if err := <-drained; err != nil || time.Since(x.zero) != 200*ms {
			t.Errorf("drained after %v: %v", time.Since(x.zero), err)
		}
		for _, c := range calls {
			if err := x.wait(c); err != nil {
				t.Errorf("an accepted part: %v", err)
			}
		}
		if err := x.b.Drain(t.Context()); err != nil {
			t.Errorf("a second drain: %v", err)
		}
		x.close(append(calls, refused)...)
	})
}

func TestDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 1, 1)
		e.behave = func(ctx context.Context, _ []tensor.Row) error {
			<-ctx.Done()
			return ctx.Err()
		}
		x := newBench(t, e, Config{})
		calls := []*call{x.submit(1, Part{}), x.submit(1, Part{})}
		ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
		defer cancel()
		if err := x.b.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain: %v", err)
		}
		x.b.Close()
		for _, c := range calls {
			if err := x.wait(c); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a part that Close cut short: %v", err)
			}
		}
		x.close(calls...)
	})
}

func TestTimelineCoversTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 1, 1)
		e.behave = takes(100 * ms) // of which the engine reports 1 ms
		x := newBench(t, e, Config{})
		first, c := x.submit(1, Part{}), x.submit(1, Part{})
		x.wait(first)
		x.wait(c)
		want := telemetry.Stages{Queue: 100 * ms, Compute: 100 * ms}
		if d := cmp.Diff(want, c.line.Stages()); d != "" {
			t.Error(d)
		}
		x.close(first, c)
	})
}

func TestWhatNoEngineCouldRunIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, newFake(t, 4, 1), Config{})
		row := func(f tensor.Format) tensor.Row { return &fakeRow{t: t, format: f} }
		u8, f32, f16 := tensor.FormatUint8HWC, tensor.FormatFloat32CHW, tensor.FormatFloat16CHW
		out := make([]float32, 2)
		for _, c := range []struct {
			name string
			p    Part
			want fault.Kind
		}{
			{"no rows", Part{}, fault.Invalid},
			{"over the largest batch", Part{Rows: []tensor.Row{row(u8), row(u8), row(u8), row(u8), row(u8)}}, fault.Invalid},
			{"no room", Part{Rows: []tensor.Row{row(u8)}}, fault.Internal},
			{"small room", Part{Rows: []tensor.Row{row(u8)}, Out: [][]float32{out[:1]}}, fault.Internal},
			{"a format it does not accept", Part{Rows: []tensor.Row{row(f16)}, Out: [][]float32{out}}, fault.Internal},
			{"formats differ", Part{Rows: []tensor.Row{row(u8), row(f32)}, Out: [][]float32{out, out}}, fault.Internal},
		} {
			var line telemetry.Timeline
			err := x.b.Do(t.Context(), c.p, &line)
			if err == nil || fault.KindOf(err) != c.want {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			for _, r := range c.p.Rows {
				if n := r.(*fakeRow).released.Load(); n != 1 {
					t.Errorf("%s: a row was released %d times", c.name, n)
				}
			}
		}
		x.close()
	})
}

func TestStatsBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(t, 4, 1)
		e.behave = takes(10 * ms)
		var told []int
		x := newBench(t, e, Config{OnExecution: func(e Execution) { told = append(told, e.Size) }})
		var calls []*call
		for range 6 {
			calls = append(calls, x.submit(1, Part{}))
		}
		if s := x.b.Stats(); s.Queued != 5 || s.Running != 1 || s.RunningRows != 1 || x.b.QueueDepth() != 5 {
			t.Errorf("%+v", s)
		}
		for _, c := range calls {
			x.wait(c)
		}
		s := x.b.Stats()
		sizes := make([][2]int, 0, 3)
		for _, z := range s.Sizes {
			sizes = append(sizes, [2]int{z.Size, int(z.Executions)})
			if z.Timings.Compute != time.Duration(z.Executions)*ms {
				t.Errorf("size %d computed for %v", z.Size, z.Timings.Compute)
			}
		}
		if d := cmp.Diff([][2]int{{1, 2}, {4, 1}}, sizes); d != "" {
			t.Error(d)
		}
		if !slices.Equal(told, []int{1, 4, 1}) {
			t.Errorf("told %v", told)
		}
		x.close(calls...)
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{MaxBatchSize: 9}, "max_batch_size"},
		{Config{MaxBatchSize: -1}, "max_batch_size"},
		{Config{MaxBatchSize: 4, PreferredBatchSizes: []int{5}}, "preferred_batch_size"},
		{Config{PreferredBatchSizes: []int{0}}, "preferred_batch_size"},
		{Config{MaxQueueDelay: -1}, "max_queue_delay"},
		{Config{DefaultTimeout: -1}, "default_timeout"},
		{Config{MaxQueueSize: -1}, "max_queue_size"},
		{Config{PriorityLevels: 2, DefaultPriority: 3}, "default_priority_level"},
		{Config{PriorityLevels: 1 << 20}, "priority_levels"},
		{Config{PriorityLevels: 2, Levels: make([]Policy, 3)}, "3 queue policies for 2 priority levels"},
		{Config{PriorityLevels: 1, Levels: []Policy{{MaxQueueSize: -1}}}, "max_queue_size"},
	} {
		if _, err := New(newFake(t, 8, 1), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want one about %s", c.cfg, err, c.want)
		}
	}
}

func TestTimeoutActionText(t *testing.T) {
	for _, a := range []TimeoutAction{Reject, Delay} {
		var got TimeoutAction
		if err := got.UnmarshalText([]byte(strings.ToLower(a.String()))); err != nil || got != a {
			t.Errorf("%v came back as %v, %v", a, got, err)
		}
	}
	if err := new(TimeoutAction).UnmarshalText([]byte("drop")); err == nil {
		t.Error("an unknown action was read")
	}
}
