// Package batcher forms batches for an engine, greedily: whenever an instance is free it takes what
// is queued, up to the largest batch. Waiting for more (a queue delay, preferred sizes) is for those
// who ask for it.
//
// A part has one life: it is queued, a batch takes it, the engine computes it, it is answered. It can
// leave early from the queue (cancelled, timed out), and then frees its place at once; and it can be
// abandoned inside a batch, which then runs on for its neighbours.
package batcher

import (
	"context"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// Batcher feeds one engine. All methods are safe for concurrent use.
type Batcher struct {
	engine   engine.Engine
	spec     engine.Spec
	cfg      Config
	recovers bool            // fault.Unavailable is not the engine's end
	ctx      context.Context //nolint:containedctx // every run's context: it ends when Close gives up waiting politely
	stop     context.CancelFunc
	workers  sync.WaitGroup
	tickets  sync.Pool

	mu      sync.Mutex
	work    *sync.Cond // free workers wait here
	free    int        // workers that wait
	alarm   *time.Timer
	queue   queue
	rules   rules
	refusal error // why nothing is accepted any more, nil while open
	closed  bool
	drained chan struct{} // closed once refusal is set and nothing waits or runs
	settled bool          // drained is closed
	stats   counters
}

// New starts Spec().InFlight workers on the engine; Close stops them. The engine stays the caller's.
func New(e engine.Engine, cfg Config) (*Batcher, error) {
	spec := e.Spec()
	cfg, err := cfg.complete(spec)
	if err != nil {
		return nil, err
	}
	b := &Batcher{
		engine: e, spec: spec, cfg: cfg,
		queue:   newQueue(cfg.PriorityLevels),
		rules:   rules{max: cfg.MaxBatchSize, delay: cfg.MaxQueueDelay, preferred: preferredSet(&cfg)},
		drained: make(chan struct{}),
		stats:   newCounters(cfg.MaxBatchSize),
	}
	_, b.recovers = e.(engine.Devices)
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.tickets.New = func() any { return &ticket{done: make(chan struct{}, 1)} }
	b.work = sync.NewCond(&b.mu)
	b.alarm = time.AfterFunc(time.Hour, b.wakeAll)
	b.alarm.Stop()
	for range spec.InFlight {
		b.workers.Go(b.serve)
	}
	return b, nil
}

// preferredSet is indexed by batch size; nil if no size is preferred.
func preferredSet(c *Config) []bool {
	if len(c.PreferredBatchSizes) == 0 {
		return nil
	}
	set := make([]bool, c.MaxBatchSize+1)
	for _, n := range c.PreferredBatchSizes {
		set[n] = true
	}
	return set
}

// Do submits a part and waits for its answer: nil when every p.Out is filled, otherwise a
// *fault.Error of this part's own. line gets the moments that the part reached and its batch's size.
//
// Do takes over the rows and has each released exactly once, whatever happens: when the batch is
// done, or at once if the part is refused or leaves the queue. After an error p.Out must not be used
// again, since a batch that the part abandoned may still be writing to it.
func (b *Batcher) Do(ctx context.Context, p Part, line *telemetry.Timeline) error {
	err := b.check(ctx, &p)
	if err != nil {
		releaseAll(p.Rows)
		return err
	}
	t := b.newTicket(&p)
	if err := b.enqueue(t); err != nil {
		b.discard(t)
		return err
	}
	policy := b.cfg.policy(t.level)
	return b.await(ctx, t, policy.timeout(p.Timeout), line)
}

// check refuses what no engine could run.
func (b *Batcher) check(ctx context.Context, p *Part) error {
	n := len(p.Rows)
	switch {
	case ctx.Err() != nil:
		return fault.Of(ctx.Err())
	case n == 0 || n > b.cfg.MaxBatchSize:
		return fault.New(fault.Invalid, "a batch of %d is outside 1 to %d, the model's largest batch", n, b.cfg.MaxBatchSize)
	case n != len(p.Out):
		return fault.New(fault.Internal, "%d rows have room for %d embeddings", n, len(p.Out))
	}
	format := p.Rows[0].Format()
	if !b.spec.Accepts(format) || int(format) >= formats {
		return fault.New(fault.Internal, "the engine does not accept rows of %v", format)
	}
	for i, r := range p.Rows {
		if r.Format() != format || len(p.Out[i]) != b.spec.Dim() {
			return fault.New(fault.Internal, "row %d differs from its batch", i)
		}
	}
	return nil
}

// enqueue accepts a ticket or says why not.
func (b *Batcher) enqueue(t *ticket) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal != nil {
		return ownFault(b.refusal)
	}
	if most, waiting := b.cfg.policy(t.level).MaxQueueSize, b.waiting(t.level); most > 0 && waiting >= most {
		b.stats.refused++
		return fault.New(fault.Exhausted, "the queue is full (%d waiting)", waiting).After(b.backlog())
	}
	t.at.queued = time.Now()
	b.queue.push(t, false)
	if b.free > 0 {
		b.work.Signal()
	}
	return nil
}

// waiting is how many parts stand in the queue that bounds a level. The lock is held.
func (b *Batcher) waiting(level int) int {
	if len(b.cfg.Levels) > 0 {
		return b.queue.levels[level]
	}
	return b.queue.parts
}

// await waits until t is answered, abandoned or out of time.
func (b *Batcher) await(ctx context.Context, t *ticket, timeout time.Duration, line *telemetry.Timeline) error {
	expired := t.expiry(timeout)
	for {
		select {
		case <-t.done:
			return b.collect(t, line)
		case <-ctx.Done():
			if b.abandon(t, line) {
				return fault.Of(ctx.Err())
			}
			<-t.done
			return b.collect(t, line)
		case <-expired:
			expired = nil
			if b.expire(t, line) {
				return fault.New(fault.Timeout, "the request waited longer than %v in the queue", timeout)
			}
		}
	}
}

// collect takes an answered ticket's answer.
func (b *Batcher) collect(t *ticket, line *telemetry.Timeline) error {
	t.at.write(line)
	line.BatchSize = t.size
	err := t.err
	b.recycle(t)
	if err != nil {
		return ownFault(err)
	}
	return nil
}

// ownFault copies err's fault, so that whoever gets it may name its own item in it.
func ownFault(err error) *fault.Error {
	f := *fault.Of(err)
	return &f
}

// abandon gives a ticket up; false if it has been answered in the meantime.
func (b *Batcher) abandon(t *ticket, line *telemetry.Timeline) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch t.state {
	case waiting:
		b.leave(t, line)
		b.stats.abandoned++
	case running: // the worker may be writing the later stamps
		line.At[telemetry.Queued], line.At[telemetry.Batched] = t.at.queued, t.at.batched
		t.state = abandoned
		b.stats.abandoned++
	default:
		return false
	}
	return true
}

// expire ends a waiting ticket's time: it leaves (true) or is put behind those that have time left.
func (b *Batcher) expire(t *ticket, line *telemetry.Timeline) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.state != waiting {
		return false
	}
	b.stats.timedOut++
	if b.cfg.policy(t.level).TimeoutAction == Delay {
		b.queue.remove(t)
		b.queue.push(t, true)
		return false
	}
	b.leave(t, line)
	return true
}

// leave takes a ticket out of the queue and ends its life. The lock is held.
func (b *Batcher) leave(t *ticket, line *telemetry.Timeline) {
	b.queue.remove(t)
	t.at.write(line)
	b.discard(t)
	b.settle()
}

// discard ends the life of a ticket that no batch took.
func (b *Batcher) discard(t *ticket) {
	releaseAll(t.rows)
	b.recycle(t)
}

// Drain refuses new parts with fault.Unavailable and waits until those accepted are answered. It
// returns the context's error if that ends first; the parts that remain are still served.
func (b *Batcher) Drain(ctx context.Context) error {
	b.mu.Lock()
	b.refuse(fault.New(fault.Unavailable, "the server is shutting down"))
	b.rules.hurry = true
	b.work.Broadcast()
	b.mu.Unlock()
	select {
	case <-b.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close fails what is queued with fault.Unavailable, ends the context of running batches and waits
// for them. A second Close waits as well.
func (b *Batcher) Close() {
	b.mu.Lock()
	b.refuse(fault.New(fault.Unavailable, "the server is shutting down"))
	b.failQueued()
	b.closed = true
	b.alarm.Stop()
	b.stop()
	b.work.Broadcast()
	b.mu.Unlock()
	b.workers.Wait()
}

// Err says why parts are refused, nil while they are accepted.
func (b *Batcher) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusal
}

// refuse closes the door; the first reason stays. The lock is held.
func (b *Batcher) refuse(why error) {
	if b.refusal == nil {
		b.refusal = why
	}
	b.settle()
}

// failQueued answers every waiting ticket with the refusal. The lock is held.
func (b *Batcher) failQueued() {
	for i := range b.queue.lanes {
		for f := range formats {
			for t := b.queue.lanes[i][f].head; t != nil; t = b.queue.lanes[i][f].head {
				b.queue.remove(t)
				releaseAll(t.rows)
				t.state, t.err = answered, b.refusal
				t.done <- struct{}{}
			}
		}
	}
	b.settle()
}

// settle tells those who drain once nothing is left. The lock is held.
func (b *Batcher) settle() {
	if !b.settled && b.refusal != nil && b.queue.parts == 0 && b.stats.running == 0 {
		b.settled = true
		close(b.drained)
	}
}
