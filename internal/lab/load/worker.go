package load

import (
	"context"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// worker is one connection and its log.
type worker struct {
	run  *run
	id   int32
	conn target.Conn
	log  Log
	rec  record.Request // the one under way: kept here so that it is not allocated anew
}

// dialTimeout bounds opening a connection that no request is waiting for.
const dialTimeout = 10 * time.Second

func (r *run) newWorker() (*worker, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.ctx, dialTimeout)
	defer cancel()
	conn, err := r.Target.Dial(ctx)
	if err != nil {
		return nil, err
	}
	r.dialTime.Store(int64(time.Since(began)))
	if t, ok := conn.(interface{ SetTimeout(time.Duration) }); ok && r.Timeout > 0 {
		t.SetTimeout(r.Timeout)
	}
	return &worker{run: r, id: r.ids.Add(1) - 1, conn: conn, log: r.Log()}, nil
}

func (w *worker) close() {
	_ = w.conn.Close() // every answer was read
	if c, ok := w.log.(interface{ Close() }); ok {
		c.Close()
	}
}

// send sends one request that was due and records it. It returns false if nothing was answered.
func (w *worker) send(q target.Request, due int64, warmup bool) bool {
	w.rec = record.Request{Due: due, Worker: w.id, Warmup: warmup}
	r := w.run
	r.Progress.Sent()
	err := w.conn.Do(r.ctx, q, r.Clock, &w.rec)
	if !r.open || warmup {
		w.rec.Due = w.rec.Sent
	}
	ok := err == nil && w.rec.Error == ""
	r.Progress.Answered(time.Duration(w.rec.Done-w.rec.Due), q.Images(), ok)
	if err != nil {
		r.stop(err)
		return false
	}
	w.log.Add(w.rec)
	r.add(&w.rec, q.Images())
	if !ok {
		r.failed(&w.rec)
	}
	return ok || w.rec.Status != 0
}

// giveUp records a request that was due and not sent.
func (w *worker) giveUp(due int64, why string) {
	now := w.run.Clock()
	w.log.Add(record.Request{Due: due, Sent: now, Done: now, Worker: w.id, Error: why})
	w.run.unsent.Add(1)
}
