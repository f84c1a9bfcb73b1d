package target

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// inference is a server of the protocol, made with grpc-go's own codec.
type inference struct {
	pb.UnimplementedGRPCInferenceServiceServer
	kind  string
	infer func(ctx context.Context, q *pb.ModelInferRequest) (*pb.ModelInferResponse, error)
}

func (s *inference) ServerMetadata(context.Context, *pb.ServerMetadataRequest) (*pb.ServerMetadataResponse, error) {
	return &pb.ServerMetadataResponse{Name: "triton", Version: "2.51.0"}, nil
}

func (s *inference) ModelMetadata(context.Context, *pb.ModelMetadataRequest) (*pb.ModelMetadataResponse, error) {
	return &pb.ModelMetadataResponse{Inputs: []*pb.ModelMetadataResponse_TensorMetadata{{Name: "pixels", Datatype: s.kind, Shape: []int64{-1, 1}}}}, nil
}

func (s *inference) ModelInfer(ctx context.Context, q *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	return s.infer(ctx, q)
}

func embedded(images int64) *pb.ModelInferResponse {
	return &pb.ModelInferResponse{Outputs: []*pb.ModelInferResponse_InferOutputTensor{{Name: "e", Datatype: "FP32", Shape: []int64{images, 2}}},
		RawOutputContents: [][]byte{make([]byte, 8*images)}}
}

func openGRPC(t *testing.T, o Options, s *inference) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterGRPCInferenceServiceServer(server, s)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	o.URL, o.Model, s.kind = "grpc://"+ln.Addr().String(), "m", kinds[o.Format]
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	o.Headers = map[string]string{"Authorization": "Bearer x"}
	to, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestGRPC(t *testing.T) {
	a, b := image("a"), image("b")
	for _, format := range []string{OIPGRPC, OIPGRPCImage} {
		for _, fresh := range []bool{false, true} {
			to := openGRPC(t, Options{Format: format, NewConnection: fresh}, &inference{infer: func(ctx context.Context, q *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
				if md, _ := metadata.FromIncomingContext(ctx); strings.Join(md.Get("authorization"), "") != "Bearer x" {
					t.Errorf("headers %v", md)
				}
				in, data := q.Inputs[0], q.RawInputContents[0]
				want := []int64{2, 3, 2, 2}
				if format == OIPGRPCImage {
					want = []int64{2, 1}
					if n := binary.LittleEndian.Uint32(data); !bytes.Equal(data[4:4+n], a.JPEG) || !bytes.Equal(data[8+n:], b.JPEG) {
						t.Errorf("BYTES are %q", data)
					}
				} else if got := math.Float32frombits(binary.LittleEndian.Uint32(data[48+4*3:])); got != b.Tensor[3] {
					t.Errorf("a value is %v, want %v", got, b.Tensor[3])
				}
				if in.Name != "pixels" || len(in.Shape) != len(want) || in.Shape[0] != want[0] || in.Shape[1] != want[1] {
					t.Errorf("%s %v, want %v", in.Name, in.Shape, want)
				}
				return embedded(2), nil
			}})
			q, err := to.Prepare([]Image{a, b})
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, to)
			for range 3 {
				r := do(t, c, q)
				if r.Error != "" || r.Status != 1000 {
					t.Fatalf("%d %q", r.Status, r.Error)
				}
				if int(r.BytesOut) < len(q.(*grpcRequest).bytes) || r.BytesIn < 40 {
					t.Errorf("%d bytes out of a message of %d, %d in", r.BytesOut, len(q.(*grpcRequest).bytes), r.BytesIn)
				}
				if r.Sent > r.Wrote || r.Wrote > r.FirstByte || r.FirstByte > r.Done {
					t.Errorf("stamps %d %d %d %d", r.Sent, r.Wrote, r.FirstByte, r.Done)
				}
			}
			if s, err := to.Describe(t.Context()); err != nil || s.Software != "triton" {
				t.Errorf("%+v, %v", s, err)
			}
		}
	}
}

func TestGRPCFailures(t *testing.T) {
	var n atomic.Int32
	to := openGRPC(t, Options{Format: OIPGRPC}, &inference{infer: func(ctx context.Context, _ *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
		switch n.Add(1) {
		case 1:
			return nil, status.Error(codes.ResourceExhausted, "the queue is full")
		case 2:
			return embedded(3), nil
		case 3:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return embedded(1), nil
	}})
	q, err := to.Prepare([]Image{image("a")})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, to)
	if r := do(t, c, q); r.Status != 1008 || r.Error != "gRPC ResourceExhausted: the queue is full" {
		t.Errorf("%d %q", r.Status, r.Error)
	}
	if r := do(t, c, q); !strings.Contains(r.Error, "shape [3 2] for 1 images") {
		t.Errorf("%d %q", r.Status, r.Error)
	}
	c.(interface{ SetTimeout(time.Duration) }).SetTimeout(50 * time.Millisecond)
	if r := do(t, c, q); r.Error != Timeout || r.Status != 0 {
		t.Errorf("%d %q", r.Status, r.Error)
	}
	c.(interface{ SetTimeout(time.Duration) }).SetTimeout(20 * time.Second)
	if r := do(t, c, q); r.Error != "" {
		t.Errorf("%d %q", r.Status, r.Error)
	}
}

// A server that goes away is a failed request, and one that comes back is found again at once.
func TestGRPCReconnects(t *testing.T) {
	ok := &inference{kind: "FP32", infer: func(context.Context, *pb.ModelInferRequest) (*pb.ModelInferResponse, error) { return embedded(1), nil }}
	serve := func(address string) (*grpc.Server, string) {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		pb.RegisterGRPCInferenceServiceServer(s, ok)
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(s.Stop)
		return s, ln.Addr().String()
	}
	first, address := serve("127.0.0.1:0")
	to, err := Open(t.Context(), Options{Format: OIPGRPC, URL: address, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	q, err := to.Prepare([]Image{image("a")})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, to)
	if r := do(t, c, q); r.Error != "" {
		t.Fatal(r.Error)
	}
	first.Stop()
	if r := do(t, c, q); r.Error != "gRPC Unavailable" || r.Status != 0 {
		t.Errorf("%d %q, want Unavailable", r.Status, r.Error)
	}
	serve(address)
	var r record.Request
	for range 3 { // the first may still find the old connection
		if r = do(t, c, q); r.Error == "" {
			break
		}
	}
	if r.Error != "" {
		t.Errorf("the server that came back is not found: %s", r.Error)
	}
}
