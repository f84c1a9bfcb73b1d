package cardjpeg

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/preproc"
)

// line is where images wait that no slot of the processor was free for. Slots serve it in order, from its
// front. A card's lane takes whole batches:
//
//   - Shared: only when the processor would need longer to empty the line than a batch of the lane's takes; then
//     the share of the line that the lane's rate is of all rates, so that all are done at the same time; from the
//     line's end, where images would wait longest. Rates are measured all the time.
//   - Card: whatever is there, in order, up to the largest batch.
type line struct {
	mode  Mode
	slots int

	mu      sync.Mutex
	changed sync.Cond // more waits that a lane may take, or a lane is to stop
	free    int       // slots
	waiting []*waiter // in order of their arrival
	offered int       // those of waiting that a lane may take
	lanes   []*lane   // that take
	here    meter     // seconds an image, on the processor
	stats   Stats
}

func newLine(mode Mode, slots int) *line {
	l := &line{mode: mode, slots: slots, free: slots}
	l.changed.L = &l.mu
	return l
}

// verdict is what a waiter is told.
type verdict uint8

const (
	slot verdict = iota // decode here, in the slot that is yours now
	done                // pix holds the result until copied is called
	back                // the card could not: enter again, for a slot
)

// waiter is an image in the line.
type waiter struct {
	task    preproc.Task
	offered bool // a card may take it
	answer  chan verdict

	need   need   // of a lane's memory
	pix    []byte // the result, in a lane's memory
	copied func() // lets the lane use that memory again
}

func newWaiter() *waiter { return &waiter{answer: make(chan verdict, 1)} }

// enterAtOnce takes a slot if one is free and the processor may decode anything.
func (l *line) enterAtOnce() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == 0 || l.mode == Card && len(l.lanes) > 0 {
		return false
	}
	l.free--
	return true
}

// enter waits for a slot or a card.
func (l *line) enter(w *waiter) verdict {
	if w.offered {
		w.need = needOf(&w.task)
	}
	l.mu.Lock()
	w.offered = w.offered && l.fits(w.need)
	switch {
	case l.free > 0 && l.forSlot(w):
		l.free--
		l.mu.Unlock()
		return slot
	case w.offered:
		l.offered++
		l.changed.Signal()
	}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	return <-w.answer
}

// fits tells whether some lane could take an image. The lock is held.
func (l *line) fits(n need) bool {
	return slices.ContainsFunc(l.lanes, func(a *lane) bool { return n.within(a.room) })
}

// forSlot tells whether the processor may decode what waits. The lock is held.
func (l *line) forSlot(w *waiter) bool { return l.mode == Shared || !w.offered }

// uncounted is the time of what is no image file.
const uncounted = -1

// leave gives up a slot after an image that took so long.
func (l *line) leave(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if took != uncounted {
		l.here.add(took.Seconds())
		l.stats.Processor++
	}
	l.free++
	l.giveSlots()
}

// giveSlots gives free slots to the first who may have them. The lock is held.
func (l *line) giveSlots() {
	for l.free > 0 {
		i := slices.IndexFunc(l.waiting, l.forSlot)
		if i < 0 {
			return
		}
		w := l.waiting[i]
		l.remove(i)
		l.free--
		w.answer <- slot
	}
}

// remove takes one out of the line. The lock is held.
func (l *line) remove(i int) {
	if l.waiting[i].offered {
		l.offered--
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
}

// join has a lane take from now on.
func (l *line) join(a *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lanes = append(l.lanes, a)
}

// quit has lanes take no more, and wakes them. What no other could take is the processor's.
func (l *line) quit(gone ...*lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lanes = slices.DeleteFunc(l.lanes, func(a *lane) bool { return slices.Contains(gone, a) })
	for _, w := range l.waiting {
		if w.offered && !l.fits(w.need) {
			w.offered = false
			l.offered--
		}
	}
	l.giveSlots()
	l.changed.Broadcast()
}

// take waits for a batch for a lane; nil if the lane has quit.
func (l *line) take(a *lane) []*waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slices.Contains(l.lanes, a) {
		if n := l.due(a, time.Now()); n > 0 {
			if batch := l.pick(a, n); len(batch) > 0 {
				l.changed.Signal() // another lane may have a share too
				return batch
			}
		}
		l.changed.Wait()
	}
	return nil
}

// due is how many images a lane is to take now. The lock is held.
func (l *line) due(a *lane, now time.Time) int {
	if l.offered == 0 {
		return 0
	}
	if l.mode == Card {
		return min(l.offered, maxBatch)
	}
	processor := float64(l.slots) / float64(l.here)
	if l.here > 0 && float64(len(l.waiting))/processor < a.patience(now).Seconds() {
		return 0
	}
	all := processor
	for _, other := range l.lanes {
		all += float64(other.rate)
	}
	share := 0.5 // nothing was measured yet
	if a.rate > 0 && l.here > 0 {
		share = float64(a.rate) / all
	}
	return min(int(math.Ceil(share*float64(l.offered))), maxBatch)
}

// pick takes up to n images for which the lane has memory: the first in order, or (Shared) the last. The lock
// is held.
func (l *line) pick(a *lane, n int) (batch []*waiter) {
	var sum need
	for k := 0; k < len(l.waiting) && len(batch) < n; {
		i := k
		if l.mode == Shared {
			i = len(l.waiting) - 1 - k
		}
		w := l.waiting[i]
		if !w.offered {
			k++
			continue
		}
		if !sum.plus(w.need).within(a.room) {
			if len(batch) == 0 { // another lane's
				k++
				continue
			}
			break
		}
		sum = sum.plus(w.need)
		batch = append(batch, w)
		l.remove(i)
	}
	return batch
}

// measured notes a batch of a lane's: n images were taken, so many of them given back.
func (l *line) measured(a *lane, n, returned int, took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Batches++
	l.stats.Cards += int64(n - returned)
	l.stats.Returned += int64(returned)
	if took > 0 {
		a.took.add(took.Seconds())
		a.rate.add(float64(n) / took.Seconds())
	}
	a.last = now
}

// meter is a mean of what was measured, the latest counting most.
type meter float64

func (m *meter) add(v float64) {
	if *m == 0 {
		*m = meter(v)
		return
	}
	*m += (meter(v) - *m) / 8
}
