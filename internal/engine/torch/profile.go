package torch

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// profile adds up PyTorch's operators over all workers.
type profile struct {
	on   atomic.Bool
	mu   sync.Mutex
	list []engine.OperatorTime
}

// Profile switches torch.profiler on for each batch, from zero, or off. It makes batches slower.
func (e *Engine) Profile(on bool) {
	if on {
		e.profile.mu.Lock()
		e.profile.list = nil
		e.profile.mu.Unlock()
	}
	e.profile.on.Store(on)
}

// Operators are PyTorch's operators, each without those that it calls, the longest first: of the device,
// which on a card is not the time that the host takes to launch them.
func (e *Engine) Operators() []engine.OperatorTime {
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	list := slices.Clone(e.profile.list)
	slices.SortStableFunc(list, func(a, b engine.OperatorTime) int { return cmp.Compare(b.Total, a.Total) })
	return list
}

// addOperators counts a batch's operators.
func (e *Engine) addOperators(batch []operator) {
	where := "host"
	if strings.HasPrefix(e.spec.Device, "cuda") {
		where = "device"
	}
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	for _, o := range batch {
		i := slices.IndexFunc(e.profile.list, func(t engine.OperatorTime) bool { return t.Name == o.Name })
		if i < 0 {
			i = len(e.profile.list)
			e.profile.list = append(e.profile.list, engine.OperatorTime{Name: o.Name, Where: where})
		}
		e.profile.list[i].Calls += o.Calls
		e.profile.list[i].Total += o.Total
	}
}
