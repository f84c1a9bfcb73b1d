package oipgrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// TestRestricted makes the calls to which Triton 2.51 answered with all groups restricted.
func TestRestricted(t *testing.T) {
	b, err := os.ReadFile("../../../testdata/triton/grpc/restricted.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Groups [][3]string
		GRPC   []struct {
			Method, Message string
			Header          map[string]string
			Code            codes.Code
		}
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	restricted := door.Restrictions{}
	for _, g := range recorded.Groups {
		if err := restricted.Add(g[0] + ":" + g[1] + "=" + g[2]); err != nil {
			t.Fatal(err)
		}
	}
	s, conn := start(t, Options{Guard: door.NewGuard(nil, restricted)})
	s.SetServer(newOIP(t))
	if len(recorded.GRPC) < 40 {
		t.Fatalf("only %d calls", len(recorded.GRPC))
	}
	for _, r := range recorded.GRPC {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.New(r.Header))
		if strings.HasSuffix(r.Method, "ModelStreamInfer") {
			err = emptyStream(ctx, conn)
		} else {
			err = conn.Invoke(ctx, r.Method, &emptypb.Empty{}, &emptypb.Empty{})
		}
		// The models are others than Triton's, so what a call says that was let in is not compared.
		refused := r.Code == codes.Unavailable
		if got := status.Convert(err); refused != (got.Code() == codes.Unavailable) || refused && got.Message() != r.Message {
			t.Errorf("%s with %d headers: %v, want %v %q", r.Method, len(r.Header), err, r.Code, r.Message)
		}
	}
}

// emptyStream opens an inference stream and sends nothing.
func emptyStream(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := pb.NewGRPCInferenceServiceClient(conn).ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// oneStreamed sends one request on a stream and reads its answer.
func oneStreamed(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := pb.NewGRPCInferenceServiceClient(conn).ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(simple(ints(16), ints(16))); err != nil {
		return err
	}
	_, err = stream.Recv()
	return errors.Join(err, stream.CloseSend())
}

func TestKeys(t *testing.T) {
	keys, err := door.ParseKeys([]byte("alice:alice-secret"))
	if err != nil {
		t.Fatal(err)
	}
	g := &door.Guard{}
	g.SetKeys(keys)
	var log bytes.Buffer
	s, conn := start(t, Options{Guard: g, AccessLog: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.SetServer(newOIP(t))
	c := pb.NewGRPCInferenceServiceClient(conn)
	calls := map[string]func(context.Context) error{
		"metadata": func(ctx context.Context) error {
			_, err := c.ServerMetadata(ctx, &pb.ServerMetadataRequest{})
			return err
		},
		"infer": func(ctx context.Context) error {
			_, err := c.ModelInfer(ctx, simple(ints(16), ints(16)))
			return err
		},
		"stream": func(ctx context.Context) error { return emptyStream(ctx, conn) },
		"reflection": func(ctx context.Context) error {
			stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
			if err != nil {
				return err
			}
			if err := stream.CloseSend(); err != nil {
				return err
			}
			if _, err = stream.Recv(); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		},
	}
	for name, call := range calls {
		for _, key := range []string{"", "wrong-secret"} {
			if err := call(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", key)); status.Code(err) != codes.Unauthenticated {
				t.Errorf("%s with %q: %v", name, key, err)
			}
		}
		for k, v := range map[string]string{"x-api-key": "alice-secret", "authorization": "Bearer alice-secret"} {
			if err := call(metadata.AppendToOutgoingContext(t.Context(), k, v)); err != nil {
				t.Errorf("%s with %s: %v", name, k, err)
			}
		}
	}
	for _, probe := range []func() error{
		func() error { _, err := c.ServerLive(t.Context(), &pb.ServerLiveRequest{}); return err },
		func() error { _, err := c.ServerReady(t.Context(), &pb.ServerReadyRequest{}); return err },
		func() error {
			_, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
			return err
		},
	} {
		if err := probe(); err != nil {
			t.Errorf("a probe needs a key: %v", err)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "key=alice") || !strings.Contains(text, "fault=unauthenticated") || strings.Contains(text, "secret") {
		t.Errorf("the access log: %s", text)
	}
}

// compressions are the compressors of the answers that a client gets.
type compressions struct{ names chan string }

func (compressions) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (compressions) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (compressions) HandleConn(context.Context, stats.ConnStats)                       {}
func (c compressions) HandleRPC(_ context.Context, s stats.RPCStats) {
	if h, ok := s.(*stats.InHeader); ok {
		c.names <- h.Compression
	}
}

func TestCompression(t *testing.T) {
	for _, c := range []struct {
		level    Compression
		accepted []string
		want     string
	}{
		{"", []string{"gzip"}, "identity"}, {CompressionNone, []string{"gzip"}, "identity"},
		{CompressionLow, nil, "identity"}, {CompressionLow, []string{"identity", "deflate", "gzip"}, "gzip"},
		{CompressionMedium, []string{"gzip", "deflate"}, "deflate"}, {CompressionHigh, []string{"deflate", "gzip"}, "deflate"},
		{CompressionHigh, []string{"gzip"}, "gzip"}, {CompressionLow, []string{"deflate"}, "deflate"}, {CompressionHigh, []string{"br"}, "identity"},
	} {
		if got := c.level.choose(c.accepted); got != c.want {
			t.Errorf("%q of %q: %s, want %s", c.level, c.accepted, got, c.want)
		}
	}
	for level, want := range map[Compression]string{CompressionNone: "identity", CompressionLow: "gzip", CompressionHigh: "deflate"} {
		seen := compressions{make(chan string, 1)}
		s, conn := start(t, Options{Compression: level}, grpc.WithStatsHandler(seen))
		s.SetServer(newOIP(t))
		// The request is compressed, and the answer is not for that reason.
		_, err := pb.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), simple(ints(16), ints(16)), grpc.UseCompressor(gzip.Name))
		if err != nil {
			t.Fatal(err)
		}
		if got := <-seen.names; got != want {
			t.Errorf("%q: answers in %q, want %q", level, got, want)
		}
		if err := oneStreamed(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if got := <-seen.names; got != want {
			t.Errorf("%q: a stream answers in %q, want %q", level, got, want)
		}
	}
}

// TestMemory fills the budget from inside a call: another call is refused before its message is read, and
// let in when the memory is free again.
func TestMemory(t *testing.T) {
	s, conn := start(t, Options{MaxMessage: 1 << 20, Memory: 4 << 20})
	s.SetServer(newOIP(t))
	c := pb.NewGRPCInferenceServiceClient(conn)
	held := s.memory.Get(4 << 20)
	if _, err := c.ModelInfer(t.Context(), simple(ints(16), ints(16))); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "of the 4194304 bytes") {
		t.Errorf("%v", err)
	}
	if _, err := c.ServerMetadata(t.Context(), &pb.ServerMetadataRequest{}); err != nil {
		t.Errorf("a call without tensors: %v", err)
	}
	s.memory.Put(held)
	if _, err := c.ModelInfer(t.Context(), simple(ints(16), ints(16))); err != nil {
		t.Errorf("%v", err)
	}
	// A message that was let in and that has no room.
	if err := s.memory.take(4<<20 - 16); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ModelInfer(t.Context(), simple(ints(16), ints(16))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	s.memory.give(4<<20 - 16)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are held when all is done", used)
	}
}

func TestBudgetIsAtLeastOneMessage(t *testing.T) {
	b := newBudget(1, 1<<20)
	if err := errors.Join(b.take(1<<20), b.take(1<<20)); err != nil {
		t.Error(err)
	}
}

// Calls that are cancelled while their messages arrive leave nothing behind.
func TestMemoryOfCancelledCalls(t *testing.T) {
	s, conn := start(t, Options{})
	s.SetServer(newOIP(t))
	c := pb.NewGRPCInferenceServiceClient(conn)
	large := simple(nil, nil, make([]byte, 8<<20), make([]byte, 8<<20))
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = c.ModelInfer(ctx, large) // however it ends
		}()
		for s.memory.used.Load() < 1<<20 {
			select {
			case <-ended: // it was faster
			default:
				runtime.Gosched()
				continue
			}
			break
		}
		cancel()
		<-ended
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(s.memory.used.Load(), "bytes are left to the collector")
	for s.memory.used.Load() != 0 {
		runtime.GC()
	}
}

// A buffer that the transport forgets is found by the collector.
func TestForgottenBuffers(t *testing.T) {
	b := newBudget(1<<30, 1<<20)
	freed := make(chan struct{})
	func() {
		p := b.Get(1 << 16)
		if used := b.used.Load(); used != 1<<16 {
			t.Fatalf("%d bytes", used)
		}
		runtime.AddCleanup(p, func(c chan struct{}) { close(c) }, freed)
	}()
	for b.used.Load() != 0 {
		runtime.GC()
	}
	<-freed
}

func BenchmarkBudget(b *testing.B) {
	m := newBudget(1<<30, 1<<20)
	for b.Loop() {
		m.Put(m.Get(16 << 10))
	}
}
