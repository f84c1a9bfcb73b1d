package cardjpeg

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var room = need{files: 100, pixels: 100, tables: 100, images: maxBatch}

// inLine is a line in which so many images wait: those of which offered tells so may go to a card.
func inLine(mode Mode, slots, n int, offered func(i int) bool) *line {
	l := newLine(mode, slots)
	l.free = 0
	for i := range n {
		w := newWaiter()
		w.task.Width = i // to tell them apart
		if w.offered = offered(i); w.offered {
			w.need = need{files: 1, pixels: 1, tables: 1, images: 1}
			l.offered++
		}
		l.waiting = append(l.waiting, w)
	}
	return l
}

func all(int) bool { return true }

func numbers(batch []*waiter) (n []int) {
	for _, w := range batch {
		n = append(n, w.task.Width)
	}
	return n
}

func TestDue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name    string
		mode    Mode
		waiting int
		here    meter // seconds an image
		rates   []meter
		took    meter
		idle    time.Duration
		want    int
	}{
		{"nobody waits", Shared, 0, 0.001, []meter{1000}, 0.001, 0, 0},
		{"nothing is measured: half", Shared, 9, 0, []meter{0}, 0, 0, 5},
		{"the processor is faster alone", Shared, 9, 0.001, []meter{1000}, 0.005, 0, 0},        // 9 images at 2,000 a second: 4.5 ms
		{"as long as a batch: a third", Shared, 10, 0.001, []meter{1000}, 0.005, 0, 4},         // 1,000 of 3,000
		{"two lanes: a fourth each", Shared, 100, 0.001, []meter{1000, 1000}, 0.005, 0, 25},    // 1,000 of 4,000
		{"a fast card: nearly all", Shared, 100, 0.001, []meter{18000}, 0.005, 0, 90},          // 18,000 of 20,000
		{"at most a batch", Shared, 1000, 0.001, []meter{18000}, 0.005, 0, maxBatch},           // 900 would be its share
		{"a slow batch long ago", Shared, 10, 0.001, []meter{1000}, 0.016, 2 * time.Second, 4}, // 16 ms have faded to 4
		{"a slow batch just now", Shared, 10, 0.001, []meter{1000}, 0.016, time.Second, 0},
		{"all are the card's", Card, 10, 0.001, []meter{1}, 100, 0, 10},
		{"all, up to a batch", Card, 1000, 0.001, []meter{1}, 100, 0, maxBatch},
	} {
		l := inLine(c.mode, 2, c.waiting, all)
		l.here = c.here
		for _, r := range c.rates {
			l.join(&lane{room: room, rate: r, took: c.took, last: now.Add(-c.idle)})
		}
		if got := l.due(l.lanes[0], now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestPick(t *testing.T) {
	odd := func(i int) bool { return i%2 == 1 }
	for _, c := range []struct {
		name    string
		mode    Mode
		offered func(int) bool
		room    need
		n       int
		want    []int
		left    int // offered
	}{
		{"from the end", Shared, all, room, 3, []int{7, 6, 5}, 5},
		{"from the front", Card, all, room, 3, []int{0, 1, 2}, 5},
		{"only what is offered", Shared, odd, room, 3, []int{7, 5, 3}, 1},
		{"only what is offered, in order", Card, odd, room, 9, []int{1, 3, 5, 7}, 0},
		{"as much as there is memory for", Card, all, need{100, 2, 100, 100}, 9, []int{0, 1}, 6},
		{"files count too", Card, all, need{1, 100, 100, 100}, 9, []int{0}, 7},
	} {
		l := inLine(c.mode, 2, 8, c.offered)
		got := l.pick(&lane{room: c.room}, c.n)
		if !slices.Equal(numbers(got), c.want) || l.offered != c.left || len(l.waiting) != 8-len(c.want) {
			t.Errorf("%s: took %v, want %v; %d offered and %d waiting are left", c.name, numbers(got), c.want, l.offered, len(l.waiting))
		}
	}
}

// TestSlotsServeInOrder: a slot goes to the first who may have it, and is free when nobody wants it.
func TestSlotsServeInOrder(t *testing.T) {
	for mode, want := range map[Mode][]int{Shared: {0, 1, 2}, Card: {0, 2}} {
		l := inLine(mode, 1, 3, func(i int) bool { return i == 1 })
		l.join(&lane{room: room})
		waiting := slices.Clone(l.waiting)
		for range want {
			l.leave(time.Millisecond)
		}
		var got []int
		for _, w := range waiting {
			select {
			case v := <-w.answer:
				if v != slot {
					t.Errorf("%s: verdict %d", mode, v)
				}
				got = append(got, w.task.Width)
			default:
			}
		}
		if !slices.Equal(got, want) || l.free != 0 {
			t.Errorf("%s: slots for %v, want %v; %d free", mode, got, want, l.free)
		}
		if l.leave(uncounted); l.free != 1 || l.stats.Processor != int64(len(want)) {
			t.Errorf("%s: %d slots free, %d counted", mode, l.free, l.stats.Processor)
		}
	}
}

// TestQuit: what only that lane could take is the processor's, and free slots take it at once.
func TestQuit(t *testing.T) {
	l := inLine(Card, 2, 3, all)
	small, large := &lane{room: need{1, 1, 1, 1}}, &lane{room: room}
	l.waiting[1].need.pixels = 50
	waiting := slices.Clone(l.waiting)
	l.join(small)
	l.join(large)
	l.free = 2
	l.quit(large)
	if l.offered != 2 || l.free != 1 || len(l.waiting) != 2 || <-waiting[1].answer != slot {
		t.Errorf("%d offered, %d slots free, %d waiting", l.offered, l.free, len(l.waiting))
	}
	l.quit(small)
	if l.offered != 0 || l.free != 0 || len(l.waiting) != 1 || <-waiting[0].answer != slot {
		t.Errorf("at the end %d offered, %d slots free, %d waiting", l.offered, l.free, len(l.waiting))
	}
}

// TestTake: a lane sleeps until there is something for it, and until it quits.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(Card, 1)
		a := &lane{room: need{files: 1 << 20, pixels: 1 << 20, tables: 1 << 20, images: maxBatch}}
		l.join(a)
		taken := make(chan int)
		go func() {
			for {
				batch := l.take(a)
				for _, w := range batch {
					w.answer <- back
				}
				taken <- len(batch)
				if batch == nil {
					return
				}
			}
		}()
		synctest.Wait()
		task, ok := onProcessor(t, plan32("shortest")).Task(photo(t, 64, 48, 1))
		if !ok {
			t.Fatal("no task")
		}
		verdicts := make(chan verdict)
		for range 2 {
			go func() {
				w := newWaiter()
				w.task, w.offered = task, true
				verdicts <- l.enter(w)
			}()
			if n, v := <-taken, <-verdicts; n != 1 || v != back {
				t.Errorf("a batch of %d, verdict %d", n, v)
			}
		}
		l.quit(a)
		if n := <-taken; n != 0 {
			t.Errorf("a batch of %d after the lane has quit", n)
		}
	})
}

func TestMeter(t *testing.T) {
	var m meter
	m.add(8)
	if m != 8 {
		t.Errorf("the first is %v", m)
	}
	m.add(16)
	if m != 9 {
		t.Errorf("then %v", m)
	}
}
