package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/engine/null"
)

// BenchmarkRun is what a batch costs beside its computation, with a deadline and without: compare with the
// null engine's own.
func BenchmarkRun(b *testing.B) {
	for name, timeout := range map[string]time.Duration{"deadline": time.Minute, "none": 0} {
		b.Run(name, func(b *testing.B) {
			f, err := New(b.Context(), []Device{{GPU: 0, Instances: 1}, {GPU: 1, Instances: 1}}, func(_ context.Context, d Device) (engine.Engine, error) {
				return null.New(null.Options{InFlight: d.Instances}), nil
			}, Options{Timeout: timeout, Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			enginetest.Bench(b, f, 1, 32)
		})
	}
}
