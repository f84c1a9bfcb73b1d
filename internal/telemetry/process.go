package telemetry

import (
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// AddProcess adds what Prometheus' clients tell of their process everywhere (process_cpu_seconds_total,
// process_resident_memory_bytes, process_open_fds...) and of Go's run time (go_goroutines, go_memstats_*).
func (m *Metrics) AddProcess() {
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}
