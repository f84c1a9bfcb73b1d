package oipgrpc

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// imageTensor is a request of one preprocessed image, 602,112 bytes, of a model that answers zeros.
func imageTensor() *pb.ModelInferRequest {
	return &pb.ModelInferRequest{ModelName: "zeros", RawInputContents: [][]byte{make([]byte, 3*224*224*4)},
		Inputs: []*pb.ModelInferRequest_InferInputTensor{input("INPUT0", "FP32", nil, 1, 3, 224, 224)}}
}

// frames cuts a message as the transport delivers it.
func frames(b []byte) (s mem.BufferSlice) {
	for len(b) > 0 {
		n := min(len(b), 16<<10)
		s, b = append(s, mem.SliceBuffer(b[:n])), b[n:]
	}
	return s
}

func BenchmarkDecode602KB(b *testing.B) {
	message, err := proto.Marshal(imageTensor())
	if err != nil {
		b.Fatal(err)
	}
	data := frames(message)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(message)))
		for b.Loop() {
			c := newCall(newBudget(1<<30, 64<<20))
			if err := c.unmarshal(data); err != nil || c.refused != nil {
				b.Fatal(err, c.refused)
			}
			if _, err := c.build(); err != nil {
				b.Fatal(err)
			}
			c.release()
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(message)))
		for b.Loop() {
			if err := newCodec().CodecV2.Unmarshal(data, &pb.ModelInferRequest{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkInfer602KB is client and server together over a connection in memory.
func BenchmarkInfer602KB(b *testing.B) {
	c, r := client(b), imageTensor()
	b.ReportAllocs()
	b.SetBytes(602112)
	for b.Loop() {
		if _, err := c.ModelInfer(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
