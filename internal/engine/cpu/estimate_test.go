package cpu

import (
	"fmt"
	"testing"

	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestEstimateIsWhatTheEngineTakes compares with engines that were made.
func TestEstimateIsWhatTheEngineTakes(t *testing.T) {
	for _, c := range []model.Config{
		small(model.GELU),
		config(40, 8, 60, 1, 3, 100, 20, model.GELU), // nothing is a multiple of a register
		config(96, 8, 48, 3, 3, 96, 24, model.QuickGELU),
	} {
		for _, p := range precisions {
			for _, instances := range []int{1, 3} {
				t.Run(fmt.Sprintf("%dx%d/%s/%d", c.Width, c.Layers, p, instances), func(t *testing.T) {
					o := Options{Precision: p, Threads: 1, Instances: instances, MaxBatch: 5}
					got, err := Estimate(c, o)
					if err != nil {
						t.Fatal(err)
					}
					spec := open(t, formulaModel(c), o).Spec()
					rows := int64(2 * 5 * instances)
					want := spec.Memory.HostFixed + rows*(spec.Memory.HostPerItem+int64(tensor.FormatFloat32CHW.Size(c.ImageSize, c.ImageSize)))
					if got != want {
						t.Errorf("%d bytes, the engine takes %d", got, want)
					}
				})
			}
		}
	}
	if _, err := Estimate(small(model.GELU), Options{Precision: "fp7"}); err == nil {
		t.Error("a precision that does not exist was estimated")
	}
}
