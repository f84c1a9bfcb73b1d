package load

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/pacer"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/stats"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// fake is a server in fake time: serve says how long the request with that number takes, and its error.
type fake struct {
	serve  func(n int) (time.Duration, string)
	dial   time.Duration
	refuse int32 // connections above this number are refused; 0 refuses none
	dials  atomic.Int32
	n      atomic.Int32
}

func (f *fake) Prepare([]target.Image) (target.Request, error) { return fakeRequest{}, nil }
func (f *fake) Describe(context.Context) (record.Server, error) {
	return record.Server{}, nil
}
func (f *fake) Close() error { return nil }

func (f *fake) Dial(context.Context) (target.Conn, error) {
	time.Sleep(f.dial)
	if n := f.dials.Add(1); f.refuse > 0 && n > f.refuse {
		return nil, errors.New("refused")
	}
	return fakeConn{f}, nil
}

type fakeRequest struct{}

func (fakeRequest) Images() int { return 2 }
func (fakeRequest) Bytes() int  { return 100 }

type fakeConn struct{ f *fake }

func (c fakeConn) Do(ctx context.Context, _ target.Request, clock func() int64, r *record.Request) error {
	r.Sent = clock()
	d, failure := c.f.serve(int(c.f.n.Add(1)) - 1)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	r.Done, r.Status, r.Error = clock(), 200, failure
	if failure != "" {
		r.Status = 0
	}
	return nil
}

func (fakeConn) Close() error { return nil }

func takes(d time.Duration) func(int) (time.Duration, string) {
	return func(int) (time.Duration, string) { return d, "" }
}

// collect is a Log that all workers share.
type collect struct {
	mu     sync.Mutex
	list   []record.Request
	closed int
}

func (c *collect) Add(r record.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, r)
}

func (c *collect) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
}

func (c *collect) measured() (list []record.Request) {
	for _, r := range c.list {
		if !r.Warmup {
			list = append(list, r)
		}
	}
	return list
}

// bubble runs a measurement in fake time.
func bubble(t *testing.T, c Config) (s Summary, log *collect, err error) {
	t.Helper()
	log = &collect{}
	synctest.Test(t, func(t *testing.T) {
		c.Requests = []target.Request{fakeRequest{}}
		c.Log = func() Log { return log }
		c.Wait = func(ctx context.Context, d time.Duration) {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		s, err = Run(t.Context(), c)
	})
	return s, log, err
}

func TestClosedLoopSendsWhenFree(t *testing.T) {
	s, log, err := bubble(t, Config{Target: &fake{serve: takes(10 * time.Millisecond)}, Workers: 4, Warmup: 6, Duration: time.Second})
	if err != nil || s.Status != record.OK {
		t.Fatal(err, s.Status, s.Reasons)
	}
	if s.Sent != 400 || s.OK != 400 || s.Images != 800 || s.Elapsed != time.Second || s.Throughput() != 800 {
		t.Errorf("sent %d, ok %d, images %d in %v: want 400, 400, 800 in 1s", s.Sent, s.OK, s.Images, s.Elapsed)
	}
	if got := len(log.list) - len(log.measured()); got != 6 {
		t.Errorf("%d warm-up records, want 6", got)
	}
	if log.closed != 4 {
		t.Errorf("%d logs closed, want 4", log.closed)
	}
	for _, r := range log.measured() {
		if r.Due != r.Sent || r.Done-r.Sent != int64(10*time.Millisecond) {
			t.Fatalf("due %d, sent %d, done %d", r.Due, r.Sent, r.Done)
		}
	}
}

func TestMaxRequestsIsExact(t *testing.T) {
	for _, p := range []pacer.Pacer{pacer.Closed{}, pacer.Constant{Rate: 1000}} {
		s, log, err := bubble(t, Config{Target: &fake{serve: takes(5 * time.Millisecond)}, Pacer: p, Workers: 3, MaxRequests: 37})
		if err != nil || s.Sent != 37 || len(log.list) != 37 {
			t.Errorf("%T: %d sent, %d recorded, %v; want 37", p, s.Sent, len(log.list), err)
		}
	}
}

func TestOpenLoopSendsOnTime(t *testing.T) {
	f := &fake{serve: takes(100 * time.Millisecond), dial: 3 * time.Millisecond}
	s, log, err := bubble(t, Config{Target: f, Pacer: pacer.Constant{Rate: 200}, Workers: 1, Duration: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if s.Sent != 400 || s.Harness.Unsent != 0 {
		t.Errorf("%d sent, %d unsent; want 400, 0", s.Sent, s.Harness.Unsent)
	}
	// 200 a second of 100 ms each is 20 at once; beside them one leads and one or two are being opened.
	if s.Workers < 20 || s.Workers > 25 {
		t.Errorf("%d workers, want about 20", s.Workers)
	}
	for i, r := range log.list {
		if late := r.Sent - r.Due; late > int64(5*time.Millisecond) {
			t.Errorf("request %d was sent %v late", i, time.Duration(late))
		}
	}
}

// A server that stalls for one second of ten: a closed loop sees one slow request, the open loop all those
// that were due in it.
func TestStallIsSeen(t *testing.T) {
	stalling := func() *fake {
		var start time.Time
		return &fake{serve: func(n int) (time.Duration, string) {
			if n == 0 {
				start = time.Now()
			}
			at := time.Since(start)
			if at >= 4*time.Second && at < 5*time.Second {
				return 5*time.Second - at + time.Millisecond, ""
			}
			return time.Millisecond, ""
		}}
	}
	open, log, err := bubble(t, Config{Target: stalling(), Pacer: pacer.Constant{Rate: 100}, Duration: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	slow := 0
	for _, r := range log.list {
		if r.Done-r.Due > int64(100*time.Millisecond) {
			slow++
		}
	}
	// Due within the stall, 100 a second: all but those of its last tenth wait for longer than 100 ms.
	if slow < 88 || slow > 92 {
		t.Errorf("open loop: %d of %d requests over 100 ms, want about 90", slow, open.Sent)
	}
	if open.P99 < 800*time.Millisecond {
		t.Errorf("open loop: p99 is %v, want about 0.9 s", open.P99)
	}
	closed, _, err := bubble(t, Config{Target: stalling(), Workers: 1, Duration: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if closed.P99 > 10*time.Millisecond {
		t.Errorf("closed loop: p99 is %v: it should have hidden the stall", closed.P99)
	}
}

// With one connection only, the same stall shows as lateness and makes the figures invalid; latency still
// counts from due.
func TestTooFewConnectionsAreInvalid(t *testing.T) {
	s, log, err := bubble(t, Config{Target: &fake{serve: takes(20 * time.Millisecond)}, Pacer: pacer.Constant{Rate: 100},
		MaxWorkers: 1, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != record.Invalid || !strings.Contains(strings.Join(s.Reasons, "; "), "all 1 connections were in use") {
		t.Errorf("%s %v, want invalid", s.Status, s.Reasons)
	}
	if s.Sent != 50 || s.Harness.Unsent != 50 || len(log.list) != 100 {
		t.Errorf("%d sent, %d unsent, %d records; want 50, 50, 100", s.Sent, s.Harness.Unsent, len(log.list))
	}
	for _, r := range log.list {
		if r.Error == "" {
			n := r.Due / int64(10*time.Millisecond) // due every 10 ms, sent every 20 ms
			if want := n*int64(20*time.Millisecond) - r.Due; r.Sent-r.Due != want {
				t.Fatalf("request %d was sent %v late, want %v", n, time.Duration(r.Sent-r.Due), time.Duration(want))
			}
		} else if r.Error != unsentEnd || r.Status != 0 {
			t.Fatalf("an unsent request is recorded as %d %q", r.Status, r.Error)
		}
	}
}

func TestOldRequestsAreNotSent(t *testing.T) {
	f := &fake{serve: func(n int) (time.Duration, string) {
		if n == 0 {
			return time.Second, ""
		}
		return 0, ""
	}}
	s, log, err := bubble(t, Config{Target: f, Pacer: pacer.Constant{Rate: 10}, MaxWorkers: 1, MaxRequests: 20, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// At one second those due at 0.1 to 0.4 s are older than half a second.
	late := 0
	for _, r := range log.list {
		if r.Error == unsentLate {
			late++
		}
	}
	if late != 4 || s.Harness.Unsent != 4 || s.Sent != 16 {
		t.Errorf("%d given up, %d unsent, %d sent; want 4, 4, 16", late, s.Harness.Unsent, s.Sent)
	}
}

// Service times from a known distribution: in 200 measurements the interval that stats states for a quantile
// of the measured latencies holds the distribution's own as often as it promises. Fewer than 180 hits of 200
// have a probability below 0.002 at a coverage of 95 %, and the seed is fixed.
func TestKnownServiceTimes(t *testing.T) {
	const runs, n, mean, confidence = 200, 800, 20.0, 0.95
	quantiles := []float64{0.5, 0.9, 0.99}
	held := map[float64]int{}
	rng := rand.New(rand.NewPCG(7, 11))
	for range runs {
		f := &fake{serve: func(int) (time.Duration, string) {
			return time.Duration(rng.ExpFloat64() * mean * float64(time.Millisecond)), ""
		}}
		s, log, err := bubble(t, Config{Target: f, Workers: 1, Warmup: 3, MaxRequests: n})
		if err != nil || s.Status != record.OK {
			t.Fatal(err, s.Reasons)
		}
		sorted := latenciesOf(log)
		for _, q := range quantiles {
			truth := -mean * math.Log(1-q)
			if e := stats.Quantile(sorted, q, confidence); e.Low <= truth && truth <= e.High {
				held[q]++
			}
		}
		for q, shown := range map[float64]time.Duration{0.5: s.P50, 0.99: s.P99} {
			if exact := sorted[int(q*n)]; math.Abs(float64(shown)/1e6-exact) > exact/100 {
				t.Errorf("p%v is shown as %v, recorded as %.3f ms", 100*q, shown, exact)
			}
		}
	}
	for _, q := range quantiles {
		if held[q] < 180 {
			t.Errorf("p%v lies in its stated interval in %d of %d measurements, want about %v %%", 100*q, held[q], runs, 100*confidence)
		}
	}
}

// latenciesOf are the measured latencies in ms, sorted.
func latenciesOf(log *collect) (all []float64) {
	for _, r := range log.measured() {
		all = append(all, float64(r.Done-r.Due)/1e6)
	}
	slices.Sort(all)
	return all
}

func TestAbortWhenEverythingFails(t *testing.T) {
	f := &fake{serve: func(n int) (time.Duration, string) {
		if n < 10 {
			return time.Millisecond, ""
		}
		return 0, "connection refused"
	}}
	s, log, err := bubble(t, Config{Target: f, Workers: 2, Duration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != record.Failed || !strings.Contains(s.Reasons[0], "everything fails") || !strings.Contains(s.Reasons[0], "connection refused") {
		t.Errorf("%s %v", s.Status, s.Reasons)
	}
	// Two workers back off 10 ms after each failure: 400 failures in the two seconds before the end.
	if n := len(log.list); n < 300 || n > 500 {
		t.Errorf("%d records", n)
	}
}

func TestFailuresEndAsResults(t *testing.T) {
	fail := func(text string) *fake {
		return &fake{serve: func(int) (time.Duration, string) { return time.Millisecond, text }}
	}
	s, _, err := bubble(t, Config{Target: fail("HTTP 500"), MaxRequests: 5})
	if err != nil || s.Status != record.Failed || s.Failed != 5 || !strings.Contains(s.Reasons[0], "HTTP 500") {
		t.Errorf("%v %s %v", err, s.Status, s.Reasons)
	}
	s, _, err = bubble(t, Config{Target: fail(target.Timeout), MaxRequests: 5})
	if err != nil || s.Status != record.Timeout || s.TimedOut != 5 {
		t.Errorf("%v %s %v", err, s.Status, s.Reasons)
	}
	if _, _, err = bubble(t, Config{Target: fail("HTTP 500"), Warmup: 3, MaxRequests: 5}); !errors.Is(err, errWarmup) {
		t.Errorf("a failed warm-up gives %v", err)
	}
	if _, _, err = bubble(t, Config{Target: fail("")}); !errors.Is(err, errNoBound) {
		t.Errorf("without a bound: %v", err)
	}
	if _, _, err = bubble(t, Config{Target: &fake{refuse: 1, serve: takes(0)}, Workers: 2, MaxRequests: 1}); err == nil {
		t.Error("a refused connection is no error")
	}
}

// Connections that a server refuses on the way are no end: those that exist go on.
func TestRefusedGrowth(t *testing.T) {
	f := &fake{serve: takes(50 * time.Millisecond), refuse: 2}
	s, _, err := bubble(t, Config{Target: f, Pacer: pacer.Constant{Rate: 100}, Workers: 2, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != record.Invalid || s.Sent != 40 || s.Harness.Unsent != 60 || !strings.Contains(strings.Join(s.Reasons, "; "), "could not be opened") {
		t.Errorf("%s %v, %d sent, %d unsent", s.Status, s.Reasons, s.Sent, s.Harness.Unsent)
	}
}

func TestCancelStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := Run(ctx, Config{Target: &fake{serve: takes(time.Millisecond)}, Requests: []target.Request{fakeRequest{}}, Duration: time.Hour})
		if err != nil || s.Status != record.Failed || s.Elapsed > 1100*time.Millisecond {
			t.Errorf("a deadline: %v %s %v", err, s.Status, s.Elapsed)
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		s, err = Run(ctx, Config{Target: &fake{serve: takes(time.Millisecond)}, Requests: []target.Request{fakeRequest{}}, Duration: time.Hour})
		if err != nil || s.Status != record.Invalid || s.OK < 900 || !slices.Equal(s.Reasons, []string{interrupted}) {
			t.Errorf("an interruption: %v %s %v, %d answered", err, s.Status, s.Reasons, s.OK)
		}
	})
}

func TestHistogram(t *testing.T) {
	for _, ns := range []int64{0, 1, 127, 128, 129, 255, 256, 1000, 123456, 1e9, 7e10, 4e12} {
		got := float64(middle(bucketOf(ns)))
		if math.Abs(got-float64(ns)) > float64(ns)/128 {
			t.Errorf("%d ns is taken for %.0f", ns, got)
		}
	}
	last := -1
	for ns := int64(0); ns < 1e7; ns += 1 + ns/500 {
		if b := bucketOf(ns); b < last {
			t.Fatalf("bucket %d of %d ns is below %d", b, ns, last)
		} else {
			last = b
		}
	}
	if b := bucketOf(math.MaxInt64); b >= (rows+1)*sub {
		t.Errorf("bucket %d is outside", b)
	}
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty histogram has a quantile")
	}
	for i := range int64(100) {
		h.add(i)
	}
	if got := h.quantile(0.99); got != 99 {
		t.Errorf("p99 of 0..99 is %d", got)
	}
}

// BenchmarkPrecise prints how late waiting for a millisecond ends.
func BenchmarkPrecise(b *testing.B) {
	var late []float64
	for b.Loop() {
		end := time.Now().Add(time.Millisecond)
		Precise(b.Context(), time.Until(end))
		late = append(late, float64(time.Since(end))/1e3)
	}
	slices.Sort(late)
	b.ReportMetric(late[len(late)/2], "late-p50-µs")
	b.ReportMetric(late[len(late)*99/100], "late-p99-µs")
}
