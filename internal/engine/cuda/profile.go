package cuda

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
)

// operator is a kind of work in the forward pass. The names are those of the processor's engine, so that two
// profiles can be compared.
type operator int

const (
	opInput operator = iota
	opPatch
	opNorm
	opQKV
	opAttention
	opOut
	opFC1
	opFC2
	opProjection
	operators
)

var operatorNames = [operators]string{
	opInput: "input", opPatch: "patch", opNorm: "norm", opQKV: "qkv", opAttention: "attention",
	opOut: "out", opFC1: "fc1+activation", opFC2: "fc2", opProjection: "projection",
}

// label says which operator each layer is.
func (w *weights) label() {
	w.patch.op, w.proj.op = opPatch, opProjection
	for i := range w.blocks {
		b := &w.blocks[i]
		b.queryKeyValue.op, b.out.op, b.fc1.op, b.fc2.op = opQKV, opOut, opFC1, opFC2
	}
}

// profile adds up operators' times over all instances, and lists their calls where that is asked for.
type profile struct {
	on, trace atomic.Bool

	mu     sync.Mutex
	totals [operators]engine.OperatorTime
	list   []engine.OperatorCall
	runs   int
	late   int // runs in which the device may have waited for the host
}

// mostCalls bounds the list: 100 MB.
const mostCalls = 1 << 20

// Profile switches profiling on, from zero, or off. While it is on kernels are launched one by one, with an event
// after each, instead of as a graph.
func (e *Engine) Profile(on bool) {
	if on {
		e.profile.reset()
	}
	e.profile.on.Store(on)
}

func (p *profile) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs, p.late = 0, 0
	for op := range p.totals {
		p.totals[op] = engine.OperatorTime{Name: operatorNames[op], Where: "device"}
	}
}

// Operators is what was measured since profiling was switched on. Operations and bytes are those of the planned
// batch sizes, padding included.
func (e *Engine) Operators() []engine.OperatorTime {
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	return slices.Clone(e.profile.totals[:])
}

// Explain says how times are taken and what the card can do.
func (e *Engine) Explain() engine.Explanation {
	p := &e.profile
	p.mu.Lock()
	defer p.mu.Unlock()
	x := engine.Explanation{Means: "device time, by CUDA events between the launches, outside the graph that serves: kernels one after the " +
		"other, without the overlap of each one's beginning with its predecessor's end (programmatic dependent launch), so that they add up to more than a run takes otherwise"}
	if p.late > 0 {
		x.Means += fmt.Sprintf("; in %d of %d runs the host was slower than the card, whose waiting is in the times", p.late, p.runs)
	}
	x.PeakFLOPs, x.PeakBytes = peaks(e.gpu.Info(), e.spec.Precision)
	return x
}

// Trace switches the list of calls on, from nothing, or off.
func (e *Engine) Trace(on bool) {
	e.profile.mu.Lock()
	if on {
		e.profile.list = nil
	}
	e.profile.mu.Unlock()
	e.profile.trace.Store(on)
	e.Profile(on)
}

// Calls are the first million calls since tracing was switched on. Their beginnings are set on the host's clock by
// the instant at which it saw the last one end.
func (e *Engine) Calls() []engine.OperatorCall {
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	return slices.Clone(e.profile.list)
}

// clock times the kernels of one instance.
type clock struct {
	gpu    driver.GPU
	events []driver.Event // made as they are needed: one before the first kernel, one after each
	marked int
	done   []work
	ahead  int // graphs that are launched before, so that the host gets ahead of the device
}

// work is what a kernel was launched for.
type work struct {
	op operator
	cost
}

// mostAhead bounds the graphs ahead.
const mostAhead = 256

// mark records the next event.
func (c *clock) mark(s driver.Stream) error {
	if c.marked == len(c.events) {
		e, err := c.gpu.NewEvent()
		if err != nil {
			return err
		}
		c.events = append(c.events, e)
	}
	c.marked++
	return c.gpu.Record(c.events[c.marked-1], s)
}

func (c *clock) close() (err error) {
	for _, e := range c.events {
		err = errors.Join(err, c.gpu.CloseEvent(e))
	}
	return err
}

// timed computes the i-th planned size, an event after each kernel. An event's time is the card's, but a card that has
// nothing to do waits for the next launch, and that would count as the kernel's: so the card is given graphs of the
// same batch to compute first, more of them until the host has launched everything before the card comes to it.
func (r *instance) timed(i int) error {
	c := &r.clock
	for {
		late, err := r.timedOnce(i)
		if err != nil {
			return err
		}
		if !late || c.ahead >= mostAhead {
			return r.book(late)
		}
		c.ahead *= 2
	}
}

// timedOnce tells whether the card came to the first kernel before the last was launched. Whatever fails, nothing
// reads the rows any more when it returns.
func (r *instance) timedOnce(i int) (late bool, err error) {
	late, err = r.launchTimed(i)
	return late, errors.Join(err, r.gpu.Synchronize(r.stream))
}

func (r *instance) launchTimed(i int) (late bool, err error) {
	c := &r.clock
	c.marked, c.done, c.ahead = 0, c.done[:0], max(c.ahead, 1)
	for range c.ahead {
		if err := r.gpu.LaunchGraph(r.graphs[i], r.stream); err != nil {
			return false, err
		}
	}
	if err := c.mark(r.stream); err != nil {
		return false, err
	}
	l := r.engine.launcher(r.stream)
	l.overlap = false
	l.launched = func(w work) error {
		c.done = append(c.done, w)
		return c.mark(r.stream)
	}
	if err := r.arena.forward(l, r.engine.weights, r.batches[i]); err != nil {
		return false, err
	}
	return r.gpu.Happened(c.events[0])
}

// book adds the kernels' times to the engine's profile.
func (r *instance) book(late bool) error {
	c, p, end := &r.clock, &r.engine.profile, time.Now()
	took := make([]time.Duration, len(c.done))
	var whole time.Duration
	for i := range took {
		ms, err := r.gpu.Elapsed(c.events[i], c.events[i+1])
		if err != nil {
			return err
		}
		took[i] = time.Duration(float64(ms) * float64(time.Millisecond))
		whole += took[i]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs++
	if late {
		p.late++
	}
	start := end.Add(-whole)
	for i, w := range c.done {
		p.add(w, engine.OperatorCall{Name: operatorNames[w.op], Instance: r.number, Start: start, Duration: took[i]})
		start = start.Add(took[i])
	}
	return nil
}

// add books a call. The lock is held.
func (p *profile) add(w work, c engine.OperatorCall) {
	t := &p.totals[w.op]
	t.Calls++
	t.Total += c.Duration
	t.FLOPs += w.flops
	t.Bytes += w.bytes
	if p.trace.Load() && len(p.list) < mostCalls {
		p.list = append(p.list, c)
	}
}
