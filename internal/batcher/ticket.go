package batcher

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Part is what is submitted: one row, or several that must run as one execution. Rows and Out are
// read only during Do; what they point to is used as Do says.
type Part struct {
	Rows     []tensor.Row  // all of one format
	Out      [][]float32   // one a row, each of the engine's Spec().Dim()
	Priority uint32        // 1 is the highest level, 0 the default one
	Timeout  time.Duration // longest time in the queue, 0 for the configured one
	Begun    Beginner      // told when a batch takes the part; may be nil
}

// Beginner is told that a part leaves the queue for a batch. The batcher's lock is held: Begin must
// be quick and must not call the batcher.
type Beginner interface{ Begin() }

// state is where a ticket is; the batcher's lock guards it.
type state uint8

const (
	waiting   state = iota // in the queue: whoever removes it owns it
	running                // in a batch: the worker releases the rows
	answered               // the answer is, or is about to be, in done: the submitter owns it
	abandoned              // in a batch, and nobody waits: the worker recycles it
)

// ticket is a part inside the batcher. Tickets are pooled; whoever ends a ticket's life recycles it.
type ticket struct {
	rows   []tensor.Row
	out    [][]float32
	format tensor.Format
	level  int
	begun  Beginner
	state  state

	lane       *lane // where it waits
	prev, next *ticket

	done chan struct{} // one element, filled once when the ticket is answered
	err  error
	size int // rows of its batch
	at   stamps

	timer *time.Timer // nil until a timeout was first needed
}

// stamps are the moments that a batcher knows of.
type stamps struct{ queued, batched, inputReady, computed, outputReady time.Time }

// write copies the moments that were reached to a part's timeline.
func (s *stamps) write(line *telemetry.Timeline) {
	line.At[telemetry.Queued] = s.queued
	line.At[telemetry.Batched] = s.batched
	line.At[telemetry.InputReady] = s.inputReady
	line.At[telemetry.Computed] = s.computed
	line.At[telemetry.OutputReady] = s.outputReady
}

func (b *Batcher) newTicket(p *Part) *ticket {
	t := b.tickets.Get().(*ticket)
	t.rows = append(t.rows, p.Rows...)
	t.out = append(t.out, p.Out...)
	t.format = p.Rows[0].Format()
	t.level = b.cfg.level(p.Priority)
	t.begun = p.Begun
	t.state = waiting
	return t
}

func (b *Batcher) recycle(t *ticket) {
	clear(t.rows)
	clear(t.out)
	t.rows, t.out = t.rows[:0], t.out[:0]
	t.begun, t.err, t.size, t.at = nil, nil, 0, stamps{}
	if t.timer != nil {
		t.timer.Stop()
	}
	b.tickets.Put(t)
}

// expiry starts the ticket's timer and returns its channel, nil for no timeout.
func (t *ticket) expiry(d time.Duration) <-chan time.Time {
	switch {
	case d <= 0:
		return nil
	case t.timer == nil:
		t.timer = time.NewTimer(d)
	default:
		t.timer.Reset(d)
	}
	return t.timer.C
}

func releaseAll(rows []tensor.Row) {
	for _, r := range rows {
		r.Release()
	}
}
