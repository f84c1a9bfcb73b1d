package oip

import (
	"encoding/json"
	"strings"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Config is a model's configuration: the fields of Triton's model_config.proto that a server without
// Triton's backends can answer truthfully. Its JSON is what GET /v2/models/M/config says.
type Config struct {
	Name                string                     `json:"name"`
	Platform            string                     `json:"platform"`
	Backend             string                     `json:"backend"`
	Runtime             string                     `json:"runtime"`
	VersionPolicy       json.RawMessage            `json:"version_policy"`
	MaxBatchSize        int32                      `json:"max_batch_size"`
	Input               []ConfigInput              `json:"input"`
	Output              []ConfigOutput             `json:"output"`
	BatchInput          []struct{}                 `json:"batch_input"`
	BatchOutput         []struct{}                 `json:"batch_output"`
	Optimization        Optimization               `json:"optimization"`
	DynamicBatching     *DynamicBatching           `json:"dynamic_batching,omitempty"`
	SequenceBatching    *SequenceBatching          `json:"sequence_batching,omitempty"`
	InstanceGroup       []InstanceGroup            `json:"instance_group"`
	DefaultModelFile    string                     `json:"default_model_filename"`
	CCModelFilenames    map[string]string          `json:"cc_model_filenames"`
	MetricTags          map[string]string          `json:"metric_tags"`
	Parameters          map[string]ConfigParameter `json:"parameters"`
	ModelWarmup         []json.RawMessage          `json:"model_warmup"`
	TransactionDecouple *TransactionPolicy         `json:"model_transaction_policy,omitempty"`
}

// ConfigInput declares an input; Dims leave the batch dimension out.
type ConfigInput struct {
	Name             string  `json:"name"`
	DataType         string  `json:"data_type"`
	Format           string  `json:"format"`
	Dims             []int64 `json:"dims"`
	IsShapeTensor    bool    `json:"is_shape_tensor"`
	AllowRaggedBatch bool    `json:"allow_ragged_batch"`
	Optional         bool    `json:"optional"`
	NonLinear        bool    `json:"is_non_linear_format_io"`
}

// ConfigOutput declares an output.
type ConfigOutput struct {
	Name          string  `json:"name"`
	DataType      string  `json:"data_type"`
	Dims          []int64 `json:"dims"`
	LabelFilename string  `json:"label_filename"`
	IsShapeTensor bool    `json:"is_shape_tensor"`
	NonLinear     bool    `json:"is_non_linear_format_io"`
}

// Pinned is a switch of Optimization.
type Pinned struct {
	Enable bool `json:"enable"`
}

// Optimization is Triton's block of that name, as it is by default.
type Optimization struct {
	Priority           string `json:"priority"`
	InputPinned        Pinned `json:"input_pinned_memory"`
	OutputPinned       Pinned `json:"output_pinned_memory"`
	GatherKernelBuffer uint32 `json:"gather_kernel_buffer_threshold"`
	EagerBatching      bool   `json:"eager_batching"`
}

// DynamicBatching is how requests are gathered into batches.
type DynamicBatching struct {
	PreferredBatchSize   []int32                `json:"preferred_batch_size"`
	MaxQueueDelayUs      uint64                 `json:"max_queue_delay_microseconds"`
	PreserveOrdering     bool                   `json:"preserve_ordering"`
	PriorityLevels       uint64                 `json:"priority_levels"`
	DefaultPriorityLevel uint64                 `json:"default_priority_level"`
	DefaultQueuePolicy   *QueuePolicy           `json:"default_queue_policy,omitempty"`
	PriorityQueuePolicy  map[uint64]QueuePolicy `json:"priority_queue_policy"` // by level
}

// QueuePolicy bounds a queue.
type QueuePolicy struct {
	TimeoutAction    string `json:"timeout_action"`
	DefaultTimeoutUs uint64 `json:"default_timeout_microseconds"`
	AllowOverride    bool   `json:"allow_timeout_override"`
	MaxQueueSize     uint32 `json:"max_queue_size"`
}

// SequenceBatching marks a model that keeps state between the requests of a sequence.
type SequenceBatching struct {
	Direct        struct{}   `json:"direct"`
	MaxIdleUs     uint64     `json:"max_sequence_idle_microseconds"`
	ControlInput  []struct{} `json:"control_input"`
	State         []struct{} `json:"state"`
	IterativeSequ bool       `json:"iterative_sequence"`
}

// TransactionPolicy tells whether a request may have other than one answer.
type TransactionPolicy struct {
	Decoupled bool `json:"decoupled"`
}

// InstanceGroup is where a model runs.
type InstanceGroup struct {
	Name             string     `json:"name"`
	Kind             string     `json:"kind"`
	Count            int32      `json:"count"`
	GPUs             []int32    `json:"gpus"`
	SecondaryDevices []struct{} `json:"secondary_devices"`
	Profile          []string   `json:"profile"`
	Passive          bool       `json:"passive"`
	HostPolicy       string     `json:"host_policy"`
}

// ConfigParameter is a value of Config.Parameters.
type ConfigParameter struct {
	StringValue string `json:"string_value"`
}

// NewConfig returns a model's configuration, with Triton's defaults, from its metadata. Where maxBatch
// is not 0 the shapes start with the batch dimension, which the configuration leaves out.
func NewConfig(m *Metadata, maxBatch int, backend string) *Config {
	c := &Config{
		Name: m.Name, Platform: m.Platform, Backend: backend, MaxBatchSize: int32(maxBatch),
		VersionPolicy: json.RawMessage(`{"latest":{"num_versions":1}}`),
		Input:         []ConfigInput{}, Output: []ConfigOutput{}, BatchInput: []struct{}{}, BatchOutput: []struct{}{},
		Optimization: Optimization{Priority: "PRIORITY_DEFAULT", InputPinned: Pinned{true}, OutputPinned: Pinned{true}},
		InstanceGroup: []InstanceGroup{{Name: m.Name + "_0", Kind: "KIND_CPU", Count: 1, GPUs: []int32{},
			SecondaryDevices: []struct{}{}, Profile: []string{}}},
		CCModelFilenames: map[string]string{}, MetricTags: map[string]string{}, Parameters: map[string]ConfigParameter{},
		ModelWarmup: []json.RawMessage{},
	}
	for _, t := range m.Inputs {
		c.Input = append(c.Input, ConfigInput{Name: t.Name, DataType: ConfigType(t.DType), Format: "FORMAT_NONE",
			Dims: unbatched(t.Shape, maxBatch), Optional: t.Optional})
	}
	for _, t := range m.Outputs {
		c.Output = append(c.Output, ConfigOutput{Name: t.Name, DataType: ConfigType(t.DType), Dims: unbatched(t.Shape, maxBatch)})
	}
	return c
}

func unbatched(shape []int64, maxBatch int) []int64 {
	if maxBatch > 0 {
		return shape[1:]
	}
	return shape
}

// ConfigType is a data type's name in configurations: TYPE_FP32, TYPE_STRING for BYTES.
func ConfigType(d tensor.DType) string {
	if d == tensor.Bytes {
		return "TYPE_STRING"
	}
	return "TYPE_" + strings.TrimPrefix(d.String(), "TYPE_")
}
