package main

import (
	"context"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/model"
)

// gpuInstances: while one batch is computed, the next one's pixels are read.
const gpuInstances = 2

// openCUDA makes the native GPU engine.
func openCUDA(o *plantOptions, m *model.Model) (engine.Engine, error) {
	return cuda.New(m, cuda.Options{Device: o.engine.device, Precision: engine.Precision(o.engine.precision),
		Instances: max(o.engine.instances, gpuInstances), MaxBatch: o.engine.maxBatch, Logger: o.log})
}

// checkCUDA asks the driver for its devices; what a device lacks shows when the engine is made.
func checkCUDA(_ context.Context, f *engineFlags, _ engine.Precision) (string, error) {
	n, err := driver.Count()
	switch {
	case err != nil:
		return "", err
	case f.device >= n:
		return "", fmt.Errorf("no GPU %d: the driver has %d", f.device, n)
	}
	return fmt.Sprintf("GPU %d of %d", f.device, n), nil
}
