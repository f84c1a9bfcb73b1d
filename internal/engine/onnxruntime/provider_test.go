package onnxruntime

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/onnx"
)

var clip = &source{input: "image", output: "embedding", side: 224, dim: 512, weightsHash: "sha256:1"}

func resolved(t *testing.T, o Options) *Options {
	t.Helper()
	o.Cache = "/cache"
	o, err := o.resolve(&model.Model{})
	if err != nil {
		t.Fatal(err)
	}
	return &o
}

func TestTensorRTSettings(t *testing.T) {
	o := resolved(t, Options{Provider: TensorRT, Precision: engine.FP16, MaxBatch: 24, Device: 1, Settings: map[string]string{"trt_builder_optimization_level": "5"}})
	if diff := cmp.Diff([]int{1, 2, 4, 8, 16, 24}, o.Batches); diff != "" {
		t.Error(diff)
	}
	got := o.settings(clip, "1.24.1", o.Batches)
	prefix := got[enginePrefix]
	delete(got, enginePrefix)
	want := map[string]string{
		"device_id": "1", "trt_fp16_enable": "1", "trt_bf16_enable": "0", "trt_cuda_graph_enable": "0",
		"trt_engine_cache_enable": "1", "trt_engine_cache_path": "/cache/tensorrt", "trt_timing_cache_enable": "1", "trt_timing_cache_path": "/cache/tensorrt",
		"trt_profile_min_shapes": "image:1x3x224x224", "trt_profile_opt_shapes": "image:24x3x224x224", "trt_profile_max_shapes": "image:24x3x224x224",
		"trt_layer_norm_fp32_fallback": "1", "trt_builder_optimization_level": "5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Whatever changes what is built changes the name under which it is kept.
	seen := map[string]string{prefix: "this one"}
	for name, other := range map[string]string{
		"precision": resolved(t, Options{Provider: TensorRT, MaxBatch: 24, Device: 1, Settings: o.Settings}).settings(clip, "1.24.1", o.Batches)[enginePrefix],
		"sizes":     o.settings(clip, "1.24.1", []int{8})[enginePrefix],
		"release":   o.settings(clip, "1.25.0", o.Batches)[enginePrefix],
		"weights":   o.settings(&source{input: "image", side: 224, weightsHash: "sha256:2"}, "1.24.1", o.Batches)[enginePrefix],
		"level":     resolved(t, Options{Provider: TensorRT, Precision: engine.FP16, MaxBatch: 24, Device: 1}).settings(clip, "1.24.1", o.Batches)[enginePrefix],
	} {
		if before, twice := seen[other]; twice || other == "" {
			t.Errorf("another %s has the prefix %q of %s", name, other, before)
		}
		seen[other] = name
	}
	if again := o.settings(clip, "1.24.1", o.Batches)[enginePrefix]; again != prefix {
		t.Errorf("the prefix changes from start to start: %q, %q", prefix, again)
	}
}

func TestCUDASettings(t *testing.T) {
	for p, want := range map[engine.Precision]string{engine.FP32: "0", engine.FP16: "1"} {
		o := resolved(t, Options{Provider: CUDA, Precision: p, CUDAGraph: true})
		got := o.settings(clip, "1.24.1", o.Batches)
		if got["use_tf32"] != want || got["enable_cuda_graph"] != "1" || got["device_id"] != "0" {
			t.Errorf("%s: %v", p, got)
		}
	}
	o := resolved(t, Options{Provider: CUDA, Settings: map[string]string{"use_tf32": "1"}})
	if got := o.settings(clip, "1.24.1", o.Batches)["use_tf32"]; got != "1" {
		t.Errorf("what the user sets does not win: %q", got)
	}
}

func TestOpenVINOSettings(t *testing.T) {
	for p, want := range map[engine.Precision]string{engine.FP32: `"f32"`, engine.BF16: `"bf16"`} {
		o := resolved(t, Options{Provider: OpenVINO, Precision: p, Threads: 3})
		got := o.settings(clip, "1.24.1", nil)
		if !strings.Contains(got["load_config"], want) || got["num_of_threads"] != "3" {
			t.Errorf("%s: %v", p, got)
		}
	}
}

func TestChannelsLastProfile(t *testing.T) {
	o := resolved(t, Options{Provider: TensorRT, MaxBatch: 2})
	got := o.settings(&source{input: "pixels", side: 64, channelsLast: true}, "1.24.1", o.Batches)
	if want := "pixels:2x64x64x3"; got["trt_profile_max_shapes"] != want {
		t.Errorf("%q, want %q", got["trt_profile_max_shapes"], want)
	}
}

func TestResolveRefuses(t *testing.T) {
	half := &model.Model{ONNX: &model.ONNXFile{Info: &onnx.Info{ByType: map[onnx.DType]int64{onnx.Float16: 100, onnx.Float: 4}}}}
	single := &model.Model{ONNX: &model.ONNXFile{Info: &onnx.Info{ByType: map[onnx.DType]int64{onnx.Float: 100}}}}
	for _, c := range []struct {
		name, want string
		m          *model.Model
		o          Options
	}{
		{"provider", "rocm", single, Options{Provider: "rocm"}},
		{"graph on a processor", "CUDA graphs", single, Options{CUDAGraph: true}},
		{"bf16 on a processor", "bf16", &model.Model{}, Options{Precision: engine.BF16}},
		{"a file in float32 as fp16", "in fp32 as it is", single, Options{Precision: engine.FP16}},
		{"a file in float16 as fp32", "in fp16 as it is", half, Options{Precision: engine.FP32}},
	} {
		if _, err := c.o.resolve(c.m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if o, err := (Options{}).resolve(half); err != nil || o.Precision != engine.FP16 {
		t.Errorf("a file in float16: %q, %v", o.Precision, err)
	}
	if o, err := (Options{MaxBatch: 32}).resolve(&model.Model{ONNX: &model.ONNXFile{Info: &onnx.Info{}, Batch: 4}}); err != nil || o.MaxBatch != 4 || !cmp.Equal(o.Batches, []int{4}) {
		t.Errorf("a graph of batches of 4: at most %d, planned %v, %v", o.MaxBatch, o.Batches, err)
	}
}

// TestSetup: what is told is what sessions are made with, one for each size where TensorRT captures graphs.
func TestSetup(t *testing.T) {
	o := resolved(t, Options{Provider: TensorRT, MaxBatch: 4, CUDAGraph: true, Precision: engine.FP16})
	e := &Engine{options: *o, source: clip, loaded: &library{api: &capi.API{Path: "/ort.so", Release: "1.24.1"}}}
	s := e.Setup()
	if s.Provider != "TensorrtExecutionProvider" || !s.Graphs || !s.Spinning || s.Release != "1.24.1" || s.Input != "image" || len(s.Sessions) != 3 {
		t.Fatalf("%+v", s)
	}
	for i, n := range []int{1, 2, 4} {
		p := s.Sessions[i]
		if !cmp.Equal(p.Batches, []int{n}) || p.Rest["use_tf32"] != "1" || p.Rest["enable_cuda_graph"] != "0" {
			t.Errorf("session %d: %+v", i, p)
		}
		if diff := cmp.Diff(o.settings(clip, "1.24.1", []int{n}), p.Settings); diff != "" {
			t.Error(diff)
		}
	}
	o = resolved(t, Options{Threads: 2, NoSpin: true, Settings: map[string]string{"session.x": "1"}})
	e.options = *o
	if s := e.Setup(); s.Spinning || s.Threads != 2 || len(s.Sessions) != 1 || len(s.Sessions[0].Batches) != 0 || s.Sessions[0].Settings["session.x"] != "1" {
		t.Errorf("%+v", s)
	}
}
