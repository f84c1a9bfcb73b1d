package repository

import (
	"errors"
	"fmt"
	"slices"
)

// validate holds the configuration to Triton's rules, in Triton's words where it has them. All that is
// wrong is told at once.
func (c *Config) validate() error {
	var all []error
	complain := func(format string, args ...any) {
		all = append(all, fmt.Errorf(format+" for %s", append(args, c.Name)...))
	}
	if c.Backend == "" && c.Platform == "" {
		complain("must specify 'platform' or 'backend'")
	}
	if c.MaxBatchSize < 0 {
		complain("'max_batch_size' must be non-negative value")
	}
	c.validateTensors(complain)
	c.validateBatching(complain)
	c.validateInstances(complain)
	c.validateWarmup(complain)
	if p := c.VersionPolicy; p != nil {
		validatePolicy(p, complain)
	}
	return errors.Join(all...)
}

type complainer func(format string, args ...any)

func validatePolicy(p *VersionPolicy, complain complainer) {
	switch {
	case p.Latest != nil && p.Latest.NumVersions == 0:
		complain("version policy 'latest' must have num_versions of at least 1")
	case p.Specific != nil && len(p.Specific.Versions) == 0:
		complain("version policy 'specific' must list versions")
	case p.Latest == nil && p.All == nil && p.Specific == nil:
		complain("must specify 'version policy'")
	}
}

func (c *Config) validateTensors(complain complainer) {
	names := map[string]bool{}
	for _, t := range c.Input {
		validateTensor("model input", t.Name, t.DataType, t.Dims, t.Reshape, names, complain)
	}
	names = map[string]bool{}
	for _, t := range c.Output {
		validateTensor("model output", t.Name, t.DataType, t.Dims, t.Reshape, names, complain)
	}
}

func validateTensor(what, name string, t DataType, dims []int64, reshape *Reshape, names map[string]bool, complain complainer) {
	if name == "" {
		complain("%s must specify 'name'", what)
	}
	if names[name] {
		complain("%s '%s' is specified more than once", what, name)
	}
	names[name] = true
	if t == "TYPE_INVALID" {
		complain("%s '%s' must specify 'data_type'", what, name)
	}
	if len(dims) == 0 {
		complain("%s '%s' must specify 'dims'", what, name)
	}
	if slices.ContainsFunc(dims, badDimension) {
		complain("%s '%s' dimension must be integer >= 1, or -1 to indicate a variable-size dimension", what, name)
	}
	if reshape != nil && slices.ContainsFunc(reshape.Shape, badDimension) {
		complain("%s '%s' reshape dimensions must be integer >= 1, or -1 to indicate a variable-size dimension", what, name)
	}
}

func badDimension(d int64) bool { return d < 1 && d != -1 }

func (c *Config) validateBatching(complain complainer) {
	b := c.DynamicBatching
	if b == nil {
		return
	}
	for _, n := range b.PreferredBatchSize {
		switch {
		case n <= 0:
			complain("dynamic batching preferred size must be positive")
		case n > c.MaxBatchSize:
			complain("dynamic batching preferred size must be <= max batch size")
		}
	}
	c.validatePriorities(complain)
	if b.PreserveOrdering && b.PriorityLevels > 1 {
		complain("Only one priority level is allowed when 'preserve_ordering' is true")
	}
	if b.PreserveOrdering && b.delays() {
		complain("Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true")
	}
}

func (c *Config) validatePriorities(complain complainer) {
	b := c.DynamicBatching
	if b.PriorityLevels == 0 {
		return
	}
	if b.DefaultPriorityLevel == 0 || b.DefaultPriorityLevel > b.PriorityLevels {
		complain("default priority level must be in range [1, %d]", b.PriorityLevels)
	}
	for level := range b.PriorityQueuePolicy {
		if level == 0 || level > b.PriorityLevels {
			complain("priority queue policy must have priority level in range [1, %d]", b.PriorityLevels)
		}
	}
}

func (b *DynamicBatching) delays() bool {
	if b.DefaultQueuePolicy != nil && b.DefaultQueuePolicy.TimeoutAction == "DELAY" {
		return true
	}
	for _, p := range b.PriorityQueuePolicy {
		if p.TimeoutAction == "DELAY" {
			return true
		}
	}
	return false
}

func (c *Config) validateInstances(complain complainer) {
	if c.EnsembleScheduling != nil {
		if len(c.InstanceGroup) > 0 {
			complain("instance group should not be specified")
		}
		return
	}
	for _, g := range c.InstanceGroup {
		switch {
		case g.Count < 1:
			complain("instance group %s must have a count of at least 1", g.Name)
		case g.Kind == "KIND_CPU" && len(g.GPUs) > 0:
			complain("instance group %s has kind KIND_CPU but specifies one or more GPUs", g.Name)
		case g.Kind == "KIND_MODEL" && len(g.GPUs) > 0:
			complain("instance group %s has kind KIND_MODEL but specifies one or more GPUs", g.Name)
		}
	}
}

func (c *Config) validateWarmup(complain complainer) {
	for _, w := range c.ModelWarmup {
		if c.MaxBatchSize > 0 && int64(w.BatchSize) > int64(c.MaxBatchSize) {
			complain("model_warmup '%s' has a batch_size over max_batch_size %d", w.Name, c.MaxBatchSize)
		}
		for name, in := range w.Inputs {
			declared := slices.ContainsFunc(c.Input, func(i Input) bool { return i.Name == name })
			switch {
			case !declared && len(c.Input) > 0:
				complain("model_warmup '%s' has an input '%s' that the model does not declare", w.Name, name)
			case in.ZeroData == nil && in.RandomData == nil && in.InputDataFile == nil:
				complain("model_warmup '%s' must say what input '%s' holds", w.Name, name)
			case slices.ContainsFunc(in.Dims, func(d int64) bool { return d < 1 }):
				complain("model_warmup '%s' must give input '%s' dims of at least 1", w.Name, name)
			}
		}
	}
}
