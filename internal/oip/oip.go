// Package oip is the Open Inference Protocol without a transport: models by name and version, requests
// and answers as tensors, the checks and words of Triton's server, statistics, settings and shared
// memory. HTTP (internal/front/oiphttp) and gRPC (internal/front/oipgrpc) only carry it.
package oip

import (
	"context"
	"time"

	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TensorSpec is an input or output that a model declares.
type TensorSpec struct {
	Name  string
	DType tensor.DType
	// Shape holds -1 for each dimension that varies. It starts with the batch dimension (-1) where the
	// model's MaxBatchSize is not 0.
	Shape    []int64
	Optional bool     // an input that a request may leave out
	Labels   []string // an output's class names, by index; may be empty
}

// Params are a request's, a tensor's or a response's parameters: bool, int64, uint64, float64 or string.
type Params map[string]any

// Memory is a part of a registered shared memory region.
type Memory struct {
	Region       string
	Offset, Size uint64 // bytes
}

// Input is a tensor that a request brings.
type Input struct {
	Name  string
	DType tensor.DType
	Shape []int64
	// Data is row-major and little-endian; a BYTES element is its length in four bytes and then itself.
	// It is read until Infer returns, and never written.
	Data   []byte
	Pieces tensor.Pieces // instead of Data where the bytes came in several; only a PieceReader sees them
	Memory *Memory       // where Data is instead; Server.Infer fills Data from it
	Params Params
}

// RequestedOutput is an output that a request asks for.
type RequestedOutput struct {
	Name           string
	Classification int // answer with the top so many classes instead of the tensor; 0 is the tensor
	Binary         bool
	Memory         *Memory // where the answer is to be written; nil sends it
	Params         Params
}

// Sequence is a request's place in a sequence; ID 0 and an empty Name are no sequence.
type Sequence struct {
	ID         uint64
	Name       string // instead of ID
	Start, End bool
}

// Request is one inference.
type Request struct {
	Model, Version, ID string
	Inputs             []Input
	Outputs            []RequestedOutput // empty asks for all
	Params             Params            // the client's own; those below are not among them
	Priority           uint64
	Timeout            time.Duration // longest time in the queue, 0 for the model's default
	Sequence           Sequence
	Allocator          Allocator // of copies of the inputs; nil is the heap
	// Raw is a request that is one input's bytes and nothing else (Inference-Header-Content-Length: 0).
	Raw bool
	// Trial is a request of the server's own (warm-up): it is in no statistics.
	Trial bool
}

// Output is a tensor of an answer.
type Output struct {
	Name  string
	DType tensor.DType
	Shape []int64
	// Data is laid out as Input.Data. It may be an input's own bytes, and so lives as long as those.
	// Where Memory is set the bytes are there, and Data is nil.
	Data   []byte
	Memory *Memory
	Params Params
}

// Response answers a Request. Version is the one that answered.
type Response struct {
	Model, Version, ID string
	Outputs            []Output
	Params             Params
	Timeline           telemetry.Timeline
}

// Metadata is what a model says of itself.
type Metadata struct {
	Name            string
	Version         string
	Platform        string
	Inputs, Outputs []TensorSpec
}

// Model is one version of a model. All methods are safe for concurrent use.
type Model interface {
	// Metadata and Config are constant for the model's life; callers do not change them.
	Metadata() *Metadata
	Config() *Config
	Ready() bool
	// Infer answers a request that Server.Infer has checked against Metadata: inputs are known, of the
	// declared type and shape, their bytes are there and as many as the shape needs, and the batch is no
	// larger than Config().MaxBatchSize. It may answer more outputs than were asked for. Errors are
	// *fault.Error in Triton's words.
	Infer(ctx context.Context, r *Request) (*Response, error)
	Statistics() Statistics
}

// Closer is a model that holds something; it is closed once unloaded and after its last request.
type Closer interface{ Close() error }

// ServerName and Extensions are what server metadata answers, in Triton's order.
const (
	ServerName    = "triton"
	ServerVersion = "2.51.0" // the Triton whose answers these are
)

// Extensions of the protocol that the server speaks.
var Extensions = []string{
	"classification", "sequence", "model_repository", "model_repository(unload_dependents)", "schedule_policy",
	"model_configuration", "system_shared_memory", "cuda_shared_memory", "binary_tensor_data", "parameters",
	"statistics", "trace", "logging",
}
