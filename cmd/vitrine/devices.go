package main

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/front/ops"
	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// addDevices adds the process' and the cards' metrics, and returns what /gpu-info tells of the cards: nil
// on a machine without any.
func addDevices(m *telemetry.Metrics, interval time.Duration, open func() (gpu.Source, error)) func() []ops.GPU {
	m.AddProcess()
	source, err := open()
	if err != nil || len(source.Cards()) == 0 {
		return nil
	}
	sampler := gpu.NewSampler(source, interval)
	m.AddGPUs(sampler)
	return func() (all []ops.GPU) {
		for _, s := range sampler.Sample() {
			all = append(all, gpuInfo(&s))
		}
		return all
	}
}

// openNVML is gpu.Open as a source.
func openNVML() (gpu.Source, error) {
	n, err := gpu.Open()
	if err != nil {
		return nil, err
	}
	return n, nil
}

func gpuInfo(s *gpu.Sample) ops.GPU {
	known := func(v float64) *float64 {
		if v < 0 {
			return nil
		}
		return &v
	}
	return ops.GPU{
		Index: s.Index, Name: s.Name, UUID: s.UUID, Driver: s.Driver, MemoryTotal: s.MemoryTotal, MemoryUsed: s.MemoryUsed,
		Utilization: known(s.Utilization), Power: known(s.Power), PowerLimit: known(s.PowerLimit), Energy: known(s.Spent),
		Temperature: known(s.Temperature), ClockSM: known(s.ClockSM), ClockMemory: known(s.ClockMemory),
	}
}
