package fleet

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

const (
	ms       = time.Millisecond
	side     = 4
	dim      = 8
	maxBatch = 4
	latency  = 10 * ms
)

// card is a fake device: the null engine, and what a test does to it. It outlives the engines that are
// made for it.
type card struct {
	device Device

	mu      sync.Mutex
	latency time.Duration
	broken  bool          // runs fail with fault.Unavailable, and so does the factory
	noRows  bool          // so do rows
	wrong   bool          // answers are wrong
	gate    chan struct{} // runs wait for it, whatever their context says; nil does not wait
	poison  byte          // a row that begins with it breaks the card; 0 is none
	made    []*fakeEngine
	runs    int
	rows    int
	killed  int
	mostNow int
	now     int
}

func (c *card) set(change func(*card)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *card) get() card {
	c.mu.Lock()
	defer c.mu.Unlock()
	return card{latency: c.latency, broken: c.broken, noRows: c.noRows, wrong: c.wrong, gate: c.gate, poison: c.poison,
		made: c.made, runs: c.runs, rows: c.rows, killed: c.killed, mostNow: c.mostNow, now: c.now}
}

// fakeEngine is one engine of a card.
type fakeEngine struct {
	*null.Engine
	card *card

	mu     sync.Mutex
	lent   map[*fakeRow]bool
	inside int
	closed int
	t      *testing.T
}

// fakeRow tells the test when it is used after its engine's end.
type fakeRow struct {
	tensor.Row
	engine *fakeEngine
}

func (r *fakeRow) Bytes() []byte {
	e := r.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed > 0 || !e.lent[r] {
		e.t.Errorf("a row of %v is used after its end", e.card.device)
	}
	return r.Row.Bytes()
}

func (r *fakeRow) Release() {
	e := r.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.lent[r] {
		e.t.Error("a row was released twice")
	}
	delete(e.lent, r)
	r.Row.Release()
}

func (e *fakeEngine) NewRow(f tensor.Format) (tensor.Row, error) {
	if e.card.get().noRows {
		return nil, fault.New(fault.Unavailable, "the card is gone")
	}
	inner, err := e.Engine.NewRow(f)
	if err != nil {
		return nil, err
	}
	r := &fakeRow{inner, e}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lent[r] = true
	return r, nil
}

func (e *fakeEngine) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	c := e.card
	e.count(1)
	defer e.count(-1)
	c.set(func(c *card) {
		c.runs++
		c.now++
		c.mostNow = max(c.mostNow, c.now)
		for _, r := range rows {
			if c.poison != 0 && r.Bytes()[0] == c.poison {
				c.broken = true
				c.killed++
			}
		}
	})
	defer c.set(func(c *card) { c.now-- })
	state := c.get()
	if state.gate != nil {
		<-state.gate
	}
	if err := sleep(ctx, state.latency); err != nil {
		return engine.Timings{}, err
	}
	if c.get().broken {
		return engine.Timings{}, fault.New(fault.Unavailable, "the card fell off the bus")
	}
	for i, r := range rows { // reads rows of other engines too, and after the deadline
		null.Vector(out[i], r.Bytes())
		if state.wrong {
			out[i][0] += 100
		}
	}
	c.set(func(c *card) { c.rows += len(rows) })
	return engine.Timings{Compute: state.latency}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *fakeEngine) count(d int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inside += d
	if e.closed > 0 {
		e.t.Error("a run in an engine that is closed")
	}
}

func (e *fakeEngine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed++
	if e.closed > 1 {
		e.t.Error("an engine was closed twice")
	}
	if e.inside > 0 || len(e.lent) > 0 {
		e.t.Errorf("%v was closed with %d runs in it and %d rows lent", e.card.device, e.inside, len(e.lent))
	}
	return nil
}

// rig is a fleet of fake cards.
type rig struct {
	t     *testing.T
	cards []*card
	fleet *Fleet
}

// newRig makes a fleet of n cards with so many instances each.
func newRig(t *testing.T, n, instances int, timeout time.Duration) *rig {
	t.Helper()
	g := &rig{t: t}
	var devices []Device
	for i := range n {
		d := Device{GPU: i, Instances: instances}
		devices = append(devices, d)
		g.cards = append(g.cards, &card{device: d, latency: latency})
	}
	var err error
	if g.fleet, err = New(t.Context(), devices, g.make, Options{Timeout: timeout, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *rig) make(_ context.Context, d Device) (engine.Engine, error) {
	c := g.cards[d.GPU]
	if c.get().broken {
		return nil, fault.New(fault.Unavailable, "no such card")
	}
	e := &fakeEngine{card: c, lent: map[*fakeRow]bool{}, t: g.t,
		Engine: null.New(null.Options{Width: side, Height: side, Dim: dim, MaxBatch: maxBatch, InFlight: d.Instances})}
	c.set(func(c *card) { c.made = append(c.made, e) })
	return e, nil
}

// finish closes the fleet and checks that every engine that was made is closed.
func (g *rig) finish() {
	g.t.Helper()
	if err := g.fleet.Close(); err != nil {
		g.t.Error(err)
	}
	for _, c := range g.cards {
		for i, e := range c.get().made {
			if e.closed != 1 {
				g.t.Errorf("engine %d of %v was closed %d times", i, c.device, e.closed)
			}
		}
	}
}

// run embeds images that begin with the given bytes, as one batch, and checks the answer.
func (g *rig) run(first ...byte) error { return g.runOf(side, dim, first...) }

// runOf is run for a model of another size.
func (g *rig) runOf(side, dim int, first ...byte) error {
	rows, out := make([]tensor.Row, len(first)), make([][]float32, len(first))
	for i, b := range first {
		r, err := g.fleet.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			for _, r := range rows[:i] {
				r.Release()
			}
			return err
		}
		clear(r.Bytes())
		r.Bytes()[0], r.Bytes()[1] = b, byte(i)
		rows[i], out[i] = r, make([]float32, dim)
	}
	_, err := g.fleet.Run(context.Background(), rows, out)
	for _, r := range rows {
		r.Release()
	}
	if err != nil {
		return err
	}
	want := make([]float32, dim)
	pixels := make([]byte, tensor.FormatUint8HWC.Size(side, side))
	for i, b := range first {
		pixels[0], pixels[1] = b, byte(i)
		null.Vector(want, pixels)
		if !slices.Equal(out[i], want) {
			g.t.Errorf("row %d of %v: a wrong answer", i, first)
		}
	}
	return nil
}

// up is the number of devices that are up.
func (g *rig) up() (n int) {
	for _, d := range g.fleet.Devices() {
		if d.Up {
			n++
		}
	}
	return n
}
