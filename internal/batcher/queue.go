package batcher

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// formats is the number of row formats, the invalid one included.
const formats = int(tensor.FormatFloat16CHW) + 1

// queue holds waiting tickets in lanes: for each priority level, first those in time, then those
// whose time ran out and that were kept (Delay). A lane keeps formats apart, since a batch has one
// format; within a lane's format the order is that of arrival.
type queue struct {
	lanes [][formats]lane // index 2*level, and 2*level+1 for the late ones
	parts int
	rows  int
	// levels are the parts of each level.
	levels []int
}

// lane is a list of tickets, oldest first.
type lane struct{ head, tail *ticket }

func newQueue(levels uint32) queue {
	return queue{lanes: make([][formats]lane, 2*levels), levels: make([]int, levels)}
}

// push adds a ticket to its level, behind all others of its lane.
func (q *queue) push(t *ticket, late bool) {
	i := 2 * t.level
	if late {
		i++
	}
	l := &q.lanes[i][t.format]
	t.lane, t.prev, t.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = t
	} else {
		l.head = t
	}
	l.tail = t
	q.parts++
	q.levels[t.level]++
	q.rows += len(t.rows)
}

// remove takes a ticket out, wherever it stands.
func (q *queue) remove(t *ticket) {
	l := t.lane
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.lane, t.prev, t.next = nil, nil, nil
	q.parts--
	q.levels[t.level]--
	q.rows -= len(t.rows)
}

// first is the next ticket of a format in the order in which batches take them, from lane i on, and
// its lane's index; nil if there is none.
func (q *queue) first(format, i int) (*ticket, int) {
	for ; i < len(q.lanes); i++ {
		if t := q.lanes[i][format].head; t != nil {
			return t, i
		}
	}
	return nil, i
}

// after is the ticket that follows t, which stands in lane i.
func (q *queue) after(t *ticket, i int) (*ticket, int) {
	if t.next != nil {
		return t.next, i
	}
	return q.first(int(t.format), i+1)
}

// A proposal is the batch that one format's waiting tickets would make now.
type proposal struct {
	format  int
	tickets int           // how many, from the first on; 0 if it is better to wait
	wait    time.Duration // how long at most, where tickets is 0
	lane    int           // of the first ticket: lower goes first
	since   time.Time     // when the first ticket was queued: earlier goes first
}

// before tells whether p is to run rather than o: readiness, then priority, then age.
func (p *proposal) before(o *proposal) bool {
	switch {
	case (p.tickets > 0) != (o.tickets > 0):
		return p.tickets > 0
	case p.tickets == 0:
		return p.wait < o.wait
	case p.lane != o.lane:
		return p.lane < o.lane
	}
	return p.since.Before(o.since)
}

// best is the proposal that is to run next, or the one to wait for; false if nothing waits.
func (q *queue) best(r *rules, now time.Time) (best proposal, found bool) {
	for f := range formats {
		p, ok := q.propose(r, f, now)
		if ok && (!found || p.before(&best)) {
			best, found = p, true
		}
	}
	return best, found
}

// rules say when a batch is good enough to run.
type rules struct {
	max       int
	preferred []bool // by size, nil if none is preferred
	delay     time.Duration
	hurry     bool // draining: nobody else will come
}

// propose walks the waiting tickets of one format until the next would not fit. The largest prefix of
// a preferred size runs at once; otherwise all that fit run if waiting is pointless (the batch is
// full, or the next ticket does not fit) or over.
func (q *queue) propose(r *rules, format int, now time.Time) (proposal, bool) {
	t, i := q.first(format, 0)
	if t == nil {
		return proposal{}, false
	}
	p := proposal{format: format, lane: i, since: t.at.queued}
	n, rows, preferred := 0, 0, 0
	oldest := t.at.queued
	for ; t != nil && rows+len(t.rows) <= r.max; t, i = q.after(t, i) {
		n++
		rows += len(t.rows)
		if t.at.queued.Before(oldest) {
			oldest = t.at.queued
		}
		if r.preferred != nil && r.preferred[rows] {
			preferred = n
		}
	}
	full := t != nil || rows == r.max
	p.wait = r.delay - now.Sub(oldest)
	switch {
	case preferred > 0:
		p.tickets = preferred
	case full || r.hurry || p.wait <= 0:
		p.tickets = n
	}
	return p, true
}
