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

// Parameters of an ONNX model's configuration besides those: how images are prepared for it, where no file
// beside it says so, and Triton's own.
const (
	Mean          = "mean" // three numbers, separated by commas: of RGB in 0..1
	Std           = "std"
	Interpolation = "interpolation" // bicubic, bilinear
	ResizeMode    = "resize_mode"   // shortest, squash, longest
	ImageSize     = "image_size"    // pixels, where the graph takes any
	Threads       = "intra_op_thread_count"
)

var parameters = map[string][]string{
	Backend:       {Precision, ModelName, Pretrained, Space, repository.QueueOf},
	ONNXBackend:   {Precision, ModelName, Pretrained, Space, repository.QueueOf, Mean, Std, Interpolation, ResizeMode, ImageSize, Threads},
	SampleBackend: {"correlation_id", "kind"},
}

// check refuses what cannot run here, and settings that would have no effect.
func check(m *repository.Model) error {
	c := m.Config
	can := repository.Abilities{Backends: []string{Backend, ONNXBackend}, GPU: c.Backend == ONNXBackend}
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
	return checkImage(m)
}

func checkImage(m *repository.Model) error {
	c := m.Config
	if f := c.DefaultModelFilename; f != "" && !filepath.IsLocal(f) {
		return refuse(c, "default_model_filename '%s' must stay within the version's folder", f)
	}
	if o := c.Optimization; o.ExecutionAccelerators != nil && c.Backend != ONNXBackend {
		return refuse(c, "optimization.execution_accelerators: backend '%s' has none", c.Backend)
	}
	if b := c.DynamicBatching; b != nil && b.PreserveOrdering && Instances(c) > 1 {
		return refuse(c, "dynamic_batching.preserve_ordering: with %d instances answers leave as they are computed; with one they are in order", Instances(c))
	}
	if m.Owner == nil {
		return nil
	}
	switch owner := m.Owner.Config; {
	case owner.Backend != c.Backend:
		return refuse(c, "parameters: queue_of names '%s', which is a model of backend '%s'", owner.Name, owner.Backend)
	case c.DynamicBatching != nil:
		return refuse(c, "dynamic_batching: the queue is that of '%s', which says how it batches", owner.Name)
	case Instances(c) > 1:
		return refuse(c, "instance_group: the instances are those of '%s'", owner.Name)
	case c.MaxBatchSize > max(1, owner.MaxBatchSize):
		return refuse(c, "max_batch_size %d is over that of '%s', whose queue it shares: %d", c.MaxBatchSize, owner.Name, max(1, owner.MaxBatchSize))
	}
	for _, name := range parameters[c.Backend] {
		if name != repository.QueueOf && c.Parameters[name].StringValue != "" {
			return refuse(c, "parameters: '%s' is decided by '%s', whose weights it shares", name, m.Owner.Config.Name)
		}
	}
	return check(m.Owner)
}

func refuse(c *repository.Config, format string, args ...any) error {
	return fault.New(fault.Invalid, "model '%s' cannot run: "+format, append([]any{c.Name}, args...)...)
}

// Instances is how many batches of a model are computed at the same time: all groups together.
func Instances(c *repository.Config) int {
	n := 0
	for _, g := range c.InstanceGroup {
		n += int(g.Count)
	}
	return max(1, n)
}
