package load

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// coarse is more than Go's timers may be late: the poller that they sleep in counts milliseconds.
	coarse = 2 * time.Millisecond
	// spin is what is waited for awake; the kernel's own sleep is late by about its timer slack of 50 µs.
	spin = 80 * time.Microsecond
)

// Precise waits for d, or until ctx ends: by Go's timers, then by the kernel's, and the last microseconds
// awake. It is right within some microseconds where a processor is free.
func Precise(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	if d > coarse {
		t := time.NewTimer(d - coarse)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		d = time.Until(end)
	}
	if d > spin {
		ts := unix.NsecToTimespec(int64(d - spin))
		_ = unix.Nanosleep(&ts, nil) // a signal's interruption only makes the spin longer
	}
	for time.Now().Before(end) {
		runtime.Gosched()
	}
}
