package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/doctor"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/cuda"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime"
	"github.com/vitrine-project/vitrine/internal/engine/torch"
	"github.com/vitrine-project/vitrine/internal/model"
)

// backend is what computes: one of the engines that --engine names.
type backend struct {
	name, about string
	precisions  []engine.Precision
	// check tells whether the engine would run here: a remark for people, or what is missing and what to do.
	check func(ctx context.Context, e *engineFlags, p engine.Precision) (remark string, err error)
	// gpus are the cards that it can compute on, where some are asked for and where none are. An engine of
	// the processor has none.
	gpus func(e *engineFlags, asked []int) ([]int, error)
	// make makes the engine of one device. It keeps no reference to the model.
	make func(o *plantOptions, m *model.Model, d fleet.Device) (engine.Engine, error)
	// memory is how many bytes of the host's memory that engine will take.
	memory func(o *plantOptions, m *model.Model, d fleet.Device) (int64, error)
}

// cudaBackend takes pinned memory of the host.
var cudaBackend = backend{
	name: "cuda", about: "native, on NVIDIA GPUs", precisions: []engine.Precision{engine.FP32, engine.BF16, engine.FP16, engine.FP8}, check: checkCUDA,
	gpus: func(*engineFlags, []int) ([]int, error) { return allCards() },
	make: func(o *plantOptions, m *model.Model, d fleet.Device) (engine.Engine, error) {
		c, err := o.cudaOptions(d)
		if err != nil {
			return nil, err
		}
		return cuda.New(m, c)
	},
	memory: func(o *plantOptions, m *model.Model, d fleet.Device) (int64, error) {
		c, err := o.cudaOptions(d)
		if err != nil {
			return 0, err
		}
		return cuda.Estimate(m.Config, c)
	},
}

// cudaOptions are those of one card.
func (o *plantOptions) cudaOptions(d fleet.Device) (cuda.Options, error) {
	c, err := o.engine.readCalibration()
	return cuda.Options{Device: d.GPU, Precision: engine.Precision(o.engine.precision), Calibration: c, Instances: max(d.Instances, gpuInstances),
		MaxBatch: o.engine.maxBatch, PinnedMemory: int64(o.engine.pinned), Logger: o.log}, err
}

var cpuBackend = backend{
	name: "cpu", about: "native, on the processor", precisions: []engine.Precision{engine.FP32, engine.BF16}, check: checkCPU,
	gpus: func(*engineFlags, []int) ([]int, error) { return nil, nil },
	make: func(o *plantOptions, m *model.Model, d fleet.Device) (engine.Engine, error) {
		return cpu.New(m, o.cpuOptions(d))
	},
	memory: func(o *plantOptions, m *model.Model, d fleet.Device) (int64, error) {
		return cpu.Estimate(m.Config, o.cpuOptions(d))
	},
}

var onnxBackend = backend{
	name: onnxEngine, about: "ONNX Runtime, by one of its providers", precisions: []engine.Precision{engine.FP32, engine.BF16, engine.FP16}, check: checkONNX,
	gpus: func(e *engineFlags, _ []int) ([]int, error) {
		if p, _ := e.provider(); p != onnxruntime.CUDA && p != onnxruntime.TensorRT {
			return nil, nil
		}
		return allCards()
	},
	make: func(o *plantOptions, m *model.Model, d fleet.Device) (engine.Engine, error) {
		return onnxruntime.New(m, o.onnxOptions(d))
	},
	memory: func(o *plantOptions, m *model.Model, d fleet.Device) (int64, error) {
		return onnxruntime.Estimate(m, o.onnxOptions(d))
	},
}

var torchBackend = backend{
	name: "torch", about: "PyTorch in a Python worker", precisions: []engine.Precision{engine.FP32, engine.BF16, engine.FP16}, check: checkTorch,
	gpus: func(e *engineFlags, _ []int) ([]int, error) {
		if e.torch.device == "cpu" {
			return nil, nil
		}
		all, err := allCards()
		if errors.Is(err, driver.ErrNoDriver) && e.torch.device != "cuda" {
			return nil, nil
		}
		return all, err
	},
	make: func(o *plantOptions, m *model.Model, d fleet.Device) (engine.Engine, error) {
		return torch.New(m, o.torchOptions(d))
	},
	memory: func(o *plantOptions, m *model.Model, d fleet.Device) (int64, error) {
		return torch.Estimate(m, o.torchOptions(d)), nil
	},
}

// nullBackend computes on any card that is named, as well as on none: nothing is there to be missing.
var nullBackend = backend{
	name: "null", about: "computes nothing", precisions: []engine.Precision{engine.FP32},
	check: func(context.Context, *engineFlags, engine.Precision) (string, error) {
		return "vectors that mean nothing", nil
	},
	gpus: func(_ *engineFlags, asked []int) ([]int, error) { return asked, nil },
	make: func(o *plantOptions, m *model.Model, d fleet.Device) (engine.Engine, error) {
		c := m.Config
		return null.New(null.Options{Width: c.ImageSize, Height: c.ImageSize, Dim: c.EmbedDim,
			MaxBatch: o.engine.maxBatch, InFlight: d.Instances, Latency: o.engine.nullLatency}), nil
	},
	memory: func(*plantOptions, *model.Model, fleet.Device) (int64, error) { return 0, nil },
}

// backends are all engines; auto is the first two, in this order.
var backends = []*backend{&cudaBackend, &cpuBackend, &onnxBackend, &torchBackend, &nullBackend}

const autoEngine = "auto"

// autoOrder is what --engine auto looks through where nothing was tuned.
const autoOrder = "cuda, cpu"

// engineNames are what --engine takes.
func engineNames() []string {
	names := []string{autoEngine}
	for _, b := range backends {
		names = append(names, b.name)
		if b == &onnxBackend {
			for _, p := range onnxruntime.Providers() {
				names = append(names, onnxEngine+":"+string(p))
			}
		}
	}
	return names
}

// precisionNames are what --precision takes.
var precisionNames = []string{"auto", string(engine.FP32), string(engine.BF16), string(engine.FP16), string(engine.FP8)}

// autoPrecision is --precision auto, until an engine says what it stands for.
const autoPrecision engine.Precision = "auto"

// backendOf is the engine of a name that --engine takes.
func backendOf(name string) (*backend, error) {
	base, _, _ := strings.Cut(name, ":") // onnxruntime:PROVIDER
	for _, b := range backends {
		if b.name == base {
			return b, nil
		}
	}
	return nil, fmt.Errorf("no engine %q: want one of %v", name, engineNames())
}

// takes refuses a file that the engine does not read.
func (b *backend) takes(m *model.Model) error {
	if m.ONNX == nil || b == &onnxBackend || b == &nullBackend {
		return nil
	}
	return fmt.Errorf("--engine %s computes safetensors; %s is ONNX, which --engine onnxruntime computes", b.name, m.ONNX.Path)
}

// untuned is what --engine auto takes where nothing was measured, and what it makes of --precision auto.
func (e *engineFlags) untuned() (*backend, engine.Precision) {
	auto := *e
	auto.name = autoEngine
	b, err := auto.backend()
	if err != nil {
		b = &cpuBackend
	}
	switch p := engine.Precision(e.precision); {
	case p != autoPrecision:
		return b, p
	case b == &cudaBackend:
		return b, engine.FP16
	}
	return b, cpuPrecision()
}

// cpuPrecision is what the native engine makes of auto.
func cpuPrecision() engine.Precision {
	if level, err := cpufeat.Selected(); err == nil && level >= cpufeat.AVX512BF16 {
		return engine.BF16
	}
	return engine.FP32
}

// allCards are the numbers of the driver's devices.
func allCards() ([]int, error) {
	n, err := driver.Count()
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all, err
}

// checkCUDA asks the driver for its devices; what a device lacks shows when the engine is made.
func checkCUDA(_ context.Context, e *engineFlags, p engine.Precision) (string, error) {
	switch n, err := driver.Count(); {
	case err != nil:
		return "", err
	case n == 0:
		return "", errors.New("the driver shows no GPU")
	case p == engine.FP8 && e.calibration == "":
		return "", errNoCalibration
	case p == engine.FP8:
		return fmt.Sprintf("%d GPUs; Hopper only, %s", n, fp8Untested), nil
	default:
		return fmt.Sprintf("%d GPUs", n), nil
	}
}

func checkCPU(_ context.Context, _ *engineFlags, p engine.Precision) (string, error) {
	level, err := cpufeat.Selected()
	if err != nil {
		return "", err
	}
	remark := "kernels " + level.String()
	if p == engine.BF16 && level < cpufeat.AVX512BF16 {
		remark += ": no bfloat16 instructions, so no faster than fp32"
	}
	return remark, nil
}

// probes are the interpreters that were asked, by command.
var probes sync.Map

// probePython asks an interpreter once for the process.
func probePython(ctx context.Context, command string) *doctor.Python {
	ask, _ := probes.LoadOrStore(command, sync.OnceValue(func() *doctor.Python {
		p := doctor.ProbePython(ctx, command)
		return &p
	}))
	return ask.(func() *doctor.Python)()
}

func checkTorch(ctx context.Context, e *engineFlags, _ engine.Precision) (string, error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("it shares memory with its worker as only Linux does")
	}
	command := cmp.Or(e.torch.python, defaultPython)
	p := probePython(ctx, command)
	switch {
	case p.Problem != "":
		return "", fmt.Errorf("%s; name a Python that has torch with --torch-python", p.Problem)
	case p.Torch() == "":
		return "", fmt.Errorf("%s has no torch: `%s -m pip install torch`, or --torch-python", command, command)
	}
	return "torch " + p.Torch(), nil
}

// torchOptions are those of one device.
func (o *plantOptions) torchOptions(d fleet.Device) torch.Options {
	t := &o.engine.torch
	device := "cpu"
	if d.GPU != fleet.CPU {
		device = fmt.Sprintf("cuda:%d", d.GPU)
	}
	return torch.Options{Python: t.python, Device: device, Compile: t.compile, Precision: engine.Precision(o.engine.precision),
		Threads: o.engine.threads, Instances: d.Instances, MaxBatch: o.engine.maxBatch, Near: near(d), Logger: o.log}
}
