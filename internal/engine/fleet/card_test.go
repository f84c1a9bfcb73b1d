package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/model"
)

// TestComplianceOnCards runs the suite on all cards of this machine together; a single card is two devices,
// so that rows of one are computed by the other.
func TestComplianceOnCards(t *testing.T) {
	n, err := driver.Count()
	if err != nil {
		t.Skip(err)
	}
	c, ok := model.Preset("ViT-B-32")
	if !ok {
		t.Fatal("no preset")
	}
	c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Heads, c.MLP, c.EmbedDim = 64, 16, 128, 2, 2, 256, 64
	m, err := model.Synthetic(c, model.SyntheticOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var devices []Device
	for i := range max(n, 2) {
		devices = append(devices, Device{GPU: i, Instances: 2})
	}
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		f, err := New(t.Context(), devices, func(_ context.Context, d Device) (engine.Engine, error) {
			return cuda.New(m, cuda.Options{Device: d.GPU % n, Instances: d.Instances, MaxBatch: 24, Logger: quiet})
		}, Options{Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
