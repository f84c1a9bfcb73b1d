// Package onnxruntime is an engine around ONNX Runtime, which is loaded at run time: any ONNX graph with
// one image input and one embedding output, on the processor, through OpenVINO, CUDA or TensorRT. A model
// of safetensors is exported to a cached ONNX file first. docs/onnxruntime.md is its users' page.
package onnxruntime

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/onnx"
)

// Provider is an execution provider: what ONNX Runtime computes with.
type Provider string

// The providers.
const (
	CPU      Provider = "cpu"
	OpenVINO Provider = "openvino"
	CUDA     Provider = "cuda"
	TensorRT Provider = "tensorrt"
)

// Providers are all of them.
func Providers() []Provider { return []Provider{CPU, OpenVINO, CUDA, TensorRT} }

// onDevice tells whether the provider computes on a CUDA device.
func (p Provider) onDevice() bool { return p == CUDA || p == TensorRT }

// fullNames are ONNX Runtime's names of the providers, and the Python packages whose library has them.
var fullNames = map[Provider]struct{ name, pack string }{
	CPU:      {"CPUExecutionProvider", "onnxruntime"},
	OpenVINO: {"OpenVINOExecutionProvider", "onnxruntime-openvino"},
	CUDA:     {"CUDAExecutionProvider", "onnxruntime-gpu"},
	TensorRT: {"TensorrtExecutionProvider", "onnxruntime-gpu tensorrt"},
}

// Auto takes the precision that the model's file has.
const Auto engine.Precision = "auto"

// Options configure an engine. Zero values are usable.
type Options struct {
	Library  string   // of ONNX Runtime; "" searches (docs/onnxruntime.md lists where)
	Plugin   string   // a provider's own library, to be registered; "" if ONNX Runtime's own has it
	Provider Provider // "" is CPU

	// Precision is Auto (also ""), engine.FP32, engine.FP16 or engine.BF16. A file in float16 is FP16. A
	// file in float32 can be computed in less by OpenVINO (BF16) and TensorRT (FP16, BF16).
	Precision engine.Precision

	Threads   int  // that compute one batch; 0 is one a processor
	Shared    bool // the threads are those of all models of the process that have Shared
	NoSpin    bool // threads sleep at once when there is nothing to do
	Instances int  // Runs that may overlap; 0 is 1. On a device each has weights of its own
	MaxBatch  int  // 0 is 32

	Device    int   // number of the CUDA device
	CUDAGraph bool  // replay each batch size as one graph
	Batches   []int // sizes that a device is prepared for; nil is 1, 2, 4, ... and MaxBatch

	Settings map[string]string // the provider's own options, over those that are set here
	Cache    string            // folder of exported models and built engines; "" is the user's cache folder
	Logger   *slog.Logger      // nil means slog.Default
}

// resolve fills in defaults and refuses what cannot be.
func (o Options) resolve(m *model.Model) (Options, error) {
	o.Provider = cmp.Or(o.Provider, CPU)
	if _, ok := fullNames[o.Provider]; !ok {
		return o, fmt.Errorf("no execution provider %q: want one of %v", o.Provider, Providers())
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Instances, o.MaxBatch = cmp.Or(o.Instances, 1), cmp.Or(o.MaxBatch, 32)
	o.Threads = cmp.Or(o.Threads, runtime.GOMAXPROCS(0))
	if o.CUDAGraph && !o.Provider.onDevice() {
		return o, fmt.Errorf("CUDA graphs are of providers cuda and tensorrt, not %s", o.Provider)
	}
	if m.ONNX != nil && m.ONNX.Batch > 0 {
		o.MaxBatch = m.ONNX.Batch
		o.Batches = []int{o.MaxBatch}
	}
	o.planBatches()
	if o.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("no folder for exported models: %w", err)
		}
		o.Cache = filepath.Join(dir, "vitrine")
	}
	return o, o.resolvePrecision(m)
}

// planBatches are the sizes that run: on a processor any, on a device the planned ones.
func (o *Options) planBatches() {
	if o.Provider.onDevice() && len(o.Batches) == 0 {
		for n := 1; n < o.MaxBatch; n *= 2 {
			o.Batches = append(o.Batches, n)
		}
	}
	if len(o.Batches) > 0 {
		o.Batches = slices.DeleteFunc(slices.Clone(o.Batches), func(n int) bool { return n < 1 || n >= o.MaxBatch })
		o.Batches = append(o.Batches, o.MaxBatch)
		slices.Sort(o.Batches)
		o.Batches = slices.Compact(o.Batches)
	}
}

// stored is the precision that a model's file has, or would be exported with where the class is free.
func stored(m *model.Model) engine.Precision {
	if m.ONNX == nil {
		return engine.FP32
	}
	types := m.ONNX.Info.ByType
	if types[onnx.Float16] > types[onnx.Float] {
		return engine.FP16
	}
	if types[onnx.BFloat16] > types[onnx.Float] {
		return engine.BF16
	}
	return engine.FP32
}

// reduced are the precisions that a provider computes a float32 graph in.
var reduced = map[Provider][]engine.Precision{OpenVINO: {engine.BF16}, TensorRT: {engine.FP16, engine.BF16}}

func (o *Options) resolvePrecision(m *model.Model) error {
	has := stored(m)
	if o.Precision == Auto || o.Precision == "" {
		o.Precision = has
	}
	switch {
	case o.Precision == has:
		return nil
	case has == engine.FP32 && slices.Contains(reduced[o.Provider], o.Precision):
		return nil
	case m.ONNX == nil && o.Precision == engine.FP16:
		return nil // exported so
	case m.ONNX != nil:
		return fmt.Errorf("provider %s computes a file in %s as it is, not in %s", o.Provider, has, o.Precision)
	}
	return fmt.Errorf("provider %s has no precision %q: want auto, fp32, fp16%s", o.Provider, o.Precision, map[bool]string{true: ", bf16"}[len(reduced[o.Provider]) > 0])
}

// halfFile tells whether an exported file is to be in float16: where the provider cannot compute a float32
// graph in it.
func (o *Options) halfFile() bool {
	return o.Precision == engine.FP16 && !slices.Contains(reduced[o.Provider], engine.FP16)
}
