package oipgrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// TestEverySplit reads a message that is cut in two at every byte, and in pieces of every length: the call is
// the one of the message in one place.
func TestEverySplit(t *testing.T) {
	typed := sound()
	typed.Inputs[0].Contents = ints(300) // a field that only a copy brings to one place
	for name, m := range map[string]*pb.ModelInferRequest{"every field": full(), "typed": typed, "raw": simple(nil, nil, bytes.Repeat([]byte("12345678"), 200), []byte("x"))} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) + 1 {
			readAs(t, name, m, mem.BufferSlice{mem.SliceBuffer(b[:i]), mem.SliceBuffer(b[i:])})
		}
		memory := newBudget(1<<30, 64<<20)
		for n := 1; n <= len(b); n++ {
			readAs(t, name, m, pooled(memory, b, n))
		}
		if used := memory.used.Load(); used != 0 {
			t.Errorf("%d bytes are held when all calls are released", used)
		}
	}
}

func readAs(t *testing.T, name string, want *pb.ModelInferRequest, data mem.BufferSlice) {
	t.Helper()
	memory := newBudget(1<<30, 64<<20)
	c := newCall(memory)
	err := c.unmarshal(data)
	data.Free() // as the transport does
	if err != nil || c.refused != nil {
		t.Fatalf("%s in %d pieces: %v, %v", name, len(data), err, c.refused)
	}
	equal(t, "size", c.size, proto.Size(want))
	compare(t, c, want)
	if len(data) > 1 && memory.used.Load() == 0 && c.size > 0 {
		t.Errorf("%s in %d pieces: the budget does not know of the message", name, len(data))
	}
	c.release()
	equal(t, "bytes held after the release", memory.used.Load(), int64(0))
}

// A tensor stays where the transport put it, and a message of crumbs does not.
func TestPiecesAreKept(t *testing.T) {
	b, err := proto.Marshal(imageTensor())
	if err != nil {
		t.Fatal(err)
	}
	for n, copied := range map[int]bool{16 << 10: false, 1 << 10: false, 100: true} {
		c := newCall(newBudget(1<<30, 64<<20))
		data := pooled(c.memory, b, n)
		if err := c.unmarshal(data); err != nil || c.refused != nil {
			t.Fatal(err, c.refused)
		}
		if _, whole := c.raw[0].Contiguous(); whole != copied || (len(c.copies) > 0) != copied {
			t.Errorf("pieces of %d bytes: in one place %v, %d copies", n, whole, len(c.copies))
		}
		c.release()
		data.Free()
	}
}

// reader takes its input in pieces and answers their bytes.
type reader struct {
	oip.Model // an identity, which declares the tensors
	pieces    atomic.Int64
}

func (*reader) ReadsPieces() bool { return true }

func (m *reader) Infer(ctx context.Context, r *oip.Request) (*oip.Response, error) {
	in := &r.Inputs[0]
	if in.Data != nil {
		return m.Model.Infer(ctx, r)
	}
	data := make([]byte, 0, in.Len())
	for part := range in.Pieces.All() {
		m.pieces.Add(1)
		data = append(data, part...)
	}
	whole := oip.Request{Inputs: []oip.Input{{Name: in.Name, DType: in.DType, Shape: in.Shape, Data: data}}}
	return m.Model.Infer(ctx, &whole)
}

// piecesServer serves the samples, of which identity_int32 reads pieces.
func piecesServer(t *testing.T, o Options) (*Server, *grpc.ClientConn, *reader) {
	t.Helper()
	s, conn := start(t, o)
	registry := oip.NewRegistry(nil)
	var pieces *reader
	for _, m := range sampleModels(t) {
		if m.Metadata().Name == "identity_int32" {
			pieces = &reader{Model: m}
			m = pieces
		}
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	s.SetServer(oip.NewServer(registry, nil))
	return s, conn, pieces
}

// TestTensorsOfManyFrames sends tensors of many frames from several clients at once: each gets its own back,
// whether its model reads pieces or not, compressed or not, and on a stream.
func TestTensorsOfManyFrames(t *testing.T) {
	s, conn, pieces := piecesServer(t, Options{})
	c := pb.NewGRPCInferenceServiceClient(conn)
	const n = 40_000
	ask := func(i uint32, name, datatype string) *pb.ModelInferRequest {
		raw := make([]byte, 0, 4*n)
		for j := range uint32(n) {
			raw = binary.LittleEndian.AppendUint32(raw, i*n+j)
		}
		return &pb.ModelInferRequest{ModelName: name, RawInputContents: [][]byte{raw},
			Inputs: []*pb.ModelInferRequest_InferInputTensor{input("INPUT0", datatype, nil, 1, n)}}
	}
	var clients sync.WaitGroup
	for i := range uint32(8) {
		clients.Go(func() {
			for _, r := range []*pb.ModelInferRequest{ask(i, "identity_int32", "INT32"), ask(i, "identity_uint32", "UINT32")} {
				for _, option := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
					got, err := c.ModelInfer(t.Context(), r, option...)
					if err != nil || !bytes.Equal(got.RawOutputContents[0], r.RawInputContents[0]) {
						t.Errorf("%s: %v, or other bytes", r.ModelName, err)
					}
				}
				if err := streamBack(t.Context(), c, r); err != nil {
					t.Errorf("%s: %v", r.ModelName, err)
				}
			}
		})
	}
	clients.Wait()
	if pieces.pieces.Load() < 8*2*4*n/(16<<10) {
		t.Errorf("only %d pieces", pieces.pieces.Load())
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are held when all is done", used)
	}
}

var errOther = errors.New("other bytes came back")

// streamBack sends a request three times on a stream before it reads an answer.
func streamBack(ctx context.Context, c pb.GRPCInferenceServiceClient, r *pb.ModelInferRequest) error {
	stream, err := c.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	for range 3 {
		got, err := stream.Recv()
		if err != nil {
			return err
		}
		if got.ErrorMessage != "" || !bytes.Equal(got.InferResponse.RawOutputContents[0], r.RawInputContents[0]) {
			return errors.Join(errOther, errors.New(got.ErrorMessage))
		}
	}
	return stream.CloseSend()
}

// A model that reads no pieces needs a copy, and the budget pays for that too.
func TestMemoryOfCopies(t *testing.T) {
	s, conn, _ := piecesServer(t, Options{MaxMessage: 1 << 20, Memory: 4 << 20})
	c := pb.NewGRPCInferenceServiceClient(conn)
	raw := make([]byte, 100_000) // 7 frames of 16 KiB; a copy of 128 KiB
	ask := func(name, datatype string) error {
		_, err := c.ModelInfer(t.Context(), &pb.ModelInferRequest{ModelName: name, RawInputContents: [][]byte{raw},
			Inputs: []*pb.ModelInferRequest_InferInputTensor{input("INPUT0", datatype, nil, 1, int64(len(raw)/4))}})
		return err
	}
	room := int64(160 << 10)
	if err := s.memory.take(s.memory.limit - room); err != nil {
		t.Fatal(err)
	}
	if err := ask("identity_int32", "INT32"); err != nil {
		t.Errorf("pieces: %v", err)
	}
	if err := ask("identity_uint32", "UINT32"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a copy: %v, want ResourceExhausted", err)
	}
	s.memory.give(s.memory.limit - room)
	if err := ask("identity_uint32", "UINT32"); err != nil {
		t.Error(err)
	}
}

// Copies of a call share buffers, and overlap nowhere.
func TestAllocate(t *testing.T) {
	c := newCall(newBudget(1<<20, 1<<10))
	var all [][]byte
	for i, n := range []int{1, 100, 4000, 5000, 0, 90, 8192} {
		b, err := c.Allocate(n)
		if err != nil || len(b) != n || cap(b) != n {
			t.Fatalf("%d of %d bytes, %v", len(b), n, err)
		}
		for j := range b {
			b[j] = byte(i)
		}
		all = append(all, b)
	}
	for i, b := range all {
		if slices.ContainsFunc(b, func(x byte) bool { return x != byte(i) }) {
			t.Errorf("copy %d was overwritten", i)
		}
	}
	if _, err := c.Allocate(2 << 20); err == nil {
		t.Error("more than the budget was allocated")
	}
	if used := c.memory.used.Load(); used != c.taken || used == 0 {
		t.Errorf("the budget lent %d bytes, the call knows of %d", used, c.taken)
	}
	memory := c.memory
	c.release()
	equal(t, "bytes held after the release", memory.used.Load(), int64(0))
}
