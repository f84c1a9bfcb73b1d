package onnxruntime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
)

// source is what sessions are made of: a file, the tensors that matter, and what identifies the model.
type source struct {
	path          string
	input, output string
	half          [2]bool // float16 input, output
	channelsLast  bool
	side, dim     int
	weightsHash   string
}

// shape is the input's shape for a batch.
func (s *source) shape(batch int) []int64 {
	n, side := int64(batch), int64(s.side)
	if s.channelsLast {
		return []int64{n, side, side, 3}
	}
	return []int64{n, 3, side, side}
}

// settings are the provider's options for a session that runs batches of the sizes given, ascending. What
// the user set wins.
func (o *Options) settings(s *source, release string, sizes []int) map[string]string {
	var set map[string]string
	switch o.Provider {
	case CUDA:
		set = o.cudaSettings()
	case TensorRT:
		set = o.tensorRTSettings(s, sizes)
	case OpenVINO:
		set = o.openVINOSettings()
	default:
		set = map[string]string{}
	}
	maps.Copy(set, o.Settings)
	if _, given := set[enginePrefix]; o.Provider == TensorRT && !given {
		set[enginePrefix] = cachePrefix(s, release, set)
	}
	return set
}

// cudaSettings: memory is not taken in advance in doubling steps, and float32 is computed as float32
// where that is the precision; use_tf32=1 is faster and less exact.
func (o *Options) cudaSettings() map[string]string {
	return map[string]string{
		"device_id":             strconv.Itoa(o.Device),
		"arena_extend_strategy": "kSameAsRequested",
		"use_tf32":              flag(o.Precision != engine.FP32),
		"enable_cuda_graph":     flag(o.CUDAGraph),
	}
}

// restSettings are of the CUDA provider beside TensorRT.
func (o *Options) restSettings() map[string]string {
	rest := Options{Provider: CUDA, Device: o.Device, Precision: o.Precision}
	return rest.cudaSettings()
}

// The option by which TensorRT's cached engines are told apart.
const enginePrefix = "trt_engine_cache_prefix"

// tensorRTSettings: one optimisation profile from the smallest to the largest size, so that no Run builds
// an engine; engines and the timings that they were chosen by are kept on disk.
func (o *Options) tensorRTSettings(s *source, sizes []int) map[string]string {
	profile := func(batch int) string {
		dims := make([]string, 0, 4)
		for _, n := range s.shape(batch) {
			dims = append(dims, strconv.FormatInt(n, 10))
		}
		return s.input + ":" + strings.Join(dims, "x")
	}
	folder := filepath.Join(o.Cache, "tensorrt")
	set := map[string]string{
		"device_id":               strconv.Itoa(o.Device),
		"trt_fp16_enable":         flag(o.Precision == engine.FP16),
		"trt_bf16_enable":         flag(o.Precision == engine.BF16),
		"trt_cuda_graph_enable":   flag(o.CUDAGraph),
		"trt_engine_cache_enable": "1",
		"trt_engine_cache_path":   folder,
		"trt_timing_cache_enable": "1",
		"trt_timing_cache_path":   folder,
		"trt_profile_min_shapes":  profile(sizes[0]),
		"trt_profile_opt_shapes":  profile(sizes[len(sizes)-1]),
		"trt_profile_max_shapes":  profile(sizes[len(sizes)-1]),
	}
	if o.Precision == engine.FP16 {
		set["trt_layer_norm_fp32_fallback"] = "1" // squared deviations leave float16's range
	}
	return set
}

// cachePrefix tells variants of one model apart, which TensorRT's provider does not by itself (issue 32254
// of ONNX Runtime): model, library and all settings.
func cachePrefix(s *source, release string, set map[string]string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", s.weightsHash, release)
	for _, k := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(h, "%s=%s\n", k, set[k])
	}
	return "vitrine_" + hex.EncodeToString(h.Sum(nil)[:6])
}

// openVINOSettings: OpenVINO computes in bfloat16 on its own accord where the processor can, so the
// precision is always said. As a plug-in it refuses options of its own that load_config has too.
func (o *Options) openVINOSettings() map[string]string {
	hint := map[engine.Precision]string{engine.FP32: "f32", engine.BF16: "bf16", engine.FP16: "f16"}[o.Precision]
	if o.Plugin != "" {
		return map[string]string{"load_config": fmt.Sprintf(`{"CPU":{"INFERENCE_PRECISION_HINT":"%s","INFERENCE_NUM_THREADS":"%d"}}`, hint, o.Threads)}
	}
	return map[string]string{
		"device_type":    "CPU",
		"num_of_threads": strconv.Itoa(o.Threads),
		"load_config":    fmt.Sprintf(`{"CPU":{"INFERENCE_PRECISION_HINT":"%s"}}`, hint),
	}
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// traces counts the traces of the process.
var traces atomic.Int64

// newSession loads the model for batches of the sizes given. A trace's prefix may be empty.
func (r *library) newSession(o *Options, s *source, sizes []int, trace string) (session capi.Session, err error) {
	o.Provider.onOwner(func() { session, err = r.load(o, s, sizes, trace) })
	return session, err
}

func (r *library) load(o *Options, s *source, sizes []int, trace string) (_ capi.Session, err error) {
	options, err := r.api.NewSessionOptions()
	if err != nil {
		return 0, err
	}
	defer r.api.ReleaseSessionOptions(options)
	if o.Shared {
		err = r.api.ShareThreads(options)
	} else {
		err = errors.Join(r.api.SetThreads(options, o.Threads), r.api.SetSessionEntry(options, "session.intra_op.allow_spinning", flag(!o.NoSpin)))
	}
	if trace != "" { // the library adds the second to the name, which two sessions may share
		err = errors.Join(err, r.api.EnableProfiling(options, trace+strconv.FormatInt(traces.Add(1), 10)))
	}
	if err = errors.Join(err, r.append(o, options, o.settings(s, r.api.Release, sizes))); err != nil {
		return 0, err
	}
	return r.api.NewSession(r.env, s.path, options)
}

// append adds the provider to a session's options. TensorRT leaves to CUDA what it does not know.
func (r *library) append(o *Options, to capi.SessionOptions, set map[string]string) error {
	switch {
	case o.Plugin != "":
		return r.api.AppendPlugin(to, r.env, r.device, set)
	case o.Provider == CUDA:
		return r.api.AppendCUDA(to, set)
	case o.Provider == OpenVINO:
		return r.api.AppendOpenVINO(to, set)
	case o.Provider == TensorRT:
		if err := r.api.AppendTensorRT(to, set); err != nil {
			return err
		}
		return r.api.AppendCUDA(to, o.restSettings())
	}
	return r.cpuSettings(to, set)
}

// cpuSettings are entries of the session: the processor's provider has no options of its own.
func (r *library) cpuSettings(to capi.SessionOptions, set map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if err := r.api.SetSessionEntry(to, k, set[k]); err != nil {
			return err
		}
	}
	return nil
}

// library is ONNX Runtime with the process's environment.
type library struct {
	api    *capi.API
	env    capi.Env
	device capi.Device // of a provider's own library, else 0
}

// openLibrary loads the library and holds the provider against what it was built with.
func openLibrary(o *Options) (*library, error) {
	api, err := Load(o.Library, o.Provider)
	if err != nil {
		return nil, err
	}
	env, err := api.Env(capi.EnvOptions{SharedThreads: o.Shared, Threads: o.Threads, Spinning: !o.NoSpin})
	if err != nil {
		return nil, err
	}
	r := &library{api: api, env: env}
	if o.Plugin != "" {
		return r, r.register(o)
	}
	if o.Plugin, err = provide(api, o.Provider); err != nil {
		return nil, err
	}
	if o.Plugin != "" {
		return r, r.register(o)
	}
	if o.Provider.onDevice() {
		o.Logger.Debug("libraries for the device's providers", "loaded", preload(api))
	}
	return r, nil
}
