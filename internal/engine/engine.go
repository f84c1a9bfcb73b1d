// Package engine is the contract between the server and whatever computes embeddings. It is cut at
// the batch, never at the operator: rows of pixels in, rows of floats out.
package engine

import (
	"context"
	"time"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Engine computes one model on one device. All methods are safe for concurrent use; at most
// Spec().InFlight calls of Run overlap, and the caller keeps to it.
//
// Memory: the engine owns every row's memory; a request owns a row from NewRow until its batch is
// answered and then releases it; the caller owns out. After Run returns (with success, with an error
// or by a panic that the caller recovered) the engine keeps no reference to rows or out.
//
// Engines never normalise an embedding: the service does.
type Engine interface {
	// Spec describes the engine; it is constant for the engine's life.
	Spec() Spec
	// NewRow returns input memory for one item in one of Spec().Formats. Its content is undefined.
	// It fails with fault.Exhausted where device or pinned memory has run out.
	NewRow(tensor.Format) (tensor.Row, error)
	// Run computes rows, all of one format, and fills out[i] with row i's outputs, one after the
	// other in the order of Spec().Outputs: len(out) == len(rows), len(out[i]) == Spec().Dim().
	// On success every out[i] is filled. On error the content of out is undefined and every row of
	// the batch has failed; the engine stays usable unless the error is fault.Unavailable, and then
	// too where it implements Devices. A context that ends may stop the run early with its error. len(rows) is between 1 and Spec().MaxBatch;
	// where Spec().Batches is not empty the engine itself pads to the next planned size. Rows of another
	// engine are read where they lie, or copied first.
	Run(ctx context.Context, rows []tensor.Row, out [][]float32) (Timings, error)
	// Close waits for runs under way and frees all memory; rows not yet released become invalid.
	// A second Close does nothing.
	Close() error
}

// Timings are the stages of one Run that statistics report.
type Timings struct {
	Input   time.Duration // gathering and copying the rows to where they are computed
	Compute time.Duration // the forward pass
	Output  time.Duration // copying embeddings back
}

// Modality is what an item is.
type Modality string

// ModalityImage is the only modality so far.
const ModalityImage Modality = "image"

// Precision is a numeric class with one accuracy contract against float32 on the same weights
// (docs/architecture.md, Numerics): fp32 cosine >= 0.99999, bf16 and fp16 >= 0.9999, fp8 >= 0.999 on photographs.
type Precision string

const (
	FP32 Precision = "fp32"
	BF16 Precision = "bf16"
	FP16 Precision = "fp16"
	FP8  Precision = "fp8" // E4M3 where a calibration says so, fp16 elsewhere
)

// Output is one output of a model.
type Output struct {
	Name string
	Dim  int
}

// Memory is what an engine needs, in bytes.
type Memory struct {
	HostFixed, HostPerItem     int64
	DeviceFixed, DevicePerItem int64
}

// Spec describes an engine.
type Spec struct {
	Name      string // "cpu", "null"
	Variant   string // which kernels run, e.g. "avx512_bf16"; free text for people
	Device    string // "cpu", "cuda:0"
	Precision Precision
	Modality  Modality
	Height    int             // input height in pixels
	Width     int             // input width in pixels
	Formats   []tensor.Format // accepted, cheapest first
	Outputs   []Output
	MaxBatch  int   // the largest batch; what the engine prefers where its maker named none
	Batches   []int // planned sizes, ascending; empty means any size up to MaxBatch
	InFlight  int   // how many Runs may overlap, at least 1
	Memory    Memory
}

// Dim is the number of floats of one row's outputs together.
func (s Spec) Dim() int {
	n := 0
	for _, o := range s.Outputs {
		n += o.Dim
	}
	return n
}

// Accepts tells whether f is one of s.Formats.
func (s Spec) Accepts(f tensor.Format) bool {
	for _, g := range s.Formats {
		if f == g {
			return true
		}
	}
	return false
}
