package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vitrine-project/vitrine/internal/gpu"
)

// AddGPUs adds the cards' metrics under Triton's names, and those that Triton does not have under
// Vitrine's. Cards are read while the metrics are scraped, as often as the sampler allows.
func (m *Metrics) AddGPUs(s *gpu.Sampler) { m.registry.MustRegister(newGPUCollector(s)) }

// gpuValue is one metric of a card; a value below 0 is one that the card does not have.
type gpuValue struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*gpu.Sample) float64
}

type gpuCollector struct {
	sampler *gpu.Sampler
	values  []gpuValue
}

func newGPUCollector(s *gpu.Sampler) *gpuCollector {
	c := &gpuCollector{sampler: s}
	add := func(name, help string, kind prometheus.ValueType, of func(*gpu.Sample) float64) {
		c.values = append(c.values, gpuValue{prometheus.NewDesc(name, help, []string{"gpu_uuid"}, nil), kind, of})
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	add("nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)", gauge, func(s *gpu.Sample) float64 { return s.Utilization })
	add("nv_gpu_memory_total_bytes", "GPU total memory, in bytes", gauge, func(s *gpu.Sample) float64 { return float64(s.MemoryTotal) })
	add("nv_gpu_memory_used_bytes", "GPU used memory, in bytes", gauge, func(s *gpu.Sample) float64 { return float64(s.MemoryUsed) })
	add("nv_gpu_power_usage", "GPU power usage in watts", gauge, func(s *gpu.Sample) float64 { return s.Power })
	add("nv_gpu_power_limit", "GPU power management limit in watts", gauge, func(s *gpu.Sample) float64 { return s.PowerLimit })
	add("nv_energy_consumption", "GPU energy consumption in joules since the server started", counter, func(s *gpu.Sample) float64 { return s.Spent })
	add("vitrine_gpu_temperature_celsius", "GPU temperature in degrees Celsius.", gauge, func(s *gpu.Sample) float64 { return s.Temperature })
	add("vitrine_gpu_sm_clock_hertz", "Clock of the GPU's multiprocessors in hertz.", gauge, func(s *gpu.Sample) float64 { return s.ClockSM })
	add("vitrine_gpu_memory_clock_hertz", "Clock of the GPU's memory in hertz.", gauge, func(s *gpu.Sample) float64 { return s.ClockMemory })
	return c
}

// Describe implements prometheus.Collector.
func (c *gpuCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range c.values {
		ch <- v.desc
	}
}

// Collect implements prometheus.Collector.
func (c *gpuCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.sampler.Sample() {
		for _, v := range c.values {
			if x := v.of(&s); x >= 0 {
				ch <- prometheus.MustNewConstMetric(v.desc, v.kind, x, s.UUID)
			}
		}
	}
}
