package target

import (
	"context"
	"errors"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// stagedConn runs batches whose input lies where the engine computes. It holds one of the runs that may
// overlap until it is closed.
type stagedConn struct {
	rowConn
	request *rowRequest // whose input is there
	batch   engine.Staged
}

// Do runs one batch. Another request's input is brought there first, outside what is timed.
func (c *stagedConn) Do(ctx context.Context, request Request, clock func() int64, r *record.Request) error {
	q, ok := request.(*rowRequest)
	if !ok {
		return errors.New("target: the request was made by another target")
	}
	if err := c.stage(ctx, q); err != nil {
		r.Sent = clock()
		r.Done, r.Error = r.Sent, reason(ctx, err)
		return nil
	}
	out := c.outputs(len(q.rows))
	r.Sent = clock()
	r.Wrote = r.Sent
	timings, err := c.batch.Run(ctx, out)
	r.Done = clock()
	if err != nil {
		r.Error = reason(ctx, err)
		return nil
	}
	c.answered(q, timings, r)
	return nil
}

func (c *stagedConn) stage(ctx context.Context, q *rowRequest) (err error) {
	if c.request == q {
		return nil
	}
	c.unstage()
	if c.batch, err = c.target.stager.Stage(ctx, q.rows); err != nil {
		return err
	}
	c.request = q
	return nil
}

func (c *stagedConn) unstage() {
	if c.request != nil {
		c.batch.Close()
		c.request = nil
	}
}

// Close gives the run back.
func (c *stagedConn) Close() error {
	c.unstage()
	<-c.target.free
	return nil
}
