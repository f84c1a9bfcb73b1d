// Package repository reads Triton's model repository: config.pbtxt and the folders around it. It knows
// every field of model_config.proto, says which of them mean something here, and refuses the others by
// name, so that no setting is silently without effect.
package repository

// Config is a model's configuration, field by field that of Triton 2.51. Fields are in the order of
// the protocol's file, which is that of Triton's JSON; a nil message is one that was not given.
type Config struct {
	_                      struct{}             `proto:"inference.ModelConfig"`
	Name                   string               `json:"name"`
	Platform               string               `json:"platform"`
	Backend                string               `json:"backend"`
	Runtime                string               `json:"runtime"`
	VersionPolicy          *VersionPolicy       `json:"version_policy,omitempty"`
	MaxBatchSize           int32                `json:"max_batch_size"`
	Input                  []Input              `json:"input"`
	Output                 []Output             `json:"output"`
	BatchInput             []BatchInput         `json:"batch_input"`
	BatchOutput            []BatchOutput        `json:"batch_output"`
	Optimization           *Optimization        `json:"optimization,omitempty"`
	DynamicBatching        *DynamicBatching     `json:"dynamic_batching,omitempty" oneof:"scheduling_choice"`
	SequenceBatching       *SequenceBatching    `json:"sequence_batching,omitempty" oneof:"scheduling_choice"`
	EnsembleScheduling     *Ensemble            `json:"ensemble_scheduling,omitempty" oneof:"scheduling_choice"`
	InstanceGroup          []InstanceGroup      `json:"instance_group"`
	DefaultModelFilename   string               `json:"default_model_filename"`
	CCModelFilenames       map[string]string    `json:"cc_model_filenames"`
	MetricTags             map[string]string    `json:"metric_tags"`
	Parameters             map[string]Parameter `json:"parameters"`
	ModelWarmup            []Warmup             `json:"model_warmup"`
	ModelOperations        *Operations          `json:"model_operations,omitempty"`
	ModelTransactionPolicy *TransactionPolicy   `json:"model_transaction_policy,omitempty"`
	ModelRepositoryAgents  *RepositoryAgents    `json:"model_repository_agents,omitempty"`
	ResponseCache          *ResponseCache       `json:"response_cache,omitempty"`
	ModelMetrics           *Metrics             `json:"model_metrics,omitempty"`
}

// VersionPolicy says which versions of a model are served.
type VersionPolicy struct {
	_        struct{}  `proto:"inference.ModelVersionPolicy"`
	Latest   *Latest   `json:"latest,omitempty" oneof:"policy_choice"`
	All      *All      `json:"all,omitempty" oneof:"policy_choice"`
	Specific *Specific `json:"specific,omitempty" oneof:"policy_choice"`
}

// Latest serves so many of the highest versions.
type Latest struct {
	_           struct{} `proto:"inference.ModelVersionPolicy.Latest"`
	NumVersions uint32   `json:"num_versions"`
}

// All serves every version.
type All struct {
	_ struct{} `proto:"inference.ModelVersionPolicy.All"`
}

// Specific serves the versions listed.
type Specific struct {
	_        struct{} `proto:"inference.ModelVersionPolicy.Specific"`
	Versions []int64  `json:"versions"`
}

// Input declares an input; Dims leave the batch dimension out, -1 varies.
type Input struct {
	_                   struct{} `proto:"inference.ModelInput"`
	Name                string   `json:"name"`
	DataType            DataType `json:"data_type"`
	Format              Format   `json:"format"`
	Dims                []int64  `json:"dims"`
	Reshape             *Reshape `json:"reshape,omitempty"`
	IsShapeTensor       bool     `json:"is_shape_tensor"`
	AllowRaggedBatch    bool     `json:"allow_ragged_batch"`
	Optional            bool     `json:"optional"`
	IsNonLinearFormatIO bool     `json:"is_non_linear_format_io"`
}

// Output declares an output.
type Output struct {
	_                   struct{} `proto:"inference.ModelOutput"`
	Name                string   `json:"name"`
	DataType            DataType `json:"data_type"`
	Dims                []int64  `json:"dims"`
	Reshape             *Reshape `json:"reshape,omitempty"`
	LabelFilename       string   `json:"label_filename"`
	IsShapeTensor       bool     `json:"is_shape_tensor"`
	IsNonLinearFormatIO bool     `json:"is_non_linear_format_io"`
}

// Reshape is the shape that the model itself sees.
type Reshape struct {
	_     struct{} `proto:"inference.ModelTensorReshape"`
	Shape []int64  `json:"shape"`
}

// BatchInput is an input that the batcher makes.
type BatchInput struct {
	_           struct{}       `proto:"inference.BatchInput"`
	Kind        BatchInputKind `json:"kind"`
	TargetName  []string       `json:"target_name"`
	DataType    DataType       `json:"data_type"`
	SourceInput []string       `json:"source_input"`
}

// BatchOutput is an output that the batcher takes apart.
type BatchOutput struct {
	_           struct{}        `proto:"inference.BatchOutput"`
	TargetName  []string        `json:"target_name"`
	Kind        BatchOutputKind `json:"kind"`
	SourceInput []string        `json:"source_input"`
}

// Optimization is how the model is to be made fast.
type Optimization struct {
	_                           struct{}      `proto:"inference.ModelOptimizationPolicy"`
	Graph                       *Graph        `json:"graph,omitempty"`
	Priority                    ModelPriority `json:"priority"`
	CUDA                        *CUDA         `json:"cuda,omitempty"`
	ExecutionAccelerators       *Accelerators `json:"execution_accelerators,omitempty"`
	InputPinnedMemory           *PinnedMemory `json:"input_pinned_memory,omitempty"`
	OutputPinnedMemory          *PinnedMemory `json:"output_pinned_memory,omitempty"`
	GatherKernelBufferThreshold uint32        `json:"gather_kernel_buffer_threshold"`
	EagerBatching               bool          `json:"eager_batching"`
}

// Graph is the level of a framework's own optimisation.
type Graph struct {
	_     struct{} `proto:"inference.ModelOptimizationPolicy.Graph"`
	Level int32    `json:"level"`
}

// CUDA are settings of CUDA graphs and streams.
type CUDA struct {
	_                struct{}    `proto:"inference.ModelOptimizationPolicy.Cuda"`
	Graphs           bool        `json:"graphs"`
	BusyWaitEvents   bool        `json:"busy_wait_events"`
	GraphSpec        []GraphSpec `json:"graph_spec"`
	OutputCopyStream bool        `json:"output_copy_stream"`
}

// GraphSpec is a batch for which a CUDA graph is captured.
type GraphSpec struct {
	_               struct{}              `proto:"inference.ModelOptimizationPolicy.Cuda.GraphSpec"`
	BatchSize       int32                 `json:"batch_size"`
	Input           map[string]GraphShape `json:"input"`
	GraphLowerBound *LowerBound           `json:"graph_lower_bound,omitempty"`
}

// GraphShape is the shape of an input in a graph.
type GraphShape struct {
	_   struct{} `proto:"inference.ModelOptimizationPolicy.Cuda.GraphSpec.Shape"`
	Dim []int64  `json:"dim"`
}

// LowerBound is the smallest batch for which a graph is used.
type LowerBound struct {
	_         struct{}              `proto:"inference.ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound"`
	BatchSize int32                 `json:"batch_size"`
	Input     map[string]GraphShape `json:"input"`
}

// Accelerators are execution providers, by device.
type Accelerators struct {
	_                       struct{}      `proto:"inference.ModelOptimizationPolicy.ExecutionAccelerators"`
	GPUExecutionAccelerator []Accelerator `json:"gpu_execution_accelerator"`
	CPUExecutionAccelerator []Accelerator `json:"cpu_execution_accelerator"`
}

// Accelerator is an execution provider, such as tensorrt, and its options.
type Accelerator struct {
	_          struct{}          `proto:"inference.ModelOptimizationPolicy.ExecutionAccelerators.Accelerator"`
	Name       string            `json:"name"`
	Parameters map[string]string `json:"parameters"`
}

// PinnedMemory is a switch.
type PinnedMemory struct {
	_      struct{} `proto:"inference.ModelOptimizationPolicy.PinnedMemoryBuffer"`
	Enable bool     `json:"enable"`
}

// DynamicBatching is how requests are gathered into batches.
type DynamicBatching struct {
	_                         struct{}               `proto:"inference.ModelDynamicBatching"`
	PreferredBatchSize        []int32                `json:"preferred_batch_size"`
	MaxQueueDelayMicroseconds uint64                 `json:"max_queue_delay_microseconds"`
	PreserveOrdering          bool                   `json:"preserve_ordering"`
	PriorityLevels            uint64                 `json:"priority_levels"`
	DefaultPriorityLevel      uint64                 `json:"default_priority_level"`
	DefaultQueuePolicy        *QueuePolicy           `json:"default_queue_policy,omitempty"`
	PriorityQueuePolicy       map[uint64]QueuePolicy `json:"priority_queue_policy"`
}

// QueuePolicy bounds a queue; MaxQueueSize 0 is no bound.
type QueuePolicy struct {
	_                          struct{}      `proto:"inference.ModelQueuePolicy"`
	TimeoutAction              TimeoutAction `json:"timeout_action"`
	DefaultTimeoutMicroseconds uint64        `json:"default_timeout_microseconds"`
	AllowTimeoutOverride       bool          `json:"allow_timeout_override"`
	MaxQueueSize               uint32        `json:"max_queue_size"`
}

// SequenceBatching sends a sequence's requests to one instance.
type SequenceBatching struct {
	_                           struct{}       `proto:"inference.ModelSequenceBatching"`
	Direct                      *Direct        `json:"direct,omitempty" oneof:"strategy_choice"`
	Oldest                      *Oldest        `json:"oldest,omitempty" oneof:"strategy_choice"`
	MaxSequenceIdleMicroseconds uint64         `json:"max_sequence_idle_microseconds"`
	ControlInput                []ControlInput `json:"control_input"`
	State                       []State        `json:"state"`
	IterativeSequence           bool           `json:"iterative_sequence"`
}

// Direct gives each sequence a place in the batch.
type Direct struct {
	_                         struct{} `proto:"inference.ModelSequenceBatching.StrategyDirect"`
	MaxQueueDelayMicroseconds uint64   `json:"max_queue_delay_microseconds"`
	MinimumSlotUtilization    float32  `json:"minimum_slot_utilization"`
}

// Oldest batches the oldest requests of many sequences.
type Oldest struct {
	_                         struct{} `proto:"inference.ModelSequenceBatching.StrategyOldest"`
	MaxCandidateSequences     int32    `json:"max_candidate_sequences"`
	PreferredBatchSize        []int32  `json:"preferred_batch_size"`
	MaxQueueDelayMicroseconds uint64   `json:"max_queue_delay_microseconds"`
	PreserveOrdering          bool     `json:"preserve_ordering"`
}

// ControlInput is a tensor by which the model is told of sequences.
type ControlInput struct {
	_       struct{}  `proto:"inference.ModelSequenceBatching.ControlInput"`
	Name    string    `json:"name"`
	Control []Control `json:"control"`
}

// Control is what a control tensor says, and as which values.
type Control struct {
	_              struct{}    `proto:"inference.ModelSequenceBatching.Control"`
	Kind           ControlKind `json:"kind"`
	Int32FalseTrue []int32     `json:"int32_false_true"`
	Fp32FalseTrue  []float32   `json:"fp32_false_true"`
	BoolFalseTrue  []bool      `json:"bool_false_true"`
	DataType       DataType    `json:"data_type"`
}

// State is a tensor kept between a sequence's requests.
type State struct {
	_                           struct{}       `proto:"inference.ModelSequenceBatching.State"`
	InputName                   string         `json:"input_name"`
	OutputName                  string         `json:"output_name"`
	DataType                    DataType       `json:"data_type"`
	Dims                        []int64        `json:"dims"`
	InitialState                []InitialState `json:"initial_state"`
	UseSameBufferForInputOutput bool           `json:"use_same_buffer_for_input_output"`
	UseGrowableMemory           bool           `json:"use_growable_memory"`
}

// InitialState is a state at a sequence's start.
type InitialState struct {
	_        struct{} `proto:"inference.ModelSequenceBatching.InitialState"`
	DataType DataType `json:"data_type"`
	Dims     []int64  `json:"dims"`
	ZeroData *bool    `json:"zero_data,omitempty" oneof:"state_data"`
	DataFile *string  `json:"data_file,omitempty" oneof:"state_data"`
	Name     string   `json:"name"`
}

// Ensemble is a model made of others.
type Ensemble struct {
	_    struct{} `proto:"inference.ModelEnsembling"`
	Step []Step   `json:"step"`
}

// Step is one model of an ensemble.
type Step struct {
	_              struct{}          `proto:"inference.ModelEnsembling.Step"`
	ModelName      string            `json:"model_name"`
	ModelVersion   int64             `json:"model_version"`
	InputMap       map[string]string `json:"input_map"`
	OutputMap      map[string]string `json:"output_map"`
	ModelNamespace string            `json:"model_namespace"`
}

// InstanceGroup is where and how often the model runs.
type InstanceGroup struct {
	_                struct{}          `proto:"inference.ModelInstanceGroup"`
	Name             string            `json:"name"`
	Kind             Kind              `json:"kind"`
	Count            int32             `json:"count"`
	RateLimiter      *RateLimiter      `json:"rate_limiter,omitempty"`
	GPUs             []int32           `json:"gpus"`
	SecondaryDevices []SecondaryDevice `json:"secondary_devices"`
	Profile          []string          `json:"profile"`
	Passive          bool              `json:"passive"`
	HostPolicy       string            `json:"host_policy"`
}

// RateLimiter is what an execution needs before it may start.
type RateLimiter struct {
	_         struct{}   `proto:"inference.ModelRateLimiter"`
	Resources []Resource `json:"resources"`
	Priority  uint32     `json:"priority"`
}

// Resource is a number of units of something.
type Resource struct {
	_      struct{} `proto:"inference.ModelRateLimiter.Resource"`
	Name   string   `json:"name"`
	Global bool     `json:"global"`
	Count  uint32   `json:"count"`
}

// SecondaryDevice is a device beside the main one.
type SecondaryDevice struct {
	_        struct{}   `proto:"inference.ModelInstanceGroup.SecondaryDevice"`
	Kind     DeviceKind `json:"kind"`
	DeviceID int64      `json:"device_id"`
}

// Parameter is a value of Config.Parameters.
type Parameter struct {
	_           struct{} `proto:"inference.ModelParameter"`
	StringValue string   `json:"string_value"`
}

// Warmup is a request that the model answers before clients may send any.
type Warmup struct {
	_         struct{}               `proto:"inference.ModelWarmup"`
	Name      string                 `json:"name"`
	BatchSize uint32                 `json:"batch_size"`
	Inputs    map[string]WarmupInput `json:"inputs"`
	Count     uint32                 `json:"count"`
}

// WarmupInput is an input of a warm-up request.
type WarmupInput struct {
	_             struct{} `proto:"inference.ModelWarmup.Input"`
	DataType      DataType `json:"data_type"`
	Dims          []int64  `json:"dims"`
	ZeroData      *bool    `json:"zero_data,omitempty" oneof:"input_data_type"`
	RandomData    *bool    `json:"random_data,omitempty" oneof:"input_data_type"`
	InputDataFile *string  `json:"input_data_file,omitempty" oneof:"input_data_type"`
}

// Operations are libraries of custom operators.
type Operations struct {
	_                 struct{} `proto:"inference.ModelOperations"`
	OpLibraryFilename []string `json:"op_library_filename"`
}

// TransactionPolicy tells whether a request may have other than one answer.
type TransactionPolicy struct {
	_         struct{} `proto:"inference.ModelTransactionPolicy"`
	Decoupled bool     `json:"decoupled"`
}

// RepositoryAgents change a model's files before it is loaded.
type RepositoryAgents struct {
	_      struct{} `proto:"inference.ModelRepositoryAgents"`
	Agents []Agent  `json:"agents"`
}

// Agent is one of them.
type Agent struct {
	_          struct{}          `proto:"inference.ModelRepositoryAgents.Agent"`
	Name       string            `json:"name"`
	Parameters map[string]string `json:"parameters"`
}

// ResponseCache answers equal requests from memory.
type ResponseCache struct {
	_      struct{} `proto:"inference.ModelResponseCache"`
	Enable bool     `json:"enable"`
}

// Metrics are settings of a model's own metrics.
type Metrics struct {
	_             struct{}        `proto:"inference.ModelMetrics"`
	MetricControl []MetricControl `json:"metric_control"`
}

// MetricControl is the setting of one metric family.
type MetricControl struct {
	_                struct{}          `proto:"inference.ModelMetrics.MetricControl"`
	MetricIdentifier *MetricIdentifier `json:"metric_identifier,omitempty"`
	HistogramOptions *HistogramOptions `json:"histogram_options,omitempty" oneof:"metric_options"`
}

// MetricIdentifier names a metric family.
type MetricIdentifier struct {
	_      struct{} `proto:"inference.ModelMetrics.MetricControl.MetricIdentifier"`
	Family string   `json:"family"`
}

// HistogramOptions are a histogram's bounds.
type HistogramOptions struct {
	_       struct{}  `proto:"inference.ModelMetrics.MetricControl.HistogramOptions"`
	Buckets []float64 `json:"buckets"`
}
