package oipgrpc

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// upload is a call with one message that has not wholly arrived.
type upload struct {
	wire    grpc.ServerTransportStream
	refused bool // guarded by uploads
}

// uploads are those of a server. Streams are not among them: they end by themselves when it stops.
type uploads struct {
	mu      sync.Mutex
	waiting map[*upload]struct{}
	over    bool // no message is waited for any more
}

// add begins to wait; false if messages are waited for no more.
func (u *uploads) add(c *upload) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waiting == nil {
		u.waiting = map[*upload]struct{}{}
	}
	u.waiting[c] = struct{}{}
	c.refused = u.over
	return !u.over
}

// remove ends the wait; false if the server had given it up before.
func (u *uploads) remove(c *upload) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, c)
	return !c.refused
}

// RefuseUploads ends the wait for messages: a call whose message has not wholly arrived ends as
// Unavailable, now and whenever another comes. It returns how many those are now.
func (s *Server) RefuseUploads() int {
	u := &s.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for c := range u.waiting {
		c.refused = true
		c.end()
	}
	return len(u.waiting)
}

// end answers the call, which ends the wait for its message: the transport then has nobody to hand it to.
// Nothing in the transport's public face does that.
func (c *upload) end() {
	if w, ok := c.wire.(interface{ WriteStatus(*status.Status) error }); ok {
		_ = w.WriteStatus(status.Convert(statusOf(errStopping))) // a client that left needs none
	}
}

// receive reads a call's message by dec, and fails if the server stopped to wait for it.
func (s *Server) receive(ctx context.Context, dec func(any) error, message any) error {
	c := &upload{wire: grpc.ServerTransportStreamFromContext(ctx)}
	if !s.uploads.add(c) {
		c.end()
	}
	err := dec(message)
	if !s.uploads.remove(c) {
		return statusOf(errStopping)
	}
	return err
}

// received is a service whose calls read their messages by receive.
func (s *Server) received(d grpc.ServiceDesc) *grpc.ServiceDesc {
	d.Methods = slices.Clone(d.Methods)
	for i := range d.Methods {
		next := d.Methods[i].Handler
		d.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
			return next(srv, ctx, func(message any) error { return s.receive(ctx, dec, message) }, i)
		}
	}
	return &d
}
