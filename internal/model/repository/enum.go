package repository

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// The enumerations of model_config.proto, by name; each type's first name is its default. A number in
// a file is the index of a name.
type (
	// DataType is TYPE_FP32 and so on; BYTES is TYPE_STRING.
	DataType string
	// Format is how an input's dimensions are meant.
	Format string
	// Kind is on what an instance runs.
	Kind string
	// TimeoutAction is what becomes of a request whose time in the queue is over.
	TimeoutAction string
	// ModelPriority orders models on one device.
	ModelPriority string
	// ControlKind is what a sequence's control tensor says.
	ControlKind string
	// BatchInputKind is what a batch input holds.
	BatchInputKind string
	// BatchOutputKind is how a batch output is taken apart.
	BatchOutputKind string
	// DeviceKind is the kind of a secondary device.
	DeviceKind string
)

var dataTypes = []string{"TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64", "TYPE_INT8",
	"TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_STRING", "TYPE_BF16"}

func (DataType) names() []string      { return dataTypes }
func (Format) names() []string        { return []string{"FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"} }
func (Kind) names() []string          { return []string{"KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"} }
func (TimeoutAction) names() []string { return []string{"REJECT", "DELAY"} }
func (ModelPriority) names() []string {
	return []string{"PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN"}
}
func (ControlKind) names() []string {
	return []string{"CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_CORRID"}
}
func (BatchInputKind) names() []string {
	return []string{"BATCH_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
		"BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", "BATCH_ITEM_SHAPE", "BATCH_ITEM_SHAPE_FLATTEN"}
}
func (BatchOutputKind) names() []string { return []string{"BATCH_SCATTER_WITH_INPUT_SHAPE"} }
func (DeviceKind) names() []string      { return []string{"KIND_NVDLA"} }

// UnmarshalJSON reads a name or a number; so do those of the other enumerations.
func (e *DataType) UnmarshalJSON(b []byte) error        { return enumJSON(b, e) }
func (e *Format) UnmarshalJSON(b []byte) error          { return enumJSON(b, e) }
func (e *Kind) UnmarshalJSON(b []byte) error            { return enumJSON(b, e) }
func (e *TimeoutAction) UnmarshalJSON(b []byte) error   { return enumJSON(b, e) }
func (e *ModelPriority) UnmarshalJSON(b []byte) error   { return enumJSON(b, e) }
func (e *ControlKind) UnmarshalJSON(b []byte) error     { return enumJSON(b, e) }
func (e *BatchInputKind) UnmarshalJSON(b []byte) error  { return enumJSON(b, e) }
func (e *BatchOutputKind) UnmarshalJSON(b []byte) error { return enumJSON(b, e) }
func (e *DeviceKind) UnmarshalJSON(b []byte) error      { return enumJSON(b, e) }

func enumJSON[E interface {
	~string
	enum
}](b []byte, into *E) error {
	var zero E
	names := zero.names()
	var n int
	if json.Unmarshal(b, &n) == nil {
		if n < 0 || n >= len(names) {
			return fmt.Errorf("%d is none of the %d values of its enumeration", n, len(names))
		}
		*into = E(names[n])
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if !slices.Contains(names, s) {
		return fmt.Errorf("invalid value %q for an enumeration of %v", s, names)
	}
	*into = E(s)
	return nil
}

// DType is the tensor type, Invalid for TYPE_INVALID.
func (e DataType) DType() tensor.DType {
	if e == "TYPE_STRING" {
		return tensor.Bytes
	}
	if len(e) < len("TYPE_") {
		return tensor.Invalid
	}
	return tensor.Parse(string(e[len("TYPE_"):]))
}
