package front

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// firstBuffer bounds what a client gets for its word alone: a larger body gets a larger buffer only
// as it arrives, so that a Content-Length costs nothing until it is paid for.
const firstBuffer = 1 << 20

// Body reads the request's body whole, within the limits. The bytes belong to the exchange: they may be
// overwritten, and are gone when the handler has returned.
func (x *Exchange) Body(r *http.Request) ([]byte, error) {
	f := x.front
	if r.ContentLength > f.maxBody {
		return nil, f.bodyTooLarge()
	}
	if r.ContentLength == 0 {
		return nil, nil
	}
	b, err := x.readBody(r)
	if err != nil {
		return nil, err
	}
	if err := x.bodyArrived(r); err != nil {
		return nil, err
	}
	return b, nil
}

func (x *Exchange) readBody(r *http.Request) ([]byte, error) {
	size := int64(firstBuffer)
	if r.ContentLength > 0 {
		size = min(size, r.ContentLength)
	}
	for {
		if err := x.growBody(size); err != nil {
			return nil, err
		}
		b := *x.body
		for len(b) < cap(b) {
			n, err := r.Body.Read(b[len(b):cap(b)])
			b = b[:len(b)+n]
			*x.body = b
			x.bytesIn = int64(len(b))
			switch {
			case x.bytesIn > x.front.maxBody:
				return nil, x.front.bodyTooLarge()
			case err == io.EOF, err == nil && x.bytesIn == r.ContentLength:
				return b, nil
			case err != nil:
				return nil, x.bodyFailed(err, r)
			}
		}
		size = min(4*int64(cap(b)), x.front.maxBody+1)
		if r.ContentLength > 0 {
			size = min(size, r.ContentLength)
		}
	}
}

// growBody moves the body into a buffer for size bytes, if the budget allows.
func (x *Exchange) growBody(size int64) error {
	f := x.front
	if !f.budget.take(int64(classSize(size))) {
		return fault.New(fault.Exhausted,
			"request bodies hold %d of the %d bytes that the server allows them; try again later",
			f.budget.used.Load(), f.budget.limit)
	}
	b := f.buffers.get(size)
	x.bodySize += int64(cap(*b))
	if old := x.body; old != nil {
		*b = append(*b, *old...)
		f.budget.give(int64(cap(*old)))
		x.bodySize -= int64(cap(*old))
		f.buffers.put(old)
	}
	x.body = b
	return nil
}

func (x *Exchange) releaseBody() {
	if x.body == nil {
		return
	}
	x.front.budget.give(x.bodySize)
	x.front.buffers.put(x.body)
	x.body, x.bodySize = nil, 0
}

func (f *Front) bodyTooLarge() error {
	return fault.New(fault.TooLarge, "the body is larger than %d bytes", f.maxBody)
}

// bodyFault tells a slow client, a client that left and a body that is not what its header says apart.
func bodyFault(err error, r *http.Request, have int, limit time.Duration) error {
	var network net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(fault.Timeout, errSlowBody, "%d bytes in %v", have, limit)
	case r.Context().Err() != nil || errors.As(err, &network):
		return fault.Wrap(fault.Canceled, err, "the client left after %d bytes of its body", have)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Invalid, "the body ended after %d bytes, before its announced end", have)
	}
	return fault.Wrap(fault.Invalid, err, "the body cannot be read")
}
