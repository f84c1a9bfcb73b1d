package service

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// breakable is the null engine of a card that may be broken.
type breakable struct {
	*null.Engine
	broken *atomic.Bool
}

func (b *breakable) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if b.broken.Load() {
		return engine.Timings{}, fault.New(fault.Unavailable, "the card fell off the bus")
	}
	return b.Engine.Run(ctx, rows, out)
}

// TestDevicesThatFailAndReturn loses one card and then the other: the model is ready while one is left,
// not ready with none, and again when one is back.
func TestDevicesThatFailAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken [2]atomic.Bool
		f, err := fleet.New(t.Context(), []fleet.Device{{GPU: 0, Instances: 1}, {GPU: 1, Instances: 1}}, func(_ context.Context, d fleet.Device) (engine.Engine, error) {
			return &breakable{null.New(null.Options{Width: side, Height: side, Dim: testDim, MaxBatch: 4, Latency: latency}), &broken[d.GPU]}, nil
		}, fleet.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		m := model(t, newSpy(4), &script{footprint: 1}, func(o *Options) { o.Engine = f })
		if err := m.WarmUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		check := func(what string, ready bool, up ...bool) {
			t.Helper()
			_, err := m.Infer(t.Context(), images("cat", "dog", "owl"))
			if ready && err != nil || !ready && fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%s: %v", what, err)
			}
			if m.Ready() != ready {
				t.Errorf("%s: ready is %v", what, m.Ready())
			}
			for i, d := range m.Devices() {
				if d.Up != up[i] || d.Up != (d.Why == "") || d.Up != m.live().Devices[i].Up {
					t.Errorf("%s: %+v, %+v", what, d, m.live().Devices[i])
				}
			}
		}
		check("at first", true, true, true)
		broken[0].Store(true)
		check("one is broken", true, false, true)
		broken[1].Store(true)
		check("both are broken", false, false, false)
		check("both are out", false, false, false)
		broken[1].Store(false)
		time.Sleep(2 * time.Minute)
		check("one is back", true, false, true)
		broken[0].Store(false)
		time.Sleep(2 * time.Minute)
		check("both are back", true, true, true)
		if d := m.live().Devices[0]; d.Failures != 1 || d.Returns != 1 || d.Retries < 1 {
			t.Errorf("%+v", d)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestAnEngineWithoutDevicesDoesNotReturn keeps refusing: nobody makes that engine again.
func TestAnEngineWithoutDevicesDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		e := &breakable{null.New(null.Options{Width: side, Height: side, Dim: testDim, MaxBatch: 4}), &broken}
		m := model(t, newSpy(4), &script{footprint: 1}, func(o *Options) { o.Engine = e })
		if err := m.WarmUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		_, _ = m.Infer(t.Context(), images("cat")) // finds it broken
		broken.Store(false)
		if _, err := m.Infer(t.Context(), images("cat")); fault.KindOf(err) != fault.Unavailable || m.Ready() || m.Devices() != nil {
			t.Errorf("%v, ready %v", err, m.Ready())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}
