package service

import (
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Budget is the memory in bytes that loaded models may take together. A model is admitted by an
// estimate before its weights are packed; while one takes another's place both count.
type Budget struct {
	total int64

	mu   sync.Mutex
	used int64
}

// NewBudget returns a budget of so many bytes; 0 or less is no limit.
func NewBudget(total int64) *Budget { return &Budget{total: total} }

// Reserve takes n bytes for a model until release is called, which may be called again in vain. It
// fails with fault.Exhausted, and says what was needed and what is free.
func (b *Budget) Reserve(model string, n int64) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if free := b.total - b.used; b.total > 0 && n > free {
		return nil, fault.New(fault.Exhausted, "model '%s' needs %d bytes of memory; %d are free of a budget of %d",
			model, n, max(free, 0), b.total)
	}
	b.used += n
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.used -= n
	}), nil
}
