//go:build !unix

package vectorfile

import "os"

// lock does nothing where there is no flock: two runs on one output are then the caller's own care.
func lock(*os.File) error { return nil }
