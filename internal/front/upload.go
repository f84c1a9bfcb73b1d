package front

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// uploads are the requests whose bodies have not wholly arrived.
type uploads struct {
	mu      sync.Mutex
	waiting map[*Exchange]struct{}
	over    bool // no body is waited for any more
}

// add begins to wait for a body; false if bodies are waited for no more.
func (u *uploads) add(x *Exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waiting == nil {
		u.waiting = map[*Exchange]struct{}{}
	}
	u.waiting[x] = struct{}{}
	x.refused = u.over
	return !u.over
}

// remove ends the wait; false if the server had given it up before.
func (u *uploads) remove(x *Exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, x)
	return !x.refused
}

// longAgo as a deadline ends a read at once.
var longAgo = time.Unix(1, 0)

// RefuseUploads ends the wait for bodies: a request whose body has not wholly arrived is answered 503 and
// its connection closed, now and whenever another comes. It returns how many those are now.
func (f *Front) RefuseUploads() int {
	u := &f.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for x := range u.waiting {
		x.refused = true
		x.setReadDeadline(longAgo)
	}
	return len(u.waiting)
}

// errStopping is the answer to a request whose body the server does not wait for.
var errStopping = fault.New(fault.Unavailable, "the server is shutting down, and the request's body had not arrived")

func (x *Exchange) setReadDeadline(t time.Time) {
	_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(t) // a writer without one has no connection either
}

// awaitBody sets the time by which the body must have arrived, whether the handler reads it or not.
func (x *Exchange) awaitBody(r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	x.coming = r
	x.setReadDeadline(x.received.Add(x.front.bodyTimeout))
	if !x.front.uploads.add(x) {
		x.setReadDeadline(longAgo)
	}
}

// endBody ends the wait for the body; false if the server had given it up before.
func (x *Exchange) endBody() bool {
	x.coming = nil
	return x.front.uploads.remove(x)
}

// bodyArrived ends the wait for a body that was read to its end.
func (x *Exchange) bodyArrived(r *http.Request) error {
	if !x.endBody() {
		x.abandonBody(r)
		return errStopping
	}
	// The server's own watch for a client that leaves reads too, and must not meet the body's deadline.
	x.setReadDeadline(time.Time{})
	return nil
}

// bodyFailed ends the wait for a body that cannot be read to its end.
func (x *Exchange) bodyFailed(err error, r *http.Request) error {
	waited := x.endBody()
	x.abandonBody(r)
	if !waited {
		return errStopping
	}
	return bodyFault(err, r, int(x.bytesIn), x.front.bodyTimeout)
}

// abandonBody makes the server close the connection after the answer, without reading on: it would wait
// for the rest of the body, and no deadline would end that.
func (x *Exchange) abandonBody(r *http.Request) {
	if r.ProtoMajor == 1 { // other protocols end a request without its connection
		x.Header()["Connection"] = []string{"close"}
		x.setReadDeadline(longAgo)
	}
}

// maxUnread is how much of a body that nobody wants is read to save its connection; net/http reads as much.
const maxUnread = 256 << 10

// settleBody is called before an answer: a body that was not read is read away where it is small, so that
// the client, which may be sending it still, sees the answer and can use the connection again.
func (x *Exchange) settleBody() {
	r := x.coming
	if r == nil {
		return
	}
	expects := r.Header.Get("Expect") != "" && x.bytesIn == 0 // sends nothing before it is asked to
	if r.ProtoMajor == 1 && !expects && r.ContentLength-x.bytesIn <= maxUnread {
		if _, err := io.CopyN(io.Discard, r.Body, maxUnread+1); errors.Is(err, io.EOF) {
			_ = x.bodyArrived(r) // the answer is another already
			return
		}
	}
	x.endBody()
	x.abandonBody(r)
}
