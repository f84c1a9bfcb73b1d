package repository

import (
	"fmt"
	"slices"
	"strings"
)

// Abilities are what the running server can do for a model.
type Abilities struct {
	Backends  []string // those that can run, by Triton's names of them
	GPU       bool     // a device for KIND_GPU
	Sequences bool     // sequence_batching
}

// Refusal is a setting that has no meaning here. A model with one is not loaded: a setting without
// effect would be a promise not kept.
type Refusal struct{ Field, Reason string }

// Unsupported is why a model that Triton would load cannot run.
type Unsupported struct {
	Model    string
	Refusals []Refusal
}

// Error names every setting that is in the way.
func (u *Unsupported) Error() string {
	parts := make([]string, len(u.Refusals))
	for i, r := range u.Refusals {
		parts[i] = r.Field + ": " + r.Reason
	}
	return fmt.Sprintf("model '%s' cannot run yet: %s", u.Model, strings.Join(parts, "; "))
}

// rule is one setting that can be in the way.
type rule struct {
	field  string
	given  func(c *Config, a *Abilities) bool
	reason string
}

// rules are the settings that are refused, each with its reason. What is not here has its meaning:
// tensors, max_batch_size, dynamic_batching, instance groups by kind and count, version_policy,
// warm-up, parameters; pinned memory and accelerators are the backend's own business.
var rules = []rule{
	{"ensemble_scheduling", func(c *Config, _ *Abilities) bool { return c.EnsembleScheduling != nil },
		"models are not chained here; images are preprocessed by the model that embeds them"},
	{"sequence_batching", func(c *Config, a *Abilities) bool { return c.SequenceBatching != nil && !a.Sequences },
		"an embedding keeps no state between requests"},
	{"batch_input", func(c *Config, _ *Abilities) bool { return len(c.BatchInput) > 0 }, "batches hold what requests bring, nothing else"},
	{"batch_output", func(c *Config, _ *Abilities) bool { return len(c.BatchOutput) > 0 }, "outputs have one row for each item"},
	{"reshape", func(c *Config, _ *Abilities) bool { return c.anyInput(Input.reshaped) || c.anyOutput(Output.reshaped) }, "declare the shape that the model has"},
	{"allow_ragged_batch", func(c *Config, _ *Abilities) bool {
		return c.anyInput(func(i Input) bool { return i.AllowRaggedBatch })
	}, "items of one batch have one shape"},
	{"is_shape_tensor", func(c *Config, _ *Abilities) bool {
		return c.anyInput(func(i Input) bool { return i.IsShapeTensor }) || c.anyOutput(func(o Output) bool { return o.IsShapeTensor })
	}, "shapes are not computed by models"},
	{"is_non_linear_format_io", func(c *Config, _ *Abilities) bool {
		return c.anyInput(func(i Input) bool { return i.IsNonLinearFormatIO }) || c.anyOutput(func(o Output) bool { return o.IsNonLinearFormatIO })
	}, "tensors are row-major"},
	{"optimization.graph", func(c *Config, _ *Abilities) bool {
		return c.optimized(func(o *Optimization) bool { return o.Graph != nil })
	}, "engines always optimise their graph"},
	{"optimization.priority", func(c *Config, _ *Abilities) bool {
		return c.optimized(func(o *Optimization) bool { return o.Priority != "PRIORITY_DEFAULT" })
	}, "models have no priority over each other"},
	{"optimization.cuda", func(c *Config, a *Abilities) bool {
		return !a.GPU && c.optimized(func(o *Optimization) bool { return o.CUDA != nil })
	}, "this server computes on no GPU"},
	{"optimization.gather_kernel_buffer_threshold", func(c *Config, _ *Abilities) bool {
		return c.optimized(func(o *Optimization) bool { return o.GatherKernelBufferThreshold > 0 })
	}, "rows are written where the engine reads them; nothing is gathered"},
	{"optimization.eager_batching", func(c *Config, _ *Abilities) bool {
		return c.optimized(func(o *Optimization) bool { return o.EagerBatching })
	}, "batches are always prepared while the last one runs"},
	{"instance_group.kind", func(c *Config, a *Abilities) bool {
		return c.anyGroup(func(g InstanceGroup) bool { return g.Kind == "KIND_MODEL" || g.Kind == "KIND_GPU" && !a.GPU })
	}, "want KIND_AUTO or KIND_CPU, or KIND_GPU where the server computes on GPUs"},
	{"instance_group.rate_limiter", func(c *Config, _ *Abilities) bool {
		return c.anyGroup(func(g InstanceGroup) bool { return g.RateLimiter != nil })
	}, "memory budgets limit what runs, named resources do not exist"},
	{"instance_group.secondary_devices", func(c *Config, _ *Abilities) bool {
		return c.anyGroup(func(g InstanceGroup) bool { return len(g.SecondaryDevices) > 0 })
	}, "there are no such devices"},
	{"instance_group.profile", func(c *Config, _ *Abilities) bool {
		return c.anyGroup(func(g InstanceGroup) bool { return len(g.Profile) > 0 })
	}, "the engine plans its own batch sizes"},
	{"instance_group.passive", func(c *Config, _ *Abilities) bool { return c.anyGroup(func(g InstanceGroup) bool { return g.Passive }) }, "an instance that is never used is not made"},
	{"instance_group.host_policy", func(c *Config, _ *Abilities) bool {
		return c.anyGroup(func(g InstanceGroup) bool { return g.HostPolicy != "" })
	}, "host policies do not exist"},
	{"model_operations", func(c *Config, _ *Abilities) bool {
		return c.ModelOperations != nil && len(c.ModelOperations.OpLibraryFilename) > 0
	}, "libraries of operators are not loaded"},
	{"model_transaction_policy", func(c *Config, _ *Abilities) bool {
		return c.ModelTransactionPolicy != nil && c.ModelTransactionPolicy.Decoupled
	}, "every request has one answer"},
	{"model_repository_agents", func(c *Config, _ *Abilities) bool {
		return c.ModelRepositoryAgents != nil && len(c.ModelRepositoryAgents.Agents) > 0
	}, "files are loaded as they are"},
	{"response_cache", func(c *Config, _ *Abilities) bool { return c.ResponseCache != nil && c.ResponseCache.Enable }, "answers are not cached"},
	{"metric_tags", func(c *Config, _ *Abilities) bool { return len(c.MetricTags) > 0 }, "metrics have the labels model and version, no others"},
	{"model_metrics", func(c *Config, _ *Abilities) bool { return c.ModelMetrics != nil }, "metric settings are the server's"},
	{"runtime", func(c *Config, _ *Abilities) bool { return c.Runtime != "" }, "backends are not loaded from files"},
	{"cc_model_filenames", func(c *Config, _ *Abilities) bool { return len(c.CCModelFilenames) > 0 }, "a version has one model file"},
}

// Check says whether the model can run, nil if so, else an *Unsupported that names all that is in the
// way: the backend first.
func (c *Config) Check(a *Abilities) error {
	u := &Unsupported{Model: c.Name}
	if r, missing := c.backendRefusal(a); missing {
		u.Refusals = append(u.Refusals, r)
	}
	for _, r := range rules {
		if r.given(c, a) {
			u.Refusals = append(u.Refusals, Refusal{r.field, r.reason})
		}
	}
	if len(u.Refusals) == 0 {
		return nil
	}
	return u
}

// programs are what a backend's models need, where its name does not say it.
var programs = map[string]string{
	"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "tensorflow": "TensorFlow", "pytorch": "PyTorch", "python": "Triton's Python backend",
}

// backendRefusal tells which backend is missing, and which accelerator with it.
func (c *Config) backendRefusal(a *Abilities) (Refusal, bool) {
	if slices.Contains(a.Backends, c.Backend) || c.EnsembleScheduling != nil {
		return Refusal{}, false
	}
	field, name := "backend", c.Backend
	if c.Platform != "" {
		field, name = "platform", c.Platform
	}
	engine := ""
	if program, ok := programs[c.Backend]; ok {
		engine = " (" + program + ")"
	}
	can := "this server has none"
	if len(a.Backends) > 0 {
		can = "this server has " + strings.Join(a.Backends, ", ")
	}
	reason := fmt.Sprintf("this version has no engine for '%s'%s; %s", name, engine, can)
	if wanted := c.accelerators(); len(wanted) > 0 {
		reason += fmt.Sprintf(" (so no execution accelerator '%s' either)", strings.Join(wanted, "', '"))
	}
	return Refusal{field, reason}, true
}

func (c *Config) accelerators() (names []string) {
	if c.Optimization == nil || c.Optimization.ExecutionAccelerators == nil {
		return nil
	}
	for _, list := range [][]Accelerator{c.Optimization.ExecutionAccelerators.GPUExecutionAccelerator, c.Optimization.ExecutionAccelerators.CPUExecutionAccelerator} {
		for _, a := range list {
			names = append(names, a.Name)
		}
	}
	return names
}

func (i Input) reshaped() bool  { return i.Reshape != nil }
func (o Output) reshaped() bool { return o.Reshape != nil }

func (c *Config) anyInput(f func(Input) bool) bool   { return slices.ContainsFunc(c.Input, f) }
func (c *Config) anyOutput(f func(Output) bool) bool { return slices.ContainsFunc(c.Output, f) }
func (c *Config) anyGroup(f func(InstanceGroup) bool) bool {
	return slices.ContainsFunc(c.InstanceGroup, f)
}
func (c *Config) optimized(f func(*Optimization) bool) bool {
	return c.Optimization != nil && f(c.Optimization)
}
