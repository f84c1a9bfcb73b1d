package repository

import "fmt"

// platforms are the older names of backends, each with a model format.
var platforms = map[string]string{
	"onnxruntime_onnx":      "onnxruntime",
	"tensorrt_plan":         "tensorrt",
	"tensorflow_graphdef":   "tensorflow",
	"tensorflow_savedmodel": "tensorflow",
	"pytorch_libtorch":      "pytorch",
	"vitrine_image":         "vitrine",
}

// modelFiles are what a version holds, by backend, where the configuration does not say it.
var modelFiles = map[string]string{
	"onnxruntime": "model.onnx", "tensorrt": "model.plan", "pytorch": "model.pt", "openvino": "model.xml", "python": "model.py",
}

// complete fills in what Triton fills in: the name, the backend of a platform, the version policy,
// pinned memory, an instance group, names and counts of groups, the preferred batch size (the largest),
// the model's file.
func (c *Config) complete(name string) {
	if c.Name == "" {
		c.Name = name
	}
	if c.Backend == "" {
		c.Backend = platforms[c.Platform]
	}
	if c.VersionPolicy == nil {
		c.VersionPolicy = &VersionPolicy{Latest: &Latest{NumVersions: 1}}
	}
	c.completeOptimization()
	c.completeInstances()
	if b := c.DynamicBatching; b != nil && len(b.PreferredBatchSize) == 0 && c.MaxBatchSize > 0 {
		b.PreferredBatchSize = []int32{c.MaxBatchSize}
	}
	if c.DefaultModelFilename == "" {
		c.DefaultModelFilename = modelFiles[c.Backend]
	}
}

func (c *Config) completeOptimization() {
	if c.Optimization == nil {
		c.Optimization = &Optimization{Priority: "PRIORITY_DEFAULT"}
	}
	for _, p := range []**PinnedMemory{&c.Optimization.InputPinnedMemory, &c.Optimization.OutputPinnedMemory} {
		if *p == nil {
			*p = &PinnedMemory{Enable: true}
		}
	}
}

func (c *Config) completeInstances() {
	if c.EnsembleScheduling != nil {
		return
	}
	if len(c.InstanceGroup) == 0 {
		c.InstanceGroup = []InstanceGroup{{Name: c.Name, Kind: "KIND_AUTO", GPUs: []int32{}, SecondaryDevices: []SecondaryDevice{}, Profile: []string{}}}
	}
	for i := range c.InstanceGroup {
		g := &c.InstanceGroup[i]
		if g.Name == "" {
			g.Name = fmt.Sprintf("%s_%d", c.Name, i)
		}
		if g.Kind == "KIND_AUTO" && len(g.GPUs) > 0 {
			g.Kind = "KIND_GPU"
		}
		if g.Count == 0 {
			g.Count = 1
		}
	}
}
