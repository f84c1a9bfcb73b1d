package target

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// grpcConn is one worker's connection.
type grpcConn struct {
	target  *grpcTarget
	timeout time.Duration
	cc      *grpc.ClientConn
	wire    *meteredWire
	answer  []byte
	checked *grpcRequest
	least   int
}

// SetTimeout changes the timeout of the requests that follow.
func (c *grpcConn) SetTimeout(d time.Duration) { c.timeout = d }

func (c *grpcConn) open() (err error) {
	c.wire = &meteredWire{}
	c.checked = nil
	dialer := func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := c.target.site.Dialer(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &meteredConn{nc, c.wire}, nil
	}
	c.cc, err = c.target.dial(dialer, grpc.WithStatsHandler(c.wire), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	return err
}

// Close closes the connection.
func (c *grpcConn) Close() error {
	if c.cc == nil {
		return nil
	}
	cc := c.cc
	c.cc = nil
	return cc.Close()
}

const inferMethod = "/inference.GRPCInferenceService/ModelInfer"

// Do sends a message that was marshalled before and reads the answer's bytes. Wrote is the last write of
// the connection before the answer began.
func (c *grpcConn) Do(ctx context.Context, request Request, clock func() int64, r *record.Request) error {
	q, ok := request.(*grpcRequest)
	if !ok {
		return fmt.Errorf("target: a request of %T was made by another target", request)
	}
	r.Sent = clock()
	if c.cc == nil {
		if err := c.open(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, c.target.headers), c.timeout)
	defer cancel()
	c.wire.begin(clock)
	err := c.cc.Invoke(ctx, inferMethod, q.bytes, &c.answer)
	r.Done = clock()
	c.wire.end(r)
	c.verdict(q, err, r)
	if c.target.site.NewConnection || status.Code(err) == codes.Unavailable {
		return c.Close() // grpc-go would wait before it tries again
	}
	return nil
}

// verdict fills the status: 1000 and the gRPC code.
func (c *grpcConn) verdict(q *grpcRequest, err error, r *record.Request) {
	code := status.Code(err)
	switch {
	case code == codes.DeadlineExceeded:
		r.Error = Timeout
	case err != nil && r.FirstByte == 0:
		r.Error = "gRPC " + code.String()
	case err != nil:
		r.Status = 1000 + int32(code)
		r.Error = clip("gRPC "+code.String()+": "+status.Convert(err).Message(), 200)
	default:
		r.Status = 1000
		if c.checked != q || len(c.answer) < c.least {
			c.check(q, r)
		}
	}
}

func (c *grpcConn) check(q *grpcRequest, r *record.Request) {
	var a pb.ModelInferResponse
	if err := proto.Unmarshal(c.answer, &a); err != nil {
		r.Error = "a wrong answer: " + err.Error()
		return
	}
	if len(a.Outputs) == 0 {
		r.Error = "a wrong answer: no outputs"
		return
	}
	for _, o := range a.Outputs {
		if err := batchOf(o.Name, o.Shape, q.images); err != nil {
			r.Error = "a wrong answer: " + err.Error()
			return
		}
	}
	c.checked, c.least = q, len(c.answer)/2
}

// meteredWire counts a connection's bytes and stamps the call under way.
type meteredWire struct {
	in, out          atomic.Int64
	clock            atomic.Pointer[func() int64]
	wrote, firstByte atomic.Int64
	inBefore, outB   int64
}

func (w *meteredWire) begin(clock func() int64) {
	w.inBefore, w.outB = w.in.Load(), w.out.Load()
	w.wrote.Store(0)
	w.firstByte.Store(0)
	w.clock.Store(&clock)
}

// end reads the stamps. The goroutine that writes may stamp its return after the answer has begun; what
// was written was written before that.
func (w *meteredWire) end(r *record.Request) {
	r.Wrote, r.FirstByte = w.wrote.Load(), w.firstByte.Load()
	if r.FirstByte != 0 {
		r.Wrote = min(r.Wrote, r.FirstByte)
	}
	r.BytesIn, r.BytesOut = int32(w.in.Load()-w.inBefore), int32(w.out.Load()-w.outB)
}

func (w *meteredWire) stamp(to *atomic.Int64) {
	if clock := w.clock.Load(); clock != nil && w.firstByte.Load() == 0 {
		to.Store((*clock)())
	}
}

// TagRPC, HandleRPC, TagConn and HandleConn are grpc's stats.Handler.
func (w *meteredWire) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC stamps the arrival of the answer's headers.
func (w *meteredWire) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.InHeader, *stats.InTrailer:
		w.stamp(&w.firstByte)
	}
}

// TagConn keeps the context.
func (w *meteredWire) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing.
func (w *meteredWire) HandleConn(context.Context, stats.ConnStats) {}

// meteredConn counts what passes.
type meteredConn struct {
	net.Conn
	wire *meteredWire
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire.in.Add(int64(n))
	return n, err
}

// Write counts and stamps before it writes too: the answer may overtake its return.
func (c *meteredConn) Write(b []byte) (int, error) {
	c.wire.out.Add(int64(len(b)))
	c.wire.stamp(&c.wire.wrote)
	n, err := c.Conn.Write(b)
	c.wire.out.Add(int64(n - len(b)))
	c.wire.stamp(&c.wire.wrote)
	return n, err
}

// rawCodec passes bytes: messages are marshalled before they are timed.
type rawCodec struct{}

// Marshal takes []byte.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("target: %T is not marshalled", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal fills *[]byte, whose memory is used again.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("target: %T takes no bytes", v)
	}
	n := data.Len()
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	data.CopyTo(*b)
	return nil
}

// Name makes servers take it for protobuf, which it is.
func (rawCodec) Name() string { return "proto" }
