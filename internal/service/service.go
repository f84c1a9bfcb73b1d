// Package service turns a request's items into embeddings: the whole path of a request between a
// front and an engine. Every protocol enters here.
package service

import (
	"context"
	"time"

	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Model is what a front talks to. The image pipeline over an engine (Images) is one implementation.
type Model interface {
	// Metadata describes the model; it is constant for the model's life.
	Metadata() Metadata
	// Ready tells whether a real inference has succeeded and the model still accepts requests.
	Ready() bool
	// Infer answers a request. The response has one result an item, in order. Errors are *fault.Error.
	// Unless Request.Partial is set, one bad item fails the request with a fault that names its index.
	Infer(ctx context.Context, r *Request) (*Response, error)
}

// Kind is what an item's Data holds.
type Kind uint8

const (
	// Encoded is an encoded image: JPEG, PNG, WebP or GIF.
	Encoded Kind = iota
	// Pixels is raw RGB, [Height, Width, 3] uint8, preprocessed by the server.
	Pixels
	// Tensor is a preprocessed image, [3, size, size] float32 little-endian.
	Tensor
	// Text is a string; no model accepts it yet.
	Text
)

// Item is one thing to embed. Its bytes are read until Infer returns and never written.
type Item struct {
	Kind          Kind
	Data          []byte
	Pieces        tensor.Pieces // a Tensor's bytes where they lie in several places; Data is nil then
	Width, Height int           // Pixels only
}

// tensor is a Tensor's bytes, wherever they lie.
func (it *Item) tensor() tensor.Pieces {
	if it.Data == nil {
		return it.Pieces
	}
	return tensor.Whole(it.Data)
}

// Request is what a front asks. A front makes one for each request of a client.
type Request struct {
	ID        string
	Items     []Item
	Field     string        // what the protocol calls the items ("images", "files"), for faults
	Priority  uint32        // 0 is the model's default; 1 is the highest level
	Timeout   time.Duration // longest time in the queue, 0 for the model's default
	Normalize bool          // scale each embedding to L2 norm 1
	Partial   bool          // a bad item fails alone
	Whole     bool          // run as one execution or refuse (Open Inference Protocol)
	Received  time.Time     // when the front began to read the request
	Trial     bool          // the server's own request (warm-up), which no metric counts
}

// Result answers one item: an embedding or an error.
type Result struct {
	Embedding []float32
	Err       error // *fault.Error with Item set; only where Request.Partial
}

// Response answers a request.
type Response struct {
	Results  []Result
	Timeline telemetry.Timeline // the request's parts folded into one
}

// Metadata describes a model to clients and operators.
type Metadata struct {
	Name        string // the name that protocols use: "openclip_vit_b32"
	Version     string
	ModelName   string // open_clip's name: "ViT-B-32"
	Pretrained  string // open_clip's tag: "openai"
	Synthetic   bool   // the weights are synthetic: the embeddings mean nothing
	Source      string // where the weights came from, as the user wrote it
	Space       string // space id: embeddings are comparable if it is equal
	WeightsHash string
	Plan        string // preprocessing, in words
	PlanHash    string
	Engine      string
	Choice      string // how the engine was chosen, where it was not named: in words
	Variant     string
	Device      string
	Precision   string
	Dim         int // floats an embedding
	ImageSize   int // pixels
	MaxBatch    int
	Instances   int
	Parameters  int64
}
