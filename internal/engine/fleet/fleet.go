// Package fleet is one engine made of several, one a device: a batch goes to the least loaded, a device
// that fails is taken out and its batch is computed once more elsewhere, and the device returns when an
// engine made anew gives the right answer.
//
// Memory: a row is lent by one of the devices, the one that has lent the fewest, and any of them may
// compute it: an engine reads rows that another made where they lie, or copies them to memory of its
// own (engine.Engine). A device that is taken out is closed only when its rows have come back and its
// runs have returned, since both still use its memory.
//
// A run that misses its deadline is given up, not ended: nothing can end it. It computes on rows that are
// held for it until it returns, into memory of its own from which answers that are on time are copied,
// so that one that comes late writes where nobody reads.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// CPU is the Device.GPU of the processor.
const CPU = -1

// Device is where one engine of a fleet computes.
type Device struct {
	GPU       int    // the card's number, or CPU
	UUID      string // the card's, for metrics; "" if it has none
	Instances int    // Runs that are to overlap on it
}

// String is the device's name in logs and metrics: "cpu", "gpu:0".
func (d Device) String() string {
	if d.GPU == CPU {
		return "cpu"
	}
	return fmt.Sprintf("gpu:%d", d.GPU)
}

// Factory makes the engine of a device. It is called for all devices at once at the start, and again,
// one device at a time, for one that failed; what it made before for that device has been closed then.
type Factory func(ctx context.Context, d Device) (engine.Engine, error)

// Options configure a Fleet. Zero values are usable.
type Options struct {
	// Timeout is how long a Run may take before its device counts as failed; 0 is no limit.
	Timeout time.Duration
	Logger  *slog.Logger // nil means slog.Default
}

// Fleet is an engine made of the engines of several devices.
type Fleet struct {
	spec    engine.Spec
	members []*member
	factory Factory
	timeout time.Duration
	log     *slog.Logger
	want    []float32 // the answer to the test image

	ctx     context.Context //nolint:containedctx // of repairs: it ends with Close
	stop    context.CancelFunc
	repairs sync.WaitGroup
	jobs    sync.Pool

	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex
	closed  bool
	inside  int           // calls of Run and NewRow, which Close waits for
	next    int           // the member that is asked first: equals take turns
	waiting int           // Runs that wait for a free device
	changed chan struct{} // closed, and made anew, when waiting ones should look again
}

var (
	_ engine.Engine  = (*Fleet)(nil)
	_ engine.Devices = (*Fleet)(nil)
)

// New makes an engine for each device and has each prove itself with a test image. All have to agree;
// one that cannot be made fails them all.
func New(ctx context.Context, devices []Device, factory Factory, o Options) (*Fleet, error) {
	if len(devices) == 0 {
		return nil, errors.New("no device to compute on")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	f := &Fleet{factory: factory, log: o.Logger, changed: newSignal()}
	f.jobs.New = func() any { return newJob() }
	f.ctx, f.stop = context.WithCancel(context.Background())
	for _, d := range devices {
		f.members = append(f.members, &member{device: d})
	}
	if err := f.start(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.timeout = o.Timeout // only now: a first run may compile what it needs
	return f, nil
}

// start makes all members, side by side.
func (f *Fleet) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers, errs := make([][]float32, len(f.members)), make([]error, len(f.members))
	var all sync.WaitGroup
	for i, m := range f.members {
		all.Go(func() {
			u, answer, err := f.build(ctx, m.device)
			if err != nil {
				errs[i] = err
				cancel() // the others are not needed
				return
			}
			answers[i] = answer
			f.seat(m, u)
		})
	}
	all.Wait()
	if err := firstCause(errs); err != nil {
		return err
	}
	return f.agree(answers)
}

// firstCause leaves out those that failed because another had.
func firstCause(errs []error) error {
	var causes []error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			causes = append(causes, err)
		}
	}
	if causes == nil {
		return errors.Join(errs...)
	}
	return errors.Join(causes...)
}

// agree makes one engine of all that were made, if they compute the same.
func (f *Fleet) agree(answers [][]float32) error {
	first := f.members[0]
	specs := make([]engine.Spec, len(f.members))
	for i, m := range f.members {
		specs[i] = m.unit.spec
		if err := compatible(specs[0], specs[i]); err != nil {
			return fmt.Errorf("%v and %v: %w", first.device, m.device, err)
		}
		if err := same(specs[0].Precision, answers[i], answers[0]); err != nil {
			return fmt.Errorf("%v and %v disagree on the test image: %w", first.device, m.device, err)
		}
	}
	f.spec, f.want = merge(specs), answers[0]
	return nil
}

// Spec describes all devices together: InFlight is their sum.
func (f *Fleet) Spec() engine.Spec { return f.spec }

// NewRow lends a row of the device that has lent the fewest. It fails with fault.Unavailable while no
// device is up.
func (f *Fleet) NewRow(format tensor.Format) (tensor.Row, error) {
	if !f.spec.Accepts(format) {
		return nil, fault.New(fault.Invalid, "no row of format %v: the engine takes %v", format, f.spec.Formats)
	}
	for {
		m, u, err := f.lender()
		if err != nil {
			return nil, err
		}
		r, err := f.lend(m, u, format)
		if err == nil {
			return r, nil
		}
		if !lost(err) {
			return nil, err
		}
	}
}

// lend makes a row of the lender's. A device that cannot be asked any more is taken out.
func (f *Fleet) lend(m *member, u *unit, format tensor.Format) (*row, error) {
	defer f.leave()
	inner, err := u.engine.NewRow(format)
	if err == nil {
		return &row{fleet: f, unit: u, inner: inner, holds: 1}, nil
	}
	f.dropRow(u)
	if lost(err) {
		f.takeOut(m, u, err)
	}
	return nil, err
}

// Run computes a batch on the least loaded device, and once more on another if that one fails.
func (f *Fleet) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if err := f.spec.Check(rows, out); err != nil {
		return engine.Timings{}, err
	}
	if err := f.enter(); err != nil {
		return engine.Timings{}, err
	}
	defer f.leave()
	own, err := f.adopt(rows)
	if err != nil {
		return engine.Timings{}, err
	}
	defer f.disown(own, rows)
	t, failed, err := f.attempt(ctx, own, out, nil)
	if failed == nil {
		return t, err
	}
	t, again, second := f.attempt(ctx, own, out, failed)
	switch {
	case again != nil: // no third time: what kills a device may kill each that it is given to
		return t, fault.Wrap(fault.Unavailable, second, "the batch was lost with two devices, %v and %v", failed.device, again.device).After(f.soon())
	case lost(second):
		return t, fault.Wrap(fault.Unavailable, err, "the batch was lost with %v and there is no other device", failed.device).After(f.soon())
	}
	return t, second
}

// attempt computes a batch on a device other than not. failed is the device if that is what failed.
func (f *Fleet) attempt(ctx context.Context, rows []*row, out [][]float32, not *member) (t engine.Timings, failed *member, err error) {
	m, u, err := f.take(ctx, not)
	if err != nil {
		return t, nil, err
	}
	if not != nil {
		f.retried(not)
	}
	start := time.Now()
	t, err = f.compute(ctx, u, rows, out, f.timeout)
	f.give(m, u, len(rows), time.Since(start), err)
	if !lost(err) {
		return t, nil, err
	}
	f.takeOut(m, u, err)
	return t, m, err
}

// Close waits for runs under way, those excepted that have missed their deadline, and closes all engines.
func (f *Fleet) Close() error {
	f.closeOnce.Do(func() {
		f.stop()
		f.mu.Lock()
		f.closed = true
		f.wake()
		for f.inside > 0 {
			f.await(context.Background())
		}
		f.mu.Unlock()
		f.repairs.Wait()
		for _, m := range f.members {
			f.closeErr = errors.Join(f.closeErr, f.dismiss(m))
		}
	})
	return f.closeErr
}

// dismiss closes a member's engine, if it has one.
func (f *Fleet) dismiss(m *member) error {
	f.mu.Lock()
	u := m.unit
	m.down("the engine is closed")
	f.mu.Unlock()
	if u == nil {
		return nil
	}
	return f.discard(f.ctx, u)
}

// enter lets a Run in, unless the fleet is closed.
func (f *Fleet) enter() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return engine.ErrClosed()
	}
	f.inside++
	return nil
}

func (f *Fleet) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inside--
	f.wake()
}
