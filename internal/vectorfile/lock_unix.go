//go:build unix

package vectorfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes f for this process, until f is closed; it does not wait.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
