// Package target is what the laboratory measures: servers by protocol and format, and engines in
// process.
package target

import (
	"context"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Format names.
const (
	EmbedBase64  = "embed-base64"  // POST /embed/base64, base64 JPEG in JSON, as the FastAPI service takes it
	EmbedRaw     = "embed-raw"     // POST /embed, the JPEG as the body
	EmbedBatch   = "embed-batch"   // POST /embed/batch, multipart
	OpenAI       = "openai"        // POST /v1/embeddings, data URIs
	OIPJSON      = "oip-json"      // POST /v2/models/M/infer, FP32 as a JSON array
	OIPBinary    = "oip-binary"    // the same with the binary tensor extension
	OIPBinaryU8  = "oip-binary-u8" // raw UINT8 pixels
	OIPRaw       = "oip-raw"       // the JPEG as a raw request
	OIPGRPC      = "oip-grpc"      // ModelInfer, raw contents, FP32
	OIPGRPCImage = "oip-grpc-jpeg" // ModelInfer, BYTES
	InProcess    = "in-process"    // an engine without a server
)

// Image is one input in the shapes that formats need; Pixels is made from JPEG once, outside of what is
// timed.
type Image struct {
	Name   string
	JPEG   []byte    // encoded
	Pixels []byte    // RGB, Height x Width x 3, of the model's size
	Tensor []float32 // normalised, 3 x Height x Width, of the model's size
	Width  int
	Height int
}

// Request is a request made ready to be sent many times. Its content belongs to the target that made it.
type Request interface {
	// Images it holds.
	Images() int
	// Bytes that one sending writes, heads included; 0 where only the wire knows.
	Bytes() int
}

// Target makes requests and connections. It is safe for concurrent use.
type Target interface {
	// Prepare encodes images as one request: what is timed afterwards is sending alone.
	Prepare(images []Image) (Request, error)
	// Dial opens a connection for one worker.
	Dial(ctx context.Context) (Conn, error)
	// Describe asks the server what it is, as far as it tells.
	Describe(ctx context.Context) (record.Server, error)
	Close() error
}

// Conn is a connection, used by one goroutine at a time.
type Conn interface {
	// Do sends q and reads the whole answer. It fills Sent, Wrote, FirstByte, Done, Status, BytesOut,
	// BytesIn, Error and Server of r (times by clock) and leaves the rest. It reconnects by itself after a
	// failure. An error is one that makes further sending pointless; a failed request is no error.
	Do(ctx context.Context, q Request, clock func() int64, r *record.Request) error
	Close() error
}
