package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/front/oipgrpc"
)

// grpcFlags are the gRPC door and its options, named as Triton names them.
type grpcFlags struct {
	address    string
	maxMessage cli.Bytes
	memory     cli.Bytes
	compress   string
	keepalive  oipgrpc.Keepalive
}

func (g *grpcFlags) define(fs *pflag.FlagSet) {
	g.maxMessage, g.memory = 64<<20, 1<<30
	k := &g.keepalive
	cli.Group(fs, "gRPC (times as in Triton: milliseconds, or with a unit)", func(fs *pflag.FlagSet) {
		fs.Var(&g.maxMessage, "grpc-max-message-size", "`bytes` of the largest request or answer")
		fs.Var(&g.memory, "grpc-message-memory", "`bytes` of all messages held at once; calls beyond get RESOURCE_EXHAUSTED")
		fs.Var(cli.NewChoice(&g.compress, "none", "none", "low", "medium", "high"), "grpc-infer-response-compression-level",
			"how much answers to inference are compressed, among what the client takes: low is gzip, medium and high deflate")
		fs.Var(newMilliseconds(&k.Time, 2*time.Hour), "grpc-keepalive-time", "idle `time` of a connection before the server pings its client")
		fs.Var(newMilliseconds(&k.Timeout, 20*time.Second), "grpc-keepalive-timeout", "longest `time` for the answer to a ping")
		fs.BoolVar(&k.PermitWithoutCalls, "grpc-keepalive-permit-without-calls", false, "let clients ping with no call under way")
		fs.Var(newMilliseconds(&k.MinPingInterval, 5*time.Minute), "grpc-http2-min-recv-ping-interval-without-data",
			"shortest `time` between a client's pings; who pings faster is hung up on")
		fs.Var(newMilliseconds(&k.MaxAge, 0), "grpc-max-connection-age", "longest `time` of a connection; 0 is no limit")
		fs.Var(newMilliseconds(&k.MaxAgeGrace, 0), "grpc-max-connection-age-grace", "`time` for a connection's calls after its age; 0 is no limit")
	})
}

// milliseconds is a time as Triton's flags have it, a number of milliseconds, or as Vitrine's have it.
type milliseconds struct{ d *time.Duration }

func newMilliseconds(d *time.Duration, def time.Duration) milliseconds {
	*d = def
	return milliseconds{d}
}

// String implements pflag.Value.
func (m milliseconds) String() string {
	if m.d == nil {
		return ""
	}
	return m.d.String()
}

// Set implements pflag.Value.
func (m milliseconds) Set(s string) error {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/int64(time.Millisecond) {
		*m.d = time.Duration(n) * time.Millisecond
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return errors.New("want milliseconds, or a time with a unit, such as 7200000 or 2h")
	}
	*m.d = d
	return nil
}

// Type is the placeholder in help.
func (m milliseconds) Type() string { return "time" }

// grpcDoor is the gRPC address and what answers there; nil where it is off.
type grpcDoor struct {
	*oipgrpc.Server
	listener net.Listener
	failed   chan error
}

// openGRPC listens. Until the server is given models it answers that they load.
func openGRPC(g *grpcFlags, o oipgrpc.Options) (*grpcDoor, error) {
	if g.address == closedDoor {
		return nil, nil
	}
	l, err := net.Listen("tcp", g.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--grpc %s: the port is taken: another program listens there; choose another, port 0 for any that is free, or off", g.address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("--grpc %s: the system does not allow this port: %w", g.address, err)
	case err != nil:
		return nil, cli.Usage{Err: fmt.Errorf("--grpc %s: %w", g.address, err)}
	}
	o.MaxMessage, o.Keepalive = int(g.maxMessage), g.keepalive
	o.Memory, o.Compression = int64(g.memory), oipgrpc.Compression(g.compress)
	return &grpcDoor{Server: oipgrpc.New(o), listener: l, failed: make(chan error, 1)}, nil
}

// start answers until shutdown; an error of the listener goes to failed.
func (d *grpcDoor) start() {
	if d == nil {
		return
	}
	go func() {
		if err := d.Serve(d.listener); err != nil {
			d.failed <- err
		}
	}()
}

// failure reports a listener that broke; never for a door that is off.
func (d *grpcDoor) failure() <-chan error {
	if d == nil {
		return nil
	}
	return d.failed
}

// setDraining says that the server is not ready.
func (d *grpcDoor) setDraining() {
	if d != nil {
		d.SetDraining()
	}
}

// shutdown waits until what was accepted is answered, or ctx ends; then it hangs up.
func (d *grpcDoor) shutdown(ctx context.Context) error {
	if d == nil {
		return nil
	}
	return errors.Join(d.Shutdown(ctx), closed(d.listener.Close()))
}

// closed ignores that a listener is closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// grpcOptions are the parts of the server that gRPC shares with HTTP.
func (s *server) grpcOptions(log *slog.Logger) oipgrpc.Options {
	return oipgrpc.Options{Logger: log, AccessLog: s.o.accessLog, Observer: s.metrics, RequestTimeout: s.o.requestTimeout,
		Guard: s.doors.guard, Server: s.doors.grpcOptions()}
}

// openModels lets gRPC requests in.
func (d *grpcDoor) openModels(s *server) {
	if d != nil {
		d.SetServer(s.oip)
	}
}
