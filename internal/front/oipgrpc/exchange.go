package oipgrpc

import (
	"context"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

const servicePrefix = "/inference.GRPCInferenceService/"

// unary answers all calls but inference: a panic is a failure like another, and calls of the
// service are reported; probes are not.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (answer any, err error) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = s.recovered(p, info.FullMethod)
		}
		if method, ok := strings.CutPrefix(info.FullMethod, servicePrefix); ok && method != "ServerLive" && method != "ServerReady" {
			line := telemetry.Timeline{}
			line.At[telemetry.Received] = began
			s.report(ctx, &telemetry.Record{ID: telemetry.NewRequestID(), Route: info.FullMethod, Err: err, Timeline: line})
		}
		err = statusOf(err)
	}()
	return next(ctx, request)
}

// streamed ends a stream that its client leaves open when the server shuts down.
func (s *Server) streamed(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if strings.HasPrefix(info.FullMethod, servicePrefix) {
		return next(srv, stream) // ends itself, with the answers that it owes
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- s.recovered(p, info.FullMethod)
			}
		}()
		done <- next(srv, stream)
	}()
	select {
	case err := <-done:
		return statusOf(err)
	case <-s.stopping:
		return statusOf(errStopping)
	}
}

func (s *Server) recovered(p any, method string) error {
	s.log.Error("panic", "method", method, "panic", p, "stack", string(debug.Stack()))
	return fault.Wrap(fault.Internal, errPanic, "internal error")
}

// report tells metrics and access log of a finished request, once. It fills in what every record has.
func (s *Server) report(ctx context.Context, r *telemetry.Record) {
	r.Protocol = "grpc"
	r.Code = int(status.Code(statusOf(r.Err)))
	r.Timeline.Mark(telemetry.Sent)
	if p, ok := peer.FromContext(ctx); ok && s.o.AccessLog {
		r.Remote = p.Addr.String()
	}
	r.Key, _ = ctx.Value(keyName{}).(string)
	if s.o.Observer != nil {
		s.o.Observer.ObserveRequest(r)
	}
	if s.o.AccessLog {
		telemetry.AccessLog(s.log, r)
	}
}

// trace is the client's trace context; what is malformed is ignored.
func trace(ctx context.Context) telemetry.Trace {
	if values := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(values) == 1 {
		if t, err := telemetry.ParseTraceparent(values[0]); err == nil {
			return t
		}
	}
	return telemetry.Trace{}
}
