package torch

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// control is the program that a worker runs, and tower what its first order has it load.
//
//go:embed worker/control.py
var control string

//go:embed worker/tower.py
var tower string

// loadOrder is the first line that a worker gets.
type loadOrder struct {
	Source       string `json:"source"`
	Config       shape  `json:"config"`
	Device       string `json:"device"`
	Precision    string `json:"precision"`
	CPUPrecision string `json:"cpu_precision"` // what auto is on the processor
	Compile      bool   `json:"compile"`
	Threads      int    `json:"threads"`
	MaxBatch     int    `json:"max_batch"`
	Batches      []int  `json:"batches"` // planned sizes; empty is any
	OutputOffset int    `json:"output_offset"`
}

// shape is the part of a model's configuration that its tensors do not tell.
type shape struct {
	ImageSize int        `json:"image_size"`
	PatchSize int        `json:"patch_size"`
	Layers    int        `json:"layers"`
	Heads     int        `json:"heads"`
	EmbedDim  int        `json:"embed_dim"`
	QuickGELU bool       `json:"quick_gelu"`
	Epsilon   float32    `json:"epsilon"`
	Mean      [3]float32 `json:"mean"`
	Std       [3]float32 `json:"std"`
}

func shapeOf(c model.Config) shape {
	return shape{ImageSize: c.ImageSize, PatchSize: c.PatchSize, Layers: c.Layers, Heads: c.Heads, EmbedDim: c.EmbedDim,
		QuickGELU: c.Activation == model.QuickGELU, Epsilon: c.Epsilon, Mean: c.Mean, Std: c.Std}
}

// runOrder has the rows that lie in the shared memory computed.
type runOrder struct {
	Rows    int    `json:"rows"`
	Format  string `json:"format"`
	Profile bool   `json:"profile,omitempty"`
}

// formatNames are rows' formats as the worker calls them.
var formatNames = map[tensor.Format]string{tensor.FormatUint8HWC: "uint8", tensor.FormatFloat32CHW: "float32"}

// answer is a worker's line: to the load order what it is, to a run order how long it took.
type answer struct {
	OK    bool   `json:"ok"`
	Kind  string `json:"kind"` // of failure
	Error string `json:"error"`

	Device      string `json:"device"`
	Precision   string `json:"precision"`
	Variant     string `json:"variant"`
	HostBytes   int64  `json:"host_bytes"`
	DeviceBytes int64  `json:"device_bytes"`

	Input   time.Duration `json:"input_ns"`
	Compute time.Duration `json:"compute_ns"`
	Output  time.Duration `json:"output_ns"`

	Operators []operator `json:"operators"` // of a run that was profiled
}

// operator is one of PyTorch's.
type operator struct {
	Name  string        `json:"name"`
	Calls int64         `json:"calls"`
	Total time.Duration `json:"total_ns"`
}

// Kinds of failure.
const (
	noTorch    = "no_torch"  // Python has no torch
	exhausted  = "exhausted" // the device's memory
	lostDevice = "lost"      // the worker's device is gone for it; the worker ends
)

// maxLine bounds an answer, whose only text of any length is an error.
const maxLine = 1 << 20

func parseAnswer(line []byte) (a answer, err error) {
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("the PyTorch worker's answer is no JSON: %w", err)
	}
	return a, nil
}

// fault is the failure of a batch that a worker survived.
func (a answer) fault() error {
	if a.Kind == exhausted {
		return fault.New(fault.Exhausted, "the PyTorch worker has no memory for the batch: %s", a.Error)
	}
	return fault.New(fault.Internal, "the PyTorch worker could not compute the batch: %s", a.Error)
}
