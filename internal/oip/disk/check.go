package disk

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model/repository"
)

// Parameters of an image model's configuration that decide something here. Those of samples are
// "kind" and "correlation_id".
const (
	Precision  = "precision"  // as --precision, for this model
	ModelName  = "model_name" // as --model-name
	Pretrained = "pretrained" // as --pretrained
	Space      = "space"      // as --space: the vector space that is wanted
)

var parameters = map[string][]string{
	Backend:       {Precision, ModelName, Pretrained, Space, repository.QueueOf},
	SampleBackend: {"correlation_id", "kind"},
}

// check refuses what cannot run here, and settings that would have no effect. It decides where the
// model's instances run, on which of gpus or on the processor.
func check(m *repository.Model, gpus []int) error {
	c := m.Config
	can := repository.Abilities{Backends: []string{Backend}, GPU: len(gpus) > 0}
	if c.Backend == SampleBackend {
		can = repository.Abilities{Backends: []string{Backend, SampleBackend}, Sequences: true}
	}
	if err := c.Check(&can); err != nil {
		return fault.New(fault.Invalid, "%v", err)
	}
	known := parameters[c.Backend]
	for name := range c.Parameters {
		if !slices.Contains(known, name) {
			return refuse(c, "parameters: '%s' means nothing to backend '%s'; it knows %s", name, c.Backend, strings.Join(known, ", "))
		}
	}
	if c.Backend == SampleBackend {
		return nil
	}
	if err := place(c, gpus); err != nil {
		return err
	}
	return checkImage(m, gpus)
}

// place puts an image model's instances on devices of one kind: those of two would compute in different
// precisions, and so make vectors of different spaces.
func place(c *repository.Config, gpus []int) error {
	if err := c.Place(gpus); err != nil {
		return fault.New(fault.Invalid, "%v", err)
	}
	places := c.Places()
	onCPU := func(p repository.Place) bool { return p.GPU == repository.CPU }
	if len(places) > 1 && slices.ContainsFunc(places, onCPU) {
		return refuse(c, "instance_group: the instances of a model are on GPUs or on the processor, not on both")
	}
	return nil
}

func checkImage(m *repository.Model, gpus []int) error {
	c := m.Config
	if f := c.DefaultModelFilename; f != "" && !filepath.IsLocal(f) {
		return refuse(c, "default_model_filename '%s' must stay within the version's folder", f)
	}
	if o := c.Optimization; o.ExecutionAccelerators != nil {
		return refuse(c, "optimization.execution_accelerators: backend '%s' has none", c.Backend)
	}
	if b := c.DynamicBatching; b != nil && b.PreserveOrdering && instances(c) > 1 {
		return refuse(c, "dynamic_batching.preserve_ordering: with %d instances answers leave as they are computed; with one they are in order", instances(c))
	}
	if m.Owner == nil {
		return nil
	}
	switch owner := m.Owner.Config; {
	case owner.Backend != c.Backend:
		return refuse(c, "parameters: queue_of names '%s', which is a model of backend '%s'", owner.Name, owner.Backend)
	case c.DynamicBatching != nil:
		return refuse(c, "dynamic_batching: the queue is that of '%s', which says how it batches", owner.Name)
	case own(c):
		return refuse(c, "instance_group: the instances are those of '%s'", owner.Name)
	case c.MaxBatchSize > max(1, owner.MaxBatchSize):
		return refuse(c, "max_batch_size %d is over that of '%s', whose queue it shares: %d", c.MaxBatchSize, owner.Name, max(1, owner.MaxBatchSize))
	}
	for _, name := range []string{Precision, ModelName, Pretrained, Space} {
		if c.Parameters[name].StringValue != "" {
			return refuse(c, "parameters: '%s' is decided by '%s', whose weights it shares", name, m.Owner.Config.Name)
		}
	}
	return check(m.Owner, gpus)
}

func refuse(c *repository.Config, format string, args ...any) error {
	return fault.New(fault.Invalid, "model '%s' cannot run: "+format, append([]any{c.Name}, args...)...)
}

// instances is how many batches of a model are computed at the same time: all devices together.
func instances(c *repository.Config) (n int) {
	for _, p := range c.Places() {
		n += p.Instances
	}
	return n
}

// own tells whether a configuration asks for more instances than the one that it has without asking.
func own(c *repository.Config) bool {
	return len(c.InstanceGroup) > 1 || len(c.InstanceGroup) == 1 && c.InstanceGroup[0].Count > 1
}
