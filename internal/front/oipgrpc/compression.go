package oipgrpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
)

// Compression is how much answers to inference are compressed, in Triton's words.
type Compression string

// The levels. As in the gRPC library that Triton uses they choose among what the client accepts, in the
// order gzip, deflate: low the first, medium and high the last.
const (
	CompressionNone   Compression = "none"
	CompressionLow    Compression = "low"
	CompressionMedium Compression = "medium"
	CompressionHigh   Compression = "high"
)

// choose is the compressor of an answer to a client that accepts some.
func (c Compression) choose(accepted []string) string {
	if c == "" || c == CompressionNone {
		return encoding.Identity
	}
	var offers []string
	for _, name := range [...]string{gzip.Name, "deflate"} {
		if slices.Contains(accepted, name) {
			offers = append(offers, name)
		}
	}
	switch {
	case len(offers) == 0:
		return encoding.Identity
	case c == CompressionLow:
		return offers[0]
	}
	return offers[len(offers)-1]
}

// compress sets the compressor of a call's answers. Without it the answer would be compressed as the
// request was.
func (s *Server) compress(ctx context.Context) error {
	var accepted []string
	if s.o.Compression != "" && s.o.Compression != CompressionNone {
		var err error
		if accepted, err = grpc.ClientSupportedCompressors(ctx); err != nil {
			return err
		}
	}
	return grpc.SetSendCompressor(ctx, s.o.Compression.choose(accepted))
}
