package fleet

import (
	"context"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
)

// take reserves a run on the least loaded device other than not, waiting while all that are up are full.
func (f *Fleet) take(ctx context.Context, not *member) (*member, *unit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		m, some := f.idlest(not)
		switch {
		case m != nil:
			m.unit.running++
			m.unit.jobs++ // from now on: it may be taken out before the run begins
			return m, m.unit, nil
		case !some:
			return nil, nil, f.noDevice()
		}
		f.await(ctx)
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
}

// idlest is the member with the smallest share of its runs taken, nil if all are full; some tells whether
// one is up at all. Equals take turns. The lock is held.
func (f *Fleet) idlest(not *member) (best *member, some bool) {
	n := len(f.members)
	chosen := 0
	for i := range n {
		at := (f.next + i) % n
		m := f.members[at]
		if m == not || m.unit == nil {
			continue
		}
		some = true
		u := m.unit
		if u.running >= u.spec.InFlight {
			continue
		}
		if best == nil || u.running*best.unit.spec.InFlight < best.unit.running*u.spec.InFlight {
			best, chosen = m, at
		}
	}
	if best != nil {
		f.next = (chosen + 1) % n
	}
	return best, some
}

// give ends what take began, and counts it.
func (f *Fleet) give(m *member, u *unit, rows int, took time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u.running--
	m.executions++
	m.busy += took
	if err == nil {
		m.items += int64(rows)
	}
	f.wake()
}

// retried counts a run that failed with a device and goes to another.
func (f *Fleet) retried(from *member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from.retries++
}

// await gives the lock up until something has changed or ctx has ended. The lock is held.
func (f *Fleet) await(ctx context.Context) {
	changed := f.changed
	f.waiting++
	f.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.waiting--
}

// wake has those who wait look again. The lock is held.
func (f *Fleet) wake() {
	if f.waiting > 0 {
		close(f.changed)
		f.changed = newSignal()
	}
}

// noDevice is why nothing can be computed now. The lock is held.
func (f *Fleet) noDevice() error {
	if f.closed {
		return engine.ErrClosed()
	}
	return fault.New(fault.Unavailable, "no device is up").After(f.nextTrial())
}

// soon is when a device may be back.
func (f *Fleet) soon() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nextTrial()
}

// nextTrial is the time until the next attempt to bring a device back, at least a second: it takes a
// while to make an engine. The lock is held.
func (f *Fleet) nextTrial() time.Duration {
	wait := maxDelay
	for _, m := range f.members {
		if m.unit != nil || m.trial.IsZero() {
			continue
		}
		wait = min(wait, time.Until(m.trial))
	}
	return max(wait, firstDelay)
}

// lender is the member that has lent the fewest rows for its runs, with one more row counted. The caller
// is inside then and leaves.
func (f *Fleet) lender() (*member, *unit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, engine.ErrClosed()
	}
	var best *member
	for _, m := range f.members {
		u := m.unit
		if u != nil && (best == nil || u.lent*best.unit.spec.InFlight < best.unit.lent*u.spec.InFlight) {
			best = m
		}
	}
	if best == nil {
		return nil, nil, f.noDevice()
	}
	best.unit.lent++
	f.inside++
	return best, best.unit, nil
}
