package engine

import (
	"context"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// ErrClosed is the answer of an engine after Close.
func ErrClosed() error { return fault.New(fault.Unavailable, "the engine is closed") }

// Acquire takes an idle instance for a run, waiting if callers exceed Spec().InFlight, until ctx ends or
// closing is closed. An engine that closes hands out nothing more, idle or not.
func Acquire[T any](ctx context.Context, idle <-chan T, closing <-chan struct{}) (none T, err error) {
	select {
	case <-closing:
		return none, ErrClosed()
	default:
	}
	select {
	case i := <-idle:
		return i, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-closing:
		return none, ErrClosed()
	}
}
