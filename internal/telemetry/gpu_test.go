package telemetry

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/gpu"
)

// cards are two of which the second cannot be read, and the first counts no energy.
type cards struct{}

func (cards) Cards() []gpu.Card {
	return []gpu.Card{{Index: 0, UUID: "GPU-1"}, {Index: 1, UUID: "GPU-2"}}
}

func (cards) Read(i int) (gpu.Reading, error) {
	if i == 1 {
		return gpu.Reading{}, errors.New("lost")
	}
	return gpu.Reading{MemoryTotal: 80e9, MemoryUsed: 3.3e9, Utilization: .041, Power: 67, PowerLimit: 400, Energy: -1, Temperature: 30, ClockSM: 1.2e9, ClockMemory: 1.5e9}, nil
}

func TestGPUsUnderTritonsNames(t *testing.T) {
	m := NewMetrics(MetricsOptions{Proc: "testdata/proc"})
	m.AddGPUs(gpu.NewSampler(cards{}, 0))
	text := scrape(m)
	for _, want := range []string{
		`nv_gpu_utilization{gpu_uuid="GPU-1"} 0.041`, `nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 8e+10`, `nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 3.3e+09`,
		`nv_gpu_power_usage{gpu_uuid="GPU-1"} 67`, `nv_gpu_power_limit{gpu_uuid="GPU-1"} 400`, `vitrine_gpu_temperature_celsius{gpu_uuid="GPU-1"} 30`,
		`vitrine_gpu_sm_clock_hertz{gpu_uuid="GPU-1"} 1.2e+09`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for _, no := range []string{"nv_energy_consumption", "GPU-2"} {
		if strings.Contains(text, no) {
			t.Errorf("%s is there", no)
		}
	}
}

func TestProcessMetrics(t *testing.T) {
	m := NewMetrics(MetricsOptions{Proc: "testdata/proc"})
	m.AddProcess()
	want := []string{"go_goroutines ", "go_memstats_heap_alloc_bytes "}
	if runtime.GOOS == "linux" {
		want = append(want, "process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ")
	}
	text := scrape(m)
	for _, w := range want {
		if !strings.Contains(text, "\n"+w) {
			t.Errorf("no %s in\n%s", w, text)
		}
	}
}
