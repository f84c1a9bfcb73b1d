package oipgrpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	_ "google.golang.org/grpc/encoding/gzip" // clients may compress with it

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// Options are the limits and the observers of a server; a zero field means its default.
type Options struct {
	Logger         *slog.Logger   // nil discards
	AccessLog      bool           // one line a request
	Observer       front.Observer // nil observes nothing
	MaxMessage     int            // bytes of the largest message; 64 MiB
	Memory         int64          // bytes of all messages that are received or answered at once; 1 GiB, at least twice MaxMessage
	Compression    Compression    // of answers to inference; none
	Guard          *door.Guard    // asks calls for keys; nil lets everybody in
	RequestTimeout time.Duration  // from a request's last byte to its answer; 60 s
	Keepalive      Keepalive
	Server         []grpc.ServerOption // further ones, such as TLS
}

// Keepalive is Triton's options of that kind; a zero field means Triton's default.
type Keepalive struct {
	Time               time.Duration // idle time before the server pings; 2 h
	Timeout            time.Duration // for the answer to a ping; 20 s
	PermitWithoutCalls bool          // clients may ping without a call
	MinPingInterval    time.Duration // between a client's pings; 5 min
	MaxAge             time.Duration // of a connection; no limit
	MaxAgeGrace        time.Duration // for its calls after that; no limit
}

// Server answers gRPC.
type Server struct {
	pb.UnimplementedGRPCInferenceServiceServer
	grpc_health_v1.UnimplementedHealthServer

	o        Options
	log      *slog.Logger
	grpc     *grpc.Server
	memory   *budget
	oip      atomic.Pointer[oip.Server]
	notReady atomic.Bool
	stopping chan struct{} // closed when streams are to end
	stop     sync.Once
	inFlight atomic.Int64
	uploads  uploads
}

// New returns a server that is live and not ready: what asks for a model fails until SetServer.
func New(o Options) *Server {
	s := &Server{o: o, log: o.Logger, stopping: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.o.MaxMessage <= 0 {
		s.o.MaxMessage = 64 << 20
	}
	if s.o.RequestTimeout <= 0 {
		s.o.RequestTimeout = time.Minute
	}
	if s.o.Memory <= 0 {
		s.o.Memory = 1 << 30
	}
	s.memory = newBudget(s.o.Memory, s.o.MaxMessage)
	s.grpc = grpc.NewServer(s.options()...)
	s.grpc.RegisterService(s.received(s.description()), s)
	s.grpc.RegisterService(s.received(grpc_health_v1.Health_ServiceDesc), s)
	reflection.Register(s.grpc)
	return s
}

// readBuffer is how many bytes one read of a connection takes at most. The buffer is lent to a connection
// only while it has data that it has not read.
const readBuffer = 128 << 10

// Windows are what a client may send before the server answers with more. A stream's is wide enough that an image
// tensor (602 KB) is less than the quarter of it at which the transport opens it again: one of 1 MiB was opened twice
// for each, by a system call here and one at the client. What a stream holds unread is bounded
// by its window, or by its message's length once that is known. The connection's is as large as the transport's
// estimate, whose pings this saves, would let it become.
const (
	receiveStream = 4 << 20
	receiveConn   = 16 << 20
)

// concurrentStreams is how many calls and streams a connection may have open; a client's library keeps further ones
// until there is room. Triton 2.51 has no such limit, and each open one costs a goroutine before a byte of it is
// paid for.
const concurrentStreams = 1024

func (s *Server) options() []grpc.ServerOption {
	k := &s.o.Keepalive
	own := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(receiveStream),
		grpc.StaticConnWindowSize(receiveConn),
		grpc.MaxRecvMsgSize(s.o.MaxMessage),
		grpc.MaxConcurrentStreams(concurrentStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.InTapHandle(s.admit),
		experimental.BufferPool(s.memory),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.streamed),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: k.Time, Timeout: k.Timeout, MaxConnectionAge: k.MaxAge, MaxConnectionAgeGrace: k.MaxAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: k.MinPingInterval, PermitWithoutStream: k.PermitWithoutCalls,
		}),
	}
	return append(own, s.o.Server...)
}

// description is the generated service with our own decoding of inference requests.
func (s *Server) description() grpc.ServiceDesc {
	d := pb.GRPCInferenceService_ServiceDesc
	d.Methods = slices.Clone(d.Methods)
	for i := range d.Methods {
		if d.Methods[i].MethodName == "ModelInfer" {
			d.Methods[i].Handler = s.modelInfer
		}
	}
	d.Streams = slices.Clone(d.Streams)
	for i := range d.Streams {
		if d.Streams[i].StreamName == "ModelStreamInfer" {
			d.Streams[i].Handler = s.modelStreamInfer
		}
	}
	return d
}

// SetServer makes the server answer for models.
func (s *Server) SetServer(o *oip.Server) { s.oip.Store(o) }

// server is what answers for models, or the error to answer with instead.
func (s *Server) server() (*oip.Server, error) {
	if o := s.oip.Load(); o != nil {
		return o, nil
	}
	return nil, fault.New(fault.Unavailable, "the model is loading").After(time.Second)
}

// InFlight is the number of inference requests being answered.
func (s *Server) InFlight() int64 { return s.inFlight.Load() }

// Serve answers connections of the listener until Drain or Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// SetDraining makes the server say that it is not ready; it answers on.
func (s *Server) SetDraining() { s.notReady.Store(true) }

// Shutdown accepts no new call, waits until those under way are answered, or ctx ends, and closes all
// connections. Streams read no more requests, answer those that they have, and end as Unavailable.
func (s *Server) Shutdown(ctx context.Context) error {
	s.SetDraining()
	s.stop.Do(func() { close(s.stopping) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return ctx.Err()
	}
}
