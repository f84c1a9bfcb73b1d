package onnxruntime

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// Accelerate sets what an execution accelerator of a Triton model configuration means: its name and its
// parameters as Triton's ONNX Runtime backend has them. A parameter without a meaning here is an error.
func (o *Options) Accelerate(name string, parameters map[string]string) error {
	set := map[string]string{}
	o.Provider = Provider(name)
	switch o.Provider {
	case TensorRT:
		if err := o.tensorRTParameters(parameters, set); err != nil {
			return fmt.Errorf("execution accelerator 'tensorrt': %w", err)
		}
	case CUDA, OpenVINO:
		maps.Copy(set, parameters) // ONNX Runtime's own names; it refuses those that it does not know
	default:
		return fmt.Errorf("execution accelerator '%s': this server has tensorrt, cuda and openvino", name)
	}
	maps.Copy(set, o.Settings)
	o.Settings = set
	return nil
}

// tensorRTParameters: Triton has names of its own for some options and passes on those that begin with trt_.
func (o *Options) tensorRTParameters(from, to map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(from)) {
		switch v := from[k]; {
		case k == "precision_mode":
			p, ok := map[string]engine.Precision{"FP32": engine.FP32, "FP16": engine.FP16, "BF16": engine.BF16}[v]
			if !ok {
				return fmt.Errorf("precision_mode '%s': want FP32, FP16 or BF16; INT8 has no contract here", v)
			}
			o.Precision = p
		case k == "max_workspace_size_bytes":
			to["trt_max_workspace_size"] = v
		case strings.HasPrefix(k, "trt_"):
			to[k] = truthNumber(v)
		default:
			return fmt.Errorf("parameter '%s' has no meaning", k)
		}
	}
	return nil
}

// truthNumber is true and false as the provider's options spell them.
func truthNumber(v string) string {
	switch strings.ToLower(v) {
	case "true":
		return "1"
	case "false":
		return "0"
	}
	return v
}
