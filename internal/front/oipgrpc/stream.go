package oipgrpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/vitrine-project/vitrine/internal/front"
)

// streamWindow is how many requests of a stream are under way at once; the client's next ones wait in
// the connection, and its flow control tells it so.
const streamWindow = 64

// stream is one ModelStreamInfer. Requests run side by side and are answered in their order; those of
// a sequence run one after another.
type stream struct {
	server *Server
	wire   grpc.ServerStream
	// strict streams end with the first error, as a status: header triton_grpc_error. Others tell errors
	// as messages and go on.
	strict  bool
	cancel  context.CancelFunc
	pending chan chan result // in the order of requests
	running sync.WaitGroup
	failure error // of the sender; read once it has ended
}

// result is what becomes of a request.
type result struct {
	answer encoded
	err    error // of a strict stream
}

// arrival is a request that was read, or why none was.
type arrival struct {
	call *call
	err  error
}

// modelStreamInfer takes the place of the generated handler of ModelStreamInfer.
func (s *Server) modelStreamInfer(_ any, wire grpc.ServerStream) error {
	if err := s.compress(wire.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(wire.Context())
	defer cancel()
	t := &stream{server: s, wire: wire, strict: isStrict(ctx), cancel: cancel, pending: make(chan chan result, streamWindow)}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		t.send()
	}()
	err := t.receive(ctx)
	close(t.pending)
	<-sent
	t.running.Wait()
	if t.failure != nil {
		return statusOf(t.failure)
	}
	return statusOf(err)
}

func isStrict(ctx context.Context) bool {
	v := metadata.ValueFromIncomingContext(ctx, "triton_grpc_error")
	return len(v) > 0 && v[0] == "true"
}

// receive starts requests as they come, until the client has sent all, or the server stops.
func (t *stream) receive(ctx context.Context) error {
	arrivals := make(chan arrival)
	go t.read(ctx, arrivals)
	for {
		select {
		case a := <-arrivals:
			if errors.Is(a.err, io.EOF) {
				return nil
			}
			if a.err != nil {
				return a.err
			}
			if !t.start(ctx, a.call) {
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-t.server.stopping:
			return errStopping
		}
	}
}

// read hands requests over until there are no more or nobody takes them.
func (t *stream) read(ctx context.Context, arrivals chan<- arrival) {
	for {
		c := newCall(t.server.memory)
		err := t.wire.RecvMsg(c)
		select {
		case arrivals <- arrival{c, err}:
		case <-ctx.Done():
			c.release()
			return
		}
		if err != nil {
			return
		}
	}
}

// start runs a request once the window has room; false if the stream ended before.
func (t *stream) start(ctx context.Context, c *call) bool {
	if _, ok := c.params["sequence_id"]; ok {
		t.running.Wait() // the order in which a sequence is computed is its meaning
	}
	done := make(chan result, 1)
	select {
	case t.pending <- done:
	case <-ctx.Done():
		c.release()
		return false
	}
	t.running.Go(func() {
		defer c.release()
		done <- t.run(ctx, c)
	})
	return true
}

func (t *stream) run(ctx context.Context, c *call) result {
	answer, err := t.server.answer(ctx, c, servicePrefix+"ModelStreamInfer", encodeStreamed)
	if err != nil && !t.strict {
		return result{answer: encodeFailure(front.Message(err), c)}
	}
	return result{answer, err}
}

// send answers in order. After a failure it takes the rest without sending.
func (t *stream) send() {
	for done := range t.pending {
		r := <-done
		switch {
		case t.failure != nil:
		case r.err != nil:
			t.failure = r.err
		default:
			t.failure = t.wire.SendMsg(r.answer)
		}
		if t.failure != nil {
			t.cancel()
		}
	}
}
