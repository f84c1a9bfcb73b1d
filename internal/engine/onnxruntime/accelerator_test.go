package onnxruntime

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/engine"
)

func TestAccelerate(t *testing.T) {
	o := Options{Settings: map[string]string{"trt_builder_optimization_level": "2"}}
	err := o.Accelerate("tensorrt", map[string]string{
		"precision_mode": "FP16", "max_workspace_size_bytes": "1073741824", "trt_engine_cache_enable": "true", "trt_engine_cache_path": "/models/cache",
		"trt_builder_optimization_level": "5",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"trt_max_workspace_size": "1073741824", "trt_engine_cache_enable": "1", "trt_engine_cache_path": "/models/cache",
		"trt_builder_optimization_level": "2"}
	if diff := cmp.Diff(want, o.Settings); diff != "" || o.Provider != TensorRT || o.Precision != engine.FP16 {
		t.Errorf("%s %s\n%s", o.Provider, o.Precision, diff)
	}
	for _, c := range []struct{ name, key, value, want string }{
		{"tensorrt", "precision_mode", "INT8", "precision_mode 'INT8'"},
		{"tensorrt", "int8_calibration_table_name", "t", "'int8_calibration_table_name' has no meaning"},
		{"rocm", "x", "y", "execution accelerator 'rocm'"},
	} {
		o := Options{}
		if err := o.Accelerate(c.name, map[string]string{c.key: c.value}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v", c.name, c.key, err)
		}
	}
}
