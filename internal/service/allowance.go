package service

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// DefaultDecodeMemory is the memory in bytes that images being decoded may take together.
const DefaultDecodeMemory = 1 << 30

// allowance bounds how many images are decoded at once, and the memory that they take. Those who wait
// are served in order.
type allowance struct {
	slots  *semaphore.Weighted
	memory *semaphore.Weighted
	total  int64 // bytes
}

func newAllowance(slots int, memory int64) *allowance {
	if memory <= 0 {
		memory = DefaultDecodeMemory
	}
	return &allowance{slots: semaphore.NewWeighted(int64(slots)), memory: semaphore.NewWeighted(memory), total: memory}
}

// enter waits for a slot and then for the memory that need asks for. It fails if ctx ends, if need
// fails, and with fault.TooLarge for more memory than there is. The slot comes first, so that no
// memory is kept by those who only wait, and need's look at the image's headers is bounded as well.
func (a *allowance) enter(ctx context.Context, need func() (int64, error)) (leave func(), err error) {
	if err := a.slots.Acquire(ctx, 1); err != nil {
		return nil, fault.Of(err)
	}
	entered := false
	defer func() { // need may panic
		if !entered {
			a.slots.Release(1)
		}
	}()
	n, err := need()
	switch {
	case err != nil:
		return nil, err
	case n > a.total:
		return nil, fault.New(fault.TooLarge, "decoding needs %d bytes of memory, %d are allowed", n, a.total)
	}
	if err := a.memory.Acquire(ctx, n); err != nil {
		return nil, fault.Of(err)
	}
	entered = true
	return func() {
		a.memory.Release(n)
		a.slots.Release(1)
	}, nil
}
