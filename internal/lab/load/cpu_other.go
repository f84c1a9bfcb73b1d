//go:build !unix

package load

import "time"

// processorTime is unknown here.
func processorTime() time.Duration { return 0 }
