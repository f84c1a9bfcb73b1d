package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// zeros answers a tensor of zeros to a model "m", and errors to others.
type zeros struct {
	pb.UnimplementedGRPCInferenceServiceServer
}

func (zeros) ModelInfer(_ context.Context, r *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	switch {
	case len(r.RawInputContents) != 1 || len(r.RawInputContents[0]) != 602112:
		return nil, status.Error(codes.InvalidArgument, "no tensor")
	case r.ModelName == "late":
		return nil, status.Error(codes.NotFound, "no such model")
	}
	return &pb.ModelInferResponse{ModelName: r.ModelName, RawOutputContents: [][]byte{make([]byte, 2048)}}, nil
}

// dial connects to a server of grpc-go.
func dial(t *testing.T, model string, o ...grpc.ServerOption) (c *conn, address string) {
	t.Helper()
	s := grpc.NewServer(o...)
	pb.RegisterGRPCInferenceServiceServer(s, zeros{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	request, err := tensorRequest(model)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = newConn(socket, "localhost", prefixed(request)); err != nil {
		t.Fatal(err)
	}
	return c, l.Addr().String()
}

func TestAgainstGRPC(t *testing.T) {
	for name, o := range map[string][]grpc.ServerOption{
		"estimated windows": nil,
		"small windows":     {grpc.StaticStreamWindowSize(64 << 10), grpc.StaticConnWindowSize(64 << 10)},
		"large windows":     {grpc.StaticStreamWindowSize(4 << 20), grpc.StaticConnWindowSize(16 << 20)},
	} {
		c, _ := dial(t, "m", o...)
		for range 20 {
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if c.sent < 20*602112 || c.received < 20*2048 {
			t.Errorf("%s: %d bytes sent, %d received", name, c.sent, c.received)
		}
	}
}

func TestRefusals(t *testing.T) {
	c, _ := dial(t, "late")
	for range 2 { // and the connection is well
		err := c.call()
		if !errors.As(err, new(*refusal)) || err.Error() != `gRPC status "5": no such model` {
			t.Errorf("%v", err)
		}
	}
	c, address := dial(t, "m", grpc.MaxRecvMsgSize(1000)) // refuses before it has the message
	if err := c.call(); !errors.As(err, new(*refusal)) || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("%v", err)
	}
	if _, err := run(address, "m", 2, 1); err == nil || !strings.Contains(err.Error(), "no request succeeded") {
		t.Errorf("%v", err)
	}
}

func TestRun(t *testing.T) {
	_, address := dial(t, "m")
	r, err := run(address, "m", 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests < 3 || r.Errors != 0 || r.Sent < 602112 || r.P50 <= 0 || r.Max < r.P99 || r.P99 < r.P50 {
		t.Errorf("%+v", r)
	}
}

// peer is a server that is as particular as HTTP/2 lets it be.
type peer struct {
	framer                   *http2.Framer
	message                  []byte
	frame, window            int // of the settings
	conn, stream             int // bytes that the client may send
	settingsAcked, pingAcked int
	frames                   []int // lengths of the DATA frames of a request
}

// serve answers one request for each of settings, which it tells the client before.
func (p *peer) serve(socket net.Conn, settings ...http2.Setting) error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(socket, preface); err != nil || string(preface) != http2.ClientPreface {
		return fmt.Errorf("%q: %w", preface, err)
	}
	p.framer = http2.NewFramer(socket, socket)
	p.conn, p.window = 65535, 65535
	for i := 0; i < len(settings); i += 2 {
		if err := errors.Join(p.framer.WriteSettings(settings[i:i+2]...), p.framer.WritePing(false, [8]byte{1, 2, 3})); err != nil {
			return err
		}
		p.window, p.frame = int(settings[i].Val), int(settings[i+1].Val)
		if err := p.request(); err != nil {
			return err
		}
	}
	if p.settingsAcked != len(settings)/2 || p.pingAcked != len(settings)/2 {
		return fmt.Errorf("%d settings and %d pings acknowledged", p.settingsAcked, p.pingAcked)
	}
	return nil
}

// request reads one and answers it. It opens the windows by turns, by little more than what came.
func (p *peer) request() error {
	var body []byte
	var id uint32
	p.frames = nil
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if f.IsAck() {
				p.settingsAcked++
			}
		case *http2.PingFrame:
			if f.IsAck() && f.Data == [8]byte{1, 2, 3} {
				p.pingAcked++
			}
		case *http2.HeadersFrame:
			if f.StreamID <= id || f.StreamID%2 != 1 || f.StreamEnded() {
				return fmt.Errorf("headers on stream %d: %v", f.StreamID, f)
			}
			id, p.stream = f.StreamID, p.window
		case *http2.DataFrame:
			n := len(f.Data())
			p.conn -= n
			p.stream -= n
			p.frames = append(p.frames, n)
			if p.conn < 0 || p.stream < 0 || n > p.frame {
				return fmt.Errorf("a frame of %d bytes, of %d allowed, leaves windows of %d and %d", n, p.frame, p.conn, p.stream)
			}
			if body = append(body, f.Data()...); f.StreamEnded() {
				p.conn += n
				if err := p.framer.WriteWindowUpdate(0, uint32(n)); err != nil {
					return err
				}
				if !bytes.Equal(body, p.message) {
					return errors.New("another message")
				}
				return p.respond(id)
			}
			p.conn += n
			p.stream += n + 777
			if err := errors.Join(p.framer.WriteWindowUpdate(id, uint32(n+777)), p.framer.WriteWindowUpdate(0, uint32(n))); err != nil {
				return err
			}
		}
	}
}

// respond answers with headers in two frames, padded data, a message in two frames, and trailers.
func (p *peer) respond(id uint32) error {
	block := func(fields ...string) []byte {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		e.SetMaxDynamicTableSize(0)
		for i := 0; i < len(fields); i += 2 {
			if err := e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
				panic(err) // into memory
			}
		}
		return b.Bytes()
	}
	head, answer := block(":status", "200", "content-type", "application/grpc"), prefixed(make([]byte, 100))
	return errors.Join(
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head[:3]}),
		p.framer.WriteContinuation(id, true, head[3:]),
		p.framer.WriteDataPadded(id, false, answer[:3], make([]byte, 200)),
		p.framer.WriteData(id, false, answer[3:]),
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block("grpc-status", "0"), EndHeaders: true, EndStream: true}))
}

// TestWindowsAreObeyed calls a server with windows from one byte to more than a message, and frames of several sizes.
func TestWindowsAreObeyed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &peer{message: prefixed(bytes.Repeat([]byte("0123456789"), 20_000))}
	served := make(chan error, 1)
	settings := []http2.Setting{}
	for _, s := range [][2]uint32{{1, 16384}, {1000, 16384}, {20_000, 17_001}, {1 << 20, 1 << 20}, {50_000, 16384}} {
		settings = append(settings, http2.Setting{ID: http2.SettingInitialWindowSize, Val: s[0]}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: s[1]})
	}
	go func() {
		socket, err := l.Accept()
		if err == nil {
			err = errors.Join(p.serve(socket, settings...), socket.Close())
		}
		served <- err
	}()
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c, err := newConn(socket, "localhost", p.message)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(settings) / 2 {
		for i > 0 && c.initialWindow != int64(settings[2*i].Val) {
			if err := c.next(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.call(); err != nil {
			t.Fatal(err)
		}
	}
	for c.next() == nil { // what is left is acknowledged
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if slices.Max(p.frames) > 16384 {
		t.Error(p.frames)
	}
}
