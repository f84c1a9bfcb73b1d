package fleet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// answering is the CUDA engine on a pretended driver, which computes nothing: the answer is put in its
// place after the run.
type answering struct{ *cuda.Engine }

func (a *answering) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	t, err := a.Engine.Run(ctx, rows, out)
	for i := range out {
		null.Vector(out[i], rows[i].Bytes())
	}
	return t, err
}

// TestPretendedGPUs has 1 to 8 GPUs serve, one of which loses its context under load and gets it back.
func TestPretendedGPUs(t *testing.T) {
	c, ok := model.Preset("ViT-B-32")
	if !ok {
		t.Fatal("no preset")
	}
	c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Heads, c.MLP, c.EmbedDim = 32, 16, 64, 1, 1, 128, 64
	m, err := model.Synthetic(c, model.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for n := 1; n <= 8; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { pretend(t, m, n) })
		})
	}
}

func pretend(t *testing.T, m *model.Model, n int) {
	var lost atomic.Bool // the first card's context
	var opened atomic.Int64
	open := func(ordinal int) (driver.GPU, error) {
		g := drivertest.New()
		opened.Add(1)
		if ordinal == 0 {
			g.Fail = func(call string) error {
				if lost.Load() {
					return &driver.Error{Call: call, Code: 700, Name: "CUDA_ERROR_ILLEGAL_ADDRESS", Text: "an illegal memory access was encountered"}
				}
				return nil
			}
		}
		return g, nil
	}
	var devices []Device
	for i := range n {
		devices = append(devices, Device{GPU: i, Instances: 2})
	}
	f, err := New(t.Context(), devices, func(_ context.Context, d Device) (engine.Engine, error) {
		e, err := cuda.New(m, cuda.Options{Device: d.GPU, Instances: d.Instances, MaxBatch: 4, Logger: quiet, Open: open})
		if err != nil {
			return nil, err
		}
		return &answering{e}, nil
	}, Options{Timeout: time.Minute, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, fleet: f}
	burst := func(wantFailures bool) {
		var all sync.WaitGroup
		var failed atomic.Int64
		for w := range 2 * n {
			all.Go(func() {
				for b := range 20 {
					if err := g.runOf(32, 64, byte(w), byte(b)); err != nil {
						failed.Add(1)
					}
				}
			})
		}
		all.Wait()
		if (failed.Load() > 0) != wantFailures {
			t.Errorf("%d GPUs: %d batches failed", n, failed.Load())
		}
	}
	burst(false)
	lost.Store(true)
	burst(n == 1)
	if up := g.up(); up != n-1 {
		t.Errorf("%d of %d GPUs are up after one was lost", up, n)
	}
	lost.Store(false)
	time.Sleep(2 * maxDelay)
	if up := g.up(); up != n || opened.Load() != int64(n+1) {
		t.Errorf("%d of %d GPUs are up, %d were opened", up, n, opened.Load())
	}
	burst(false)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
