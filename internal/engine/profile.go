package engine

import "time"

// Profiler is implemented by engines that can tell where the time of a Run goes. Profiling is off
// until it is asked for and costs nothing then.
type Profiler interface {
	// Profile switches profiling on, from zero, or off. Runs under way may be counted in part.
	Profile(on bool)
	// Operators is what was measured since profiling was switched on, in the order of the forward pass.
	Operators() []OperatorTime
}

// OperatorTime is the time that one operator took, over all its calls and all Runs.
type OperatorTime struct {
	Name  string
	Calls int64
	Total time.Duration
}
