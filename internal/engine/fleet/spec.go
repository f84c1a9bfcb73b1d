package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// compatible tells whether two engines can answer for each other.
func compatible(a, b engine.Spec) error {
	for _, c := range []struct {
		what string
		same bool
		a, b any
	}{
		{"engine", a.Name == b.Name, a.Name, b.Name},
		{"precision", a.Precision == b.Precision, a.Precision, b.Precision},
		{"modality", a.Modality == b.Modality, a.Modality, b.Modality},
		{"width", a.Width == b.Width, a.Width, b.Width},
		{"height", a.Height == b.Height, a.Height, b.Height},
		{"formats", slices.Equal(a.Formats, b.Formats), a.Formats, b.Formats},
		{"outputs", slices.Equal(a.Outputs, b.Outputs), a.Outputs, b.Outputs},
	} {
		if !c.same {
			return fmt.Errorf("of another %s: %v and %v", c.what, c.a, c.b)
		}
	}
	return nil
}

// merge describes compatible engines together. The largest batch, and with it the planned ones, is that
// of the engine whose largest is the smallest.
func merge(specs []engine.Spec) engine.Spec {
	all := specs[0]
	var variants, devices []string
	all.InFlight, all.Memory = 0, engine.Memory{}
	for _, s := range specs {
		variants, devices = append(variants, s.Variant), append(devices, s.Device)
		all.InFlight += s.InFlight
		if s.MaxBatch < all.MaxBatch {
			all.MaxBatch, all.Batches = s.MaxBatch, s.Batches
		}
		all.Memory.HostFixed += s.Memory.HostFixed
		all.Memory.DeviceFixed += s.Memory.DeviceFixed
		all.Memory.HostPerItem = max(all.Memory.HostPerItem, s.Memory.HostPerItem)
		all.Memory.DevicePerItem = max(all.Memory.DevicePerItem, s.Memory.DevicePerItem)
	}
	all.Variant, all.Device = list(variants), list(devices)
	return all
}

// list names each once.
func list(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}
