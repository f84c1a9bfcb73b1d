package load

import "time"

// schedule hands out due times in order. Whoever holds the token of lead is the leader: it waits until the
// next request is due, leaves the lead to another idle worker, and sends. Nothing is handed over between
// the instant a request is due and the write. The rest belongs to the leader.
type schedule struct {
	lead chan struct{}
	sent int // due times handed out
	over bool
	due  int64 // the last one
	gap  int64 // mean distance of the last ones, for growing
}

// runOpen sends each request when it is due, by as many workers as that takes.
func (r *run) runOpen(crew []*worker) {
	s := &schedule{due: r.start, lead: make(chan struct{}, 1)}
	for _, w := range crew {
		r.count.Add(1)
		r.workers.Go(func() { r.serve(w, s) })
	}
	r.workers.Wait()
}

// serve is an open loop's worker.
func (r *run) serve(w *worker, s *schedule) {
	defer w.close()
	for {
		r.idle.Add(1)
		n, due, ok := r.lead(w, s)
		r.idle.Add(-1)
		if !ok {
			return
		}
		r.grow(s)
		w.send(r.request(n), due, false)
	}
}

// lead waits for the lead and then until a request is due. ok is false when there are no more.
func (r *run) lead(w *worker, s *schedule) (n int, due int64, ok bool) {
	s.lead <- struct{}{}
	defer func() { <-s.lead }()
	for !s.over {
		n, due, ok = r.next(s)
		if !ok {
			s.over = true
			break
		}
		switch now := r.Clock(); {
		case r.end > 0 && now >= r.end && due < now: // the time is up, and nobody was free in it
			w.giveUp(due, unsentEnd)
			continue
		case r.Timeout > 0 && now-due > int64(r.Timeout):
			w.giveUp(due, unsentLate)
			continue
		}
		r.until(due)
		if r.ctx.Err() != nil {
			s.over = true
			break
		}
		return n, due, true
	}
	return 0, 0, false
}

// What records say of requests that were never sent.
const (
	unsentEnd  = "unsent: no connection was free before the measurement's end"
	unsentLate = "unsent: no connection was free within the timeout"
)

func (r *run) next(s *schedule) (n int, due int64, ok bool) {
	if r.ctx.Err() != nil || r.MaxRequests > 0 && s.sent >= r.MaxRequests {
		return 0, 0, false
	}
	at, ok := r.Pacer.Next(time.Duration(r.Clock()-r.start), s.sent)
	due = r.start + int64(at)
	if !ok || r.end > 0 && due >= r.end {
		return 0, 0, false
	}
	n = s.sent
	s.sent++
	if gap := due - s.due; n == 1 {
		s.gap = gap
	} else if n > 1 {
		s.gap += (gap - s.gap) / 8
	}
	s.due = due
	r.gap.Store(s.gap)
	return n, due, true
}

// until waits for an instant of the clock.
func (r *run) until(due int64) {
	for {
		d := time.Duration(due - r.Clock())
		if d <= 0 || r.ctx.Err() != nil {
			return
		}
		r.Wait(r.ctx, d)
	}
}

// grow opens connections where fewer are idle than requests fall due while one opens.
func (r *run) grow(s *schedule) {
	want := int64(1)
	if gap := r.gap.Load(); gap > 0 {
		want += r.dialTime.Load() / gap
	}
	for r.idle.Load()+r.dialing.Load() < min(want, maxGrow) && r.reserve() {
		r.dialing.Add(1)
		r.workers.Go(func() { r.join(s) })
	}
}

// maxGrow bounds how many connections are opened at once.
const maxGrow = 64

// reserve takes a place for a worker, if there is one.
func (r *run) reserve() bool {
	for {
		n := r.count.Load()
		if int(n) >= r.MaxWorkers {
			r.full.Store(true)
			return false
		}
		if r.count.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// join is a worker that was added on the way. One that cannot connect leaves its place, after a while, so
// that a server without room is not asked all the time.
func (r *run) join(s *schedule) {
	w, err := r.newWorker()
	if err != nil {
		r.refused.Add(1)
		r.Wait(r.ctx, backoff)
		r.dialing.Add(-1)
		r.count.Add(-1)
		return
	}
	r.dialing.Add(-1)
	r.serve(w, s)
}
