package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
)

// Times between attempts to bring a device back: each twice the last, from the first again for a device
// that stayed up for longer than the longest.
const (
	firstDelay = time.Second
	maxDelay   = time.Minute
)

// takeOut has nothing more given to a unit that failed, and sees to the device's return. Only the first
// failure of a unit counts.
func (f *Fleet) takeOut(m *member, u *unit, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.unit != u {
		return
	}
	overrun := errors.Is(err, errOverrun)
	why := err.Error()
	if overrun {
		why = fmt.Sprintf("a run did not end within %v", f.timeout)
	}
	if time.Since(m.since) > maxDelay {
		m.delay = 0
	}
	m.failures++
	m.down(why)
	u.retire(overrun)
	f.wake()
	f.log.Error("device taken out", "device", m.device.String(), "because", why, "runs", u.running, "rows_lent", u.lent, "devices_up", f.upCount())
	f.repairs.Go(func() { f.repair(f.ctx, m, u) })
}

// upCount is the number of devices that are up. The lock is held.
func (f *Fleet) upCount() (n int) {
	for _, m := range f.members {
		if m.unit != nil {
			n++
		}
	}
	return n
}

// repair brings a device back, however often that takes.
func (f *Fleet) repair(ctx context.Context, m *member, old *unit) {
	if err := f.bury(ctx, old); err != nil {
		f.log.Warn("the engine that failed did not close cleanly", "device", m.device.String(), "error", err)
	}
	for ctx.Err() == nil {
		pause(ctx, f.planTrial(m))
		began := time.Now()
		u, _, err := f.build(ctx, m.device)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = f.discard(ctx, u) // nobody is left to tell
			}
		case err != nil:
			f.log.Warn("device stays out", "device", m.device.String(), "because", err)
		default:
			f.seat(m, u)
			f.log.Info("device is back", "device", m.device.String(), "took", time.Since(began).Round(time.Millisecond))
			return
		}
	}
}

// planTrial is how long to wait before the next attempt.
func (f *Fleet) planTrial(m *member) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.delay = min(max(2*m.delay, firstDelay), maxDelay)
	m.trial = time.Now().Add(m.delay)
	return m.delay
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// seat puts a unit that has proven itself in its device's place.
func (f *Fleet) seat(m *member, u *unit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !m.since.IsZero() {
		m.returns++
	}
	m.up(u)
	f.wake()
}

// discard retires a unit that is in nobody's place any more.
func (f *Fleet) discard(ctx context.Context, u *unit) error {
	f.mu.Lock()
	u.retire(true)
	f.mu.Unlock()
	return f.bury(ctx, u)
}

// bury closes a retired unit once nothing uses it. When ctx ends first, which is when the fleet is
// closed, rows that are still lent become invalid as by any engine's Close, but an engine whose rows are
// read by a run that has not come back, or in which it is, is closed when that does.
func (f *Fleet) bury(ctx context.Context, u *unit) error {
	select {
	case <-u.quiet:
		return u.engine.Close()
	case <-ctx.Done():
	}
	select {
	case <-u.idle:
		return u.engine.Close()
	default:
	}
	go func() {
		<-u.idle
		_ = u.engine.Close() // nobody is left to tell
	}()
	return nil
}

// build makes a device's engine and has it prove itself. answer is what it made of the test image.
func (f *Fleet) build(ctx context.Context, d Device) (_ *unit, answer []float32, err error) {
	e, err := f.manufacture(ctx, d)
	if err != nil {
		return nil, nil, fmt.Errorf("%v: %w", d, err)
	}
	u := newUnit(e)
	answer, err = f.prove(ctx, u)
	if err == nil && f.want != nil {
		err = f.fits(u.spec, answer)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%v: test inference: %w", d, errors.Join(err, f.discard(ctx, u)))
	}
	return u, answer, nil
}

// fits tells whether an engine made anew can take the place of the one before.
func (f *Fleet) fits(s engine.Spec, answer []float32) error {
	if err := compatible(f.spec, s); err != nil {
		return err
	}
	if s.MaxBatch < f.spec.MaxBatch {
		return fmt.Errorf("the largest batch is %d now and was %d", s.MaxBatch, f.spec.MaxBatch)
	}
	return same(s.Precision, answer, f.want)
}

// manufacture is the factory with a panic turned into an error: a repair runs in nobody's request.
func (f *Fleet) manufacture(ctx context.Context, d Device) (e engine.Engine, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "the engine could not be made: %v", p)
		}
	}()
	return f.factory(ctx, d)
}
