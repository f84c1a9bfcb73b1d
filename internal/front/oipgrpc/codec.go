package oipgrpc

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec decodes a *call and passes an encoded answer on; every other message is the generated codec's.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// encoded is an answer on the wire, in a buffer of the pool that the transport gives back.
type encoded struct{ buf *[]byte }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if request, ok := v.(*call); ok {
		return request.unmarshal(data)
	}
	return c.CodecV2.Unmarshal(data, v)
}

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if answer, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.NewBuffer(answer.buf, &buffers)}, nil
	}
	return c.CodecV2.Marshal(v)
}
