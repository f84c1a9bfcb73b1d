package engine

import (
	"context"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Stager is implemented by engines that can keep a batch's input where it is computed, so that what a
// device can do is measured without the way to it.
type Stager interface {
	Engine
	// Stage brings rows to where they are computed; they may be released when it returns. It takes the place
	// of one Run of Spec().InFlight until the batch is closed, and waits for one until ctx ends.
	Stage(ctx context.Context, rows []tensor.Row) (Staged, error)
}

// Staged is a batch whose input lies where it is computed.
type Staged interface {
	// Run computes it, as often as is wanted but one Run at a time, and fills out as Engine.Run does. Its
	// Timings have no Input.
	Run(ctx context.Context, out [][]float32) (Timings, error)
	// Close gives the place up; the engine's Close waits for it. A second Close does nothing.
	Close()
}
