package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip/disk"
	"github.com/vitrine-project/vitrine/internal/oip/images"
)

const onnxEngine = "onnxruntime"

// onnxFlags are of the engine onnxruntime.
type onnxFlags struct {
	runtime, plugin, cache string
	settings               []string
	shared, spin, graph    bool

	accelerator *onnxruntime.Options // what a repository's model says of its accelerator; nil is nothing
	threads     int                  // likewise; 0 is nothing
}

func (o *onnxFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "ONNX Runtime (--engine onnxruntime; docs/onnxruntime.md)", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.runtime, "onnxruntime-library", "", "`FILE` of ONNX Runtime, 1.24 or later; else the loader's path and Python's package folders are searched")
		fs.StringVar(&o.plugin, "onnxruntime-plugin", "", "`FILE` of a provider's own library (OpenVINO as a plug-in)")
		fs.StringArrayVar(&o.settings, "onnxruntime-option", nil, "`KEY=VALUE` of the provider, by ONNX Runtime's own name of it; may be given again")
		fs.StringVar(&o.cache, "onnxruntime-cache", "", "`FOLDER` of exported models and of TensorRT's engines; default is vitrine in the user's cache folder")
		fs.BoolVar(&o.shared, "onnxruntime-shared-threads", false, "one pool of threads for all models of the server")
		fs.BoolVar(&o.spin, "onnxruntime-spinning", true, "idle threads wait actively for a while: faster answers for processor time")
		fs.BoolVar(&o.graph, "onnxruntime-cuda-graph", false, "replay each planned batch size as one CUDA graph (cuda, tensorrt)")
	})
}

// provider is what --engine onnxruntime:PROVIDER names.
func (e *engineFlags) provider() (p onnxruntime.Provider, ok bool) {
	name, provider, _ := strings.Cut(e.name, ":")
	return onnxruntime.Provider(cmp.Or(provider, string(onnxruntime.CPU))), name == onnxEngine
}

// checkONNX loads the library and asks for its providers; whether one works here shows when the engine is made.
func checkONNX(_ context.Context, f *engineFlags, p engine.Precision) (string, error) {
	provider, ok := f.provider()
	if !ok {
		provider = onnxruntime.CPU
	}
	if p == engine.BF16 && provider != onnxruntime.OpenVINO && provider != onnxruntime.TensorRT {
		return "", fmt.Errorf("bf16 takes a provider that has it: openvino or tensorrt")
	}
	api, err := onnxruntime.Load(f.onnx.runtime, provider)
	if err != nil {
		return "", err
	}
	if f.onnx.plugin == "" {
		if err := onnxruntime.Check(api, provider); err != nil {
			return "", err
		}
	}
	remark := "provider " + string(provider)
	if all := onnxruntime.Offers(api); len(all) > 1 {
		remark += "; --engine onnxruntime:PROVIDER has " + strings.Join(all, ", ")
	}
	return remark, nil
}

func (o *plantOptions) onnxOptions(d fleet.Device) onnxruntime.Options {
	f := &o.engine.onnx
	p, _ := o.engine.provider()
	all := onnxruntime.Options{
		Library: f.runtime, Plugin: f.plugin, Provider: p, Precision: engine.Precision(o.engine.precision),
		Threads: cmp.Or(f.threads, o.engine.threads), Shared: f.shared, NoSpin: !f.spin, Instances: d.Instances, MaxBatch: o.engine.maxBatch,
		CUDAGraph: f.graph, Settings: settings(f.settings), Cache: f.cache, Logger: o.log,
	}
	if a := f.accelerator; a != nil {
		all.Provider, all.Settings, all.Device, all.CUDAGraph = a.Provider, a.Settings, a.Device, a.CUDAGraph
		all.Precision = cmp.Or(a.Precision, all.Precision)
	}
	if d.GPU != fleet.CPU {
		all.Device = d.GPU
	}
	return all
}

// settings are KEY=VALUE pairs; a word without a value is switched on.
func settings(pairs []string) map[string]string {
	m := map[string]string{}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			v = "1"
		}
		m[k] = v
	}
	return m
}

// fileName is what a file's model is called: the file, or the folder that holds it as model.onnx.
func fileName(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if base != "model" {
		return base
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return base
	}
	return filepath.Base(filepath.Dir(abs))
}

// tensorNames are what a model's input and output are called.
func tensorNames(m *model.Model) (input, output string) {
	if m.ONNX != nil {
		return m.ONNX.Input.Name, m.ONNX.Output.Name
	}
	return images.Input, images.Output
}

// checkTensors holds what a repository's configuration calls its tensors against the file, as Triton does.
func (o *plantOptions) checkTensors(m *model.Model) error {
	input, output := tensorNames(m)
	for _, t := range []struct{ kind, declared, has string }{{"input", o.tensors[0], input}, {"output", o.tensors[1], output}} {
		if t.declared != "" && t.declared != t.has {
			return fault.New(fault.Invalid, "model '%s': %s '%s' is not in the file, whose %[2]s is '%[4]s'", o.name, t.kind, t.declared, t.has)
		}
	}
	return nil
}

// storedONNX takes over what the configuration of an ONNX model says of how it is computed.
func (o *plantOptions) storedONNX(c *repository.Config) error {
	text := func(name string) string { return c.Parameters[name].StringValue }
	o.model.preprocessing = model.Preprocessing{Mean: text(disk.Mean), Std: text(disk.Std), Interpolation: text(disk.Interpolation), ResizeMode: text(disk.ResizeMode)}
	for name, to := range map[string]*int{disk.ImageSize: &o.model.preprocessing.ImageSize, disk.Threads: &o.engine.onnx.threads} {
		if s := text(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				return fmt.Errorf("parameters: '%s': want a number above 0, not '%s'", name, s)
			}
			*to = n
		}
	}
	if len(c.Input) == 1 && c.Input[0].DataType == "TYPE_FP32" {
		o.tensors[0] = c.Input[0].Name
	}
	if len(c.Output) == 1 {
		o.tensors[1] = c.Output[0].Name
	}
	if _, ok := o.engine.provider(); !ok {
		o.engine.name = onnxEngine
	}
	return o.storedAccelerator(c)
}

// storedAccelerator: an accelerator decides, else a group of kind KIND_GPU computes with CUDA as in
// Triton, else the flags do.
func (o *plantOptions) storedAccelerator(c *repository.Config) error {
	device, onGPU, err := storedDevice(c)
	if err != nil {
		return err
	}
	a := onnxruntime.Options{Settings: settings(o.engine.onnx.settings), Device: device, Precision: engine.Precision(o.engine.precision)}
	if cuda := c.Optimization.CUDA; cuda != nil {
		if cuda.BusyWaitEvents || cuda.OutputCopyStream || len(cuda.GraphSpec) > 0 {
			return fmt.Errorf("optimization.cuda: only graphs has a meaning; each planned batch size is captured")
		}
		a.CUDAGraph = cuda.Graphs
	}
	names, err := accelerators(c)
	switch {
	case err != nil:
		return err
	case len(names) == 1:
		if err := a.Accelerate(names[0].Name, names[0].Parameters); err != nil {
			return fmt.Errorf("optimization.execution_accelerators: %w", err)
		}
	case onGPU:
		a.Provider = onnxruntime.CUDA
	default:
		return nil
	}
	o.engine.onnx.accelerator = &a
	return nil
}

// accelerators are the one that is listed, if any.
func accelerators(c *repository.Config) ([]repository.Accelerator, error) {
	list := c.Optimization.ExecutionAccelerators
	if list == nil {
		return nil, nil
	}
	all := append(list.GPUExecutionAccelerator[:len(list.GPUExecutionAccelerator):len(list.GPUExecutionAccelerator)], list.CPUExecutionAccelerator...)
	if len(all) > 1 {
		return nil, fmt.Errorf("optimization.execution_accelerators: a model computes with one of them, %d are listed", len(all))
	}
	return all, nil
}

// storedDevice is the device of the instance groups, and whether they want one.
func storedDevice(c *repository.Config) (device int, wanted bool, err error) {
	seen := map[int32]bool{}
	for _, g := range c.InstanceGroup {
		wanted = wanted || g.Kind == "KIND_GPU"
		for _, n := range g.GPUs {
			seen[n] = true
			device = int(n)
		}
	}
	if len(seen) > 1 {
		return 0, false, fmt.Errorf("instance_group.gpus: %d devices; a model computes on one", len(seen))
	}
	return device, wanted, nil
}
