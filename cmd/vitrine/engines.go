package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/doctor"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime"
	"github.com/vitrine-project/vitrine/internal/engine/torch"
	"github.com/vitrine-project/vitrine/internal/model"
)

// engineKind is something that computes, as --engine names it.
type engineKind struct {
	name       string
	about      string
	auto       bool // --engine auto takes the first kind that has this and runs here
	precisions []engine.Precision
	// check tells whether the engine would run here: a remark for people, or what is missing and what to do.
	check func(ctx context.Context, f *engineFlags, p engine.Precision) (remark string, err error)
	// precision is what the engine makes of --precision auto; "" where only the engine itself knows.
	precision func() engine.Precision
	estimate  func(o *plantOptions, m *model.Model) (int64, error) // bytes of host memory
	open      func(o *plantOptions, m *model.Model) (engine.Engine, error)
}

// engineKinds are all engines, in the order in which --engine auto looks through them.
var engineKinds = []*engineKind{
	{
		name: "cuda", about: "native, on an NVIDIA GPU", auto: true, precisions: []engine.Precision{engine.FP32, engine.BF16, engine.FP16},
		check: checkCUDA, precision: func() engine.Precision { return engine.FP16 },
		estimate: func(*plantOptions, *model.Model) (int64, error) { return 0, nil }, // the budget is of host memory
		open:     openCUDA,
	},
	{
		name: "cpu", about: "native, on the processor", auto: true, precisions: []engine.Precision{engine.FP32, engine.BF16},
		check: checkCPU, precision: cpuPrecision,
		estimate: func(o *plantOptions, m *model.Model) (int64, error) { return cpu.Estimate(m.Config, o.cpuOptions()) },
		open:     func(o *plantOptions, m *model.Model) (engine.Engine, error) { return cpu.New(m, o.cpuOptions()) },
	},
	{
		name: onnxEngine, about: "ONNX Runtime, by one of its providers", precisions: []engine.Precision{engine.FP32, engine.BF16, engine.FP16},
		check:    checkONNX,
		estimate: func(o *plantOptions, m *model.Model) (int64, error) { return onnxruntime.Estimate(m, o.onnxOptions()) },
		open: func(o *plantOptions, m *model.Model) (engine.Engine, error) {
			return onnxruntime.New(m, o.onnxOptions())
		},
	},
	{
		name: "torch", about: "PyTorch in a Python worker", precisions: []engine.Precision{engine.FP32, engine.BF16, engine.FP16},
		check:    checkTorch,
		estimate: func(o *plantOptions, m *model.Model) (int64, error) { return torch.Estimate(m, o.torchOptions()), nil },
		open:     func(o *plantOptions, m *model.Model) (engine.Engine, error) { return torch.New(m, o.torchOptions()) },
	},
	{
		name: "null", about: "computes nothing", precisions: []engine.Precision{engine.FP32},
		check: func(context.Context, *engineFlags, engine.Precision) (string, error) {
			return "vectors that mean nothing", nil
		},
		estimate: func(*plantOptions, *model.Model) (int64, error) { return 0, nil },
		open:     openNull,
	},
}

// engineNames are what --engine takes.
func engineNames() []string {
	names := []string{autoEngine}
	for _, k := range engineKinds {
		names = append(names, k.name)
		if k.name == onnxEngine {
			for _, p := range onnxruntime.Providers() {
				names = append(names, onnxEngine+":"+string(p))
			}
		}
	}
	return names
}

const autoEngine = "auto"

// precisionNames are what --precision takes.
var precisionNames = []string{"auto", string(engine.FP32), string(engine.BF16), string(engine.FP16)}

// kindOf is the engine of a name that --engine takes.
func kindOf(name string) (*engineKind, error) {
	base, _, _ := strings.Cut(name, ":") // onnxruntime:PROVIDER
	i := slices.IndexFunc(engineKinds, func(k *engineKind) bool { return k.name == base })
	if i < 0 {
		return nil, fmt.Errorf("no engine %q: want one of %v", name, engineNames())
	}
	return engineKinds[i], nil
}

// firstKind is the engine that --engine auto takes where nothing was measured: the first that has the
// precision and runs here, else the last, which says why not.
func firstKind(ctx context.Context, f *engineFlags) *engineKind {
	var last *engineKind
	for _, k := range engineKinds {
		if !k.auto {
			continue
		}
		last = k
		if !k.computes(engine.Precision(f.precision)) {
			continue
		}
		if _, err := k.check(ctx, f, engine.Precision(f.precision)); err == nil {
			return k
		}
	}
	return last
}

// computes tells whether the engine has a precision; every engine makes something of auto.
func (k *engineKind) computes(p engine.Precision) bool {
	return p == autoPrecision || slices.Contains(k.precisions, p)
}

// next is the engine that --engine auto takes where k fails, nil if there is none.
func (k *engineKind) next(p engine.Precision) *engineKind {
	for _, n := range engineKinds[slices.Index(engineKinds, k)+1:] {
		if n.auto && n.computes(p) {
			return n
		}
	}
	return nil
}

func openNull(o *plantOptions, m *model.Model) (engine.Engine, error) {
	c := m.Config
	return null.New(null.Options{Width: c.ImageSize, Height: c.ImageSize, Dim: c.EmbedDim,
		MaxBatch: o.engine.maxBatch, InFlight: o.engine.instances}), nil
}

// cpuPrecision is what the native engine makes of auto.
func cpuPrecision() engine.Precision {
	if level, err := cpufeat.Selected(); err == nil && level >= cpufeat.AVX512BF16 {
		return engine.BF16
	}
	return engine.FP32
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

func checkTorch(ctx context.Context, f *engineFlags, _ engine.Precision) (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("it shares memory with its worker as only Linux does")
	}
	command := cmp.Or(f.torch.python, defaultPython)
	p := probePython(ctx, command)
	switch {
	case p.Problem != "":
		return "", fmt.Errorf("%s; name a Python that has torch with --torch-python", p.Problem)
	case p.Torch() == "":
		return "", fmt.Errorf("%s has no torch: `%s -m pip install torch`, or --torch-python", command, command)
	}
	return "torch " + p.Torch(), nil
}
