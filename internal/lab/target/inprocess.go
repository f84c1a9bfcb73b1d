package target

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// inProcess measures an engine without a server: a request is a batch of rows.
type inProcess struct {
	name   string
	engine engine.Engine
	spec   engine.Spec
	stager engine.Stager // nil if requests bring their input along
	free   chan struct{} // one token a run that may overlap

	mu   sync.Mutex
	rows []tensor.Row // of all requests, released by Close
}

func newInProcess(o Options) (Target, error) {
	if o.Engine == nil {
		return nil, fmt.Errorf("target %s: format %s needs an engine", o.Name, InProcess)
	}
	t := &inProcess{name: o.Name, engine: o.Engine, spec: o.Engine.Spec()}
	t.free = make(chan struct{}, max(1, t.spec.InFlight))
	if o.Staged {
		var ok bool
		if t.stager, ok = o.Engine.(engine.Stager); !ok {
			return nil, fmt.Errorf("target %s: the engine %s cannot keep its input where it computes", o.Name, t.spec.Name)
		}
	}
	return t, nil
}

// SharesProcess tells that the processor time of this process is the target's too.
func (t *inProcess) SharesProcess() bool { return true }

type rowRequest struct {
	rows  []tensor.Row
	bytes int
}

func (q *rowRequest) Images() int { return len(q.rows) }
func (q *rowRequest) Bytes() int  { return q.bytes }

// Prepare fills rows of the engine's cheapest format. They live until the target is closed.
func (t *inProcess) Prepare(images []Image) (Request, error) {
	if len(images) == 0 || len(images) > t.spec.MaxBatch {
		return nil, fmt.Errorf("target %s: the engine takes 1 to %d images, not %d", t.name, t.spec.MaxBatch, len(images))
	}
	q := &rowRequest{}
	for i := range images {
		row, err := t.row(&images[i])
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.name, err)
		}
		q.rows = append(q.rows, row)
		q.bytes += len(row.Bytes())
	}
	return q, nil
}

func (t *inProcess) row(m *Image) (tensor.Row, error) {
	format := t.spec.Formats[0]
	row, err := t.engine.NewRow(format)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.rows = append(t.rows, row)
	t.mu.Unlock()
	var from []byte
	switch format {
	case tensor.FormatUint8HWC:
		from = m.Pixels
	case tensor.FormatFloat32CHW:
		from = tensor.BytesOf(m.Tensor)
	default:
		return nil, fmt.Errorf("rows of %v are not made here", format)
	}
	if copy(row.Bytes(), from) != len(row.Bytes()) || len(from) != len(row.Bytes()) {
		return nil, fmt.Errorf("image %q of %dx%d does not fit a row of %dx%d", m.Name, m.Width, m.Height, t.spec.Width, t.spec.Height)
	}
	return row, nil
}

// Dial returns a worker's own output memory.
func (t *inProcess) Dial(context.Context) (Conn, error) {
	if t.stager == nil {
		return &rowConn{target: t}, nil
	}
	select {
	case t.free <- struct{}{}:
		return &stagedConn{rowConn: rowConn{target: t}}, nil
	default:
		return nil, fmt.Errorf("target %s: %d runs may overlap, each with its own input; there is no room for another", t.name, cap(t.free))
	}
}

// Describe is the engine's specification.
func (t *inProcess) Describe(context.Context) (record.Server, error) {
	return record.Server{Software: "vitrine", Engine: t.spec.Name, Precision: string(t.spec.Precision)}, nil
}

// Close releases the rows; the engine stays open.
func (t *inProcess) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, row := range t.rows {
		row.Release()
	}
	t.rows = nil
	return nil
}

type rowConn struct {
	target *inProcess
	out    [][]float32
}

// Do runs one batch. Waiting for one of the engine's overlapping runs counts as queue time.
func (c *rowConn) Do(ctx context.Context, request Request, clock func() int64, r *record.Request) error {
	q, ok := request.(*rowRequest)
	if !ok {
		return errors.New("target: the request was made by another target")
	}
	out := c.outputs(len(q.rows))
	r.Sent = clock()
	select {
	case c.target.free <- struct{}{}:
		defer func() { <-c.target.free }()
	case <-ctx.Done():
		r.Done, r.Error = clock(), reason(ctx, ctx.Err())
		return nil
	}
	r.Wrote = clock()
	timings, err := c.target.engine.Run(ctx, q.rows, out)
	r.Done = clock()
	if err != nil {
		r.Error = reason(ctx, err)
		return nil
	}
	c.answered(q, timings, r)
	return nil
}

// outputs is room for n embeddings.
func (c *rowConn) outputs(n int) [][]float32 {
	for len(c.out) < n {
		c.out = append(c.out, make([]float32, c.target.spec.Dim()))
	}
	return c.out[:n]
}

// answered records a batch that was computed.
func (c *rowConn) answered(q *rowRequest, t engine.Timings, r *record.Request) {
	r.FirstByte, r.Status, r.BytesOut = r.Done, 200, int32(q.bytes)
	r.BytesIn = int32(4 * len(q.rows) * c.target.spec.Dim())
	r.Server = record.ServerTiming{Total: time.Duration(r.Done - r.Sent), Queue: time.Duration(r.Wrote - r.Sent),
		Input: t.Input, Compute: t.Compute, Output: t.Output}
}

// Close does nothing.
func (c *rowConn) Close() error { return nil }
