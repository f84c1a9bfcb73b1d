package service

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// shared is a pipeline of which cards do a share.
type shared struct{ *script }

func (shared) Decoded() (processor, cards, returned int64) { return 3, 2, 1 }

// TestDecodedIsReported where cards help, and only there.
func TestDecodedIsReported(t *testing.T) {
	m := model(t, newSpy(1), &script{}, func(o *Options) { o.Pipeline = shared{&script{}} })
	if d := cmp.Diff(&telemetry.DecodedBy{Processor: 3, Cards: 2, Returned: 1}, m.live().Decoded); d != "" {
		t.Error(d)
	}
	if d := model(t, newSpy(1), &script{}, nil).live().Decoded; d != nil {
		t.Errorf("without cards: %+v", d)
	}
}
