//go:build !unix

package hub

import "os"

// tryLock does not lock where there is no flock: two processes may fetch the same file twice.
func tryLock(*os.File) error { return nil }
