package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// httpRequest is a whole HTTP request, written in one call.
type httpRequest struct {
	bytes  []byte
	images int
	check  checker
}

func (q *httpRequest) Images() int { return q.images }
func (q *httpRequest) Bytes() int  { return len(q.bytes) }

// httpConn is an HTTP/1.1 client of one connection. Once its buffer has grown it allocates nothing per
// request.
type httpConn struct {
	site    *site
	timeout time.Duration
	nc      net.Conn // nil: to be opened
	used    time.Time
	fresh   bool // no answer has come over nc yet
	buf     []byte
	n       int // bytes of buf that are filled

	head    head
	chunks  chunks
	checked *httpRequest // whose answer's shape was checked on this connection
	least   int          // bytes that an answer to it has at least

	ctx  context.Context //nolint:containedctx // the one that stop watches: renewed when Do gets another
	stop func() bool
}

func newHTTPConn(s *site) *httpConn {
	return &httpConn{site: s, timeout: s.Timeout, buf: make([]byte, 16<<10)}
}

// SetTimeout changes the timeout of the requests that follow.
func (c *httpConn) SetTimeout(d time.Duration) { c.timeout = d }

// staleAfter is how long a connection must have been idle for its end to be taken for a server's idle
// timeout and not for a failed request.
const staleAfter = time.Second

// Do sends a request. One that finds a connection closed which had been idle for a second or more is sent
// once more over a new one, and its time counts from the first try.
func (c *httpConn) Do(ctx context.Context, request Request, clock func() int64, r *record.Request) error {
	q, ok := request.(*httpRequest)
	if !ok {
		return fmt.Errorf("target: a request of %T was made by another target", request)
	}
	r.Sent = clock()
	began := time.Now()
	idle := c.nc != nil && !c.fresh && began.Sub(c.used) >= staleAfter
	err := c.exchange(ctx, q, began, clock, r)
	if err != nil && idle && c.n == 0 && !isTimeout(err) && ctx.Err() == nil {
		c.drop()
		err = c.exchange(ctx, q, began, clock, r)
	}
	r.Done = clock()
	c.used = time.Now()
	if err == nil {
		r.Status, r.Server = int32(c.head.status), c.head.server
		r.Error = c.verdict(q)
	} else {
		r.Error = reason(ctx, err)
	}
	if err != nil || c.head.close || c.site.NewConnection {
		c.drop()
	}
	return nil
}

// exchange writes q and reads the answer into c.head and c.buf.
func (c *httpConn) exchange(ctx context.Context, q *httpRequest, began time.Time, clock func() int64, r *record.Request) error {
	c.n, c.head, c.chunks = 0, head{}, chunks{}
	r.Wrote, r.FirstByte, r.BytesOut, r.BytesIn = 0, 0, 0, 0
	deadline := began.Add(c.timeout)
	if c.nc == nil {
		if err := c.open(ctx, deadline); err != nil {
			return err
		}
	}
	c.watch(ctx)
	if err := c.nc.SetDeadline(deadline); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil { // watch's deadline may have been overwritten
		return err
	}
	n, err := c.nc.Write(q.bytes)
	r.BytesOut = int32(n)
	if err == nil {
		r.Wrote = clock()
	} else if isTimeout(err) || !c.refusal() {
		return err
	}
	err = c.answer(clock, r)
	r.BytesIn = int32(min(c.n, 1<<31-1))
	return err
}

// refusal gives a server that stopped reading the time to say why.
func (c *httpConn) refusal() bool {
	return c.nc.SetReadDeadline(time.Now().Add(200*time.Millisecond)) == nil
}

func (c *httpConn) open(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	nc, err := c.site.connect(ctx)
	if err != nil {
		return err
	}
	c.nc, c.fresh, c.checked = nc, true, nil
	return nil
}

// watch ends what the connection is doing when ctx ends. It costs something only when ctx changes.
func (c *httpConn) watch(ctx context.Context) {
	if c.ctx == ctx && c.stop != nil {
		return
	}
	if c.stop != nil {
		c.stop()
	}
	nc := c.nc
	c.ctx, c.stop = ctx, context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) }) // a closed connection is as good
}

func (c *httpConn) drop() {
	if c.stop != nil {
		c.stop()
		c.stop, c.ctx = nil, nil
	}
	if c.nc != nil {
		_ = c.nc.Close() // nothing is left to be written
		c.nc = nil
	}
}

// Close closes the connection.
func (c *httpConn) Close() error {
	c.drop()
	return nil
}

// answer reads one whole answer; provisional ones (1xx) are passed over.
func (c *httpConn) answer(clock func() int64, r *record.Request) error {
	skipped := 0
	for {
		if err := c.read(); err != nil {
			return err
		}
		if r.FirstByte == 0 {
			r.FirstByte = clock()
		}
		err := c.head.parse(c.buf[skipped:c.n])
		for err == nil && c.head.status < 200 {
			skipped += c.head.size
			err = c.head.parse(c.buf[skipped:c.n])
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errIncomplete) {
			return err
		}
	}
	c.fresh = false
	c.head.size += skipped
	return c.body()
}

// read reads once, behind what is there.
func (c *httpConn) read() error {
	if c.n == len(c.buf) {
		c.grow(2 * len(c.buf))
	}
	n, err := c.nc.Read(c.buf[c.n:])
	c.n += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (c *httpConn) grow(size int) {
	b := make([]byte, size)
	copy(b, c.buf[:c.n])
	c.buf = b
}

// body reads up to the end of the answer.
func (c *httpConn) body() error {
	switch h := &c.head; {
	case h.chunked:
		return c.chunked()
	case h.length >= 0:
		return c.counted(h.size + h.length)
	default:
		h.close = true
		return c.toEnd()
	}
}

func (c *httpConn) counted(size int) error {
	if size-c.head.size > maxBody {
		return errBodySize
	}
	if size > len(c.buf) {
		c.grow(size)
	}
	for c.n < size {
		if err := c.read(); err != nil {
			return midway(err)
		}
	}
	if c.n > size { // an answer that nobody asked for: the next one would not be its own
		c.head.close = true
	}
	c.head.length = size - c.head.size
	return nil
}

// chunked reads chunks and leaves the body where it begins, without them.
func (c *httpConn) chunked() error {
	for {
		if err := c.chunks.take(c.buf[c.head.size:c.n]); err != nil {
			return err
		}
		if c.chunks.done {
			break
		}
		if err := c.read(); err != nil {
			return midway(err)
		}
	}
	c.head.length = c.chunks.out
	if c.head.size+c.chunks.in < c.n {
		c.head.close = true
	}
	return nil
}

func (c *httpConn) toEnd() error {
	for {
		err := c.read()
		c.head.length = c.n - c.head.size
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.head.length > maxBody {
			return errBodySize
		}
	}
}

// midway makes the end of a connection within an answer an error of its own.
func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// verdict is what is wrong with an answer that was read whole, "" if nothing is. The shape is checked once
// a connection and request; afterwards an answer must have the same beginning and half of the length.
func (c *httpConn) verdict(q *httpRequest) string {
	body := c.buf[c.head.size : c.head.size+c.head.length]
	if c.head.status < 200 || c.head.status > 299 {
		return "HTTP " + statusText(c.head.status) + message(body)
	}
	if c.checked == q && len(body) >= c.least && !isError(body) {
		return ""
	}
	if err := q.check(body, c.head.json, q.images); err != nil {
		return "a wrong answer: " + err.Error()
	}
	c.checked, c.least = q, len(body)/2
	return ""
}

// isError tells an error body that came with a success status.
func isError(body []byte) bool {
	return bytes.HasPrefix(body, []byte(`{"error"`)) || bytes.HasPrefix(body, []byte(`{"detail"`))
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// Timeout is the error of a request that was not answered in time.
const Timeout = "timeout"

// reason is an error as a record has it: without addresses, so that equal failures are equal texts.
func reason(ctx context.Context, err error) string {
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "cancelled"
	case isTimeout(err):
		return Timeout
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended within the answer"
	case errors.Is(err, io.EOF):
		return "the connection was closed without an answer"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return clip(err.Error(), 200)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
