package telemetry

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// machine reads the processor's use and the memory from /proc at every scrape. The utilisation is
// that of the time between two scrapes; the first scrape's counts from the machine's start. Where
// /proc is missing the metrics are.
type machine struct {
	proc                     string
	utilization, total, used *prometheus.Desc

	mu   sync.Mutex
	last cpuTimes
}

func newMachine(proc string) *machine {
	if proc == "" {
		proc = "/proc"
	}
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &machine{
		proc:        proc,
		utilization: desc("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]"),
		total:       desc("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes"),
		used:        desc("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes"),
	}
}

// Describe implements prometheus.Collector.
func (m *machine) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.utilization
	ch <- m.total
	ch <- m.used
}

// Collect implements prometheus.Collector.
func (m *machine) Collect(ch chan<- prometheus.Metric) {
	if u, ok := m.busy(); ok {
		ch <- prometheus.MustNewConstMetric(m.utilization, prometheus.GaugeValue, u)
	}
	info, err := os.ReadFile(filepath.Join(m.proc, "meminfo"))
	if total, used, ok := parseMeminfo(string(info)); err == nil && ok {
		ch <- prometheus.MustNewConstMetric(m.total, prometheus.GaugeValue, float64(total))
		ch <- prometheus.MustNewConstMetric(m.used, prometheus.GaugeValue, float64(used))
	}
}

// busy is the share of processor time spent on work since the last call.
func (m *machine) busy() (float64, bool) {
	stat, err := os.ReadFile(filepath.Join(m.proc, "stat"))
	now, ok := parseStat(string(stat))
	if err != nil || !ok {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.last
	m.last = now
	return now.since(was), true
}

// cpuTimes are the machine's processor times since its start, in clock ticks.
type cpuTimes struct{ total, idle uint64 }

func (t cpuTimes) since(was cpuTimes) float64 {
	if t.total <= was.total || t.idle < was.idle {
		return 0
	}
	total, idle := t.total-was.total, t.idle-was.idle
	if idle > total {
		return 0
	}
	return float64(total-idle) / float64(total)
}

// parseStat reads the first line of /proc/stat:
// cpu user nice system idle iowait irq softirq steal guest guest_nice.
// Guest time is part of user and nice already; waiting for input and output is idle.
func parseStat(s string) (cpuTimes, bool) {
	line, _, _ := strings.Cut(s, "\n")
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return cpuTimes{}, false
	}
	var t cpuTimes
	for i, f := range fields[1:min(len(fields), 9)] {
		v, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return cpuTimes{}, false
		}
		t.total += v
		if i == 3 || i == 4 {
			t.idle += v
		}
	}
	return t, true
}

// parseMeminfo reads /proc/meminfo, whose values are in kibibytes; used is what is not available.
func parseMeminfo(s string) (total, used uint64, ok bool) {
	total, hasTotal := meminfoBytes(s, "MemTotal:")
	available, hasAvailable := meminfoBytes(s, "MemAvailable:")
	if !hasTotal || !hasAvailable || available > total {
		return 0, 0, false
	}
	return total, total - available, true
}

func meminfoBytes(s, key string) (uint64, bool) {
	for line := range strings.Lines(s) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != key {
			continue
		}
		v, err := strconv.ParseUint(fields[1], 10, 54)
		return v * 1024, err == nil
	}
	return 0, false
}
