//go:build !linux

package load

import (
	"context"
	"runtime"
	"time"
)

// Precise waits for d, or until ctx ends: by Go's timers, and the last two milliseconds awake.
func Precise(ctx context.Context, d time.Duration) {
	const coarse = 2 * time.Millisecond
	end := time.Now().Add(d)
	if d > coarse {
		t := time.NewTimer(d - coarse)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
	for time.Now().Before(end) {
		runtime.Gosched()
	}
}
