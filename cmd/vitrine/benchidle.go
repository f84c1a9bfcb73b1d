package main

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// deviceSeries are the beginnings of what a machine and a process say of themselves.
var deviceSeries = []string{"nv_gpu_", "nv_cpu_", "nv_energy_", "nv_pinned_", "DCGM_FI_", "process_resident_memory_bytes"}

// printIdle writes what servers without load said of their devices.
func printIdle(w io.Writer, all []*setting) error {
	t := newTable(w, "TARGET", "SERIES", "N", "MEAN", "MIN", "MAX")
	for _, s := range all {
		if s.first.Scenario != record.Idle {
			continue
		}
		series := map[string][]float64{}
		for _, c := range s.ok() {
			for _, sample := range c.Samples {
				addSeries(series, sample.Values)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(series)) {
			v := series[name]
			sum := 0.0
			for _, x := range v {
				sum += x
			}
			t.row(s.first.Subject, name, short(float64(len(v))), short(sum/float64(len(v))), short(slices.Min(v)), short(slices.Max(v)))
		}
	}
	return t.flush()
}

func addSeries(series map[string][]float64, values []record.Value) {
	for _, v := range values {
		if !slices.ContainsFunc(deviceSeries, func(p string) bool { return strings.HasPrefix(v.Name, p) }) {
			continue
		}
		name := v.Name
		for _, k := range slices.Sorted(maps.Keys(v.Labels)) {
			name += " " + k + "=" + v.Labels[k]
		}
		series[name] = append(series[name], v.Value)
	}
}
