package main

import (
	"errors"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/model"
)

// newGPU makes the GPU's engine. It is nil where the processor shall compute instead: with --engine cpu, or
// with --engine auto where no GPU can be used, which is said in the log unless there is none.
func (o *plantOptions) newGPU(m *model.Model) (engine.Engine, error) {
	if o.engine.name == "cpu" {
		return nil, nil
	}
	e, err := cuda.New(m, cuda.Options{Device: o.engine.device, Precision: engine.Precision(o.engine.precision),
		Instances: max(o.engine.instances, gpuInstances), MaxBatch: o.engine.maxBatch, Logger: o.log})
	if err == nil {
		return e, nil
	}
	if o.engine.name == "cuda" {
		return nil, err
	}
	if !errors.Is(err, driver.ErrNoDriver) {
		o.log.Warn("the GPU cannot be used, the processor computes", "reason", err)
	}
	return nil, nil
}

// gpuInstances: while one batch is computed, the next one's pixels are read.
const gpuInstances = 2

// onGPU tells whether only a GPU can do what is asked for.
func (e *engineFlags) onGPU() bool {
	return e.name == "cuda" || e.precision == string(engine.FP16)
}
