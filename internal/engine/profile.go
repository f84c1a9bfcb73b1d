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
	Where string // whose time it is: host (also "") or device
}

// Tracer is implemented by Profilers that can also list every call of an operator.
type Tracer interface {
	Profiler
	// Trace switches the list on, from nothing, or off; profiling is switched with it.
	Trace(on bool)
	// Calls are the calls since tracing was switched on, in the order in which they ended. An engine may
	// bound how many it keeps.
	Calls() []OperatorCall
}

// OperatorCall is one call of an operator.
type OperatorCall struct {
	Name     string
	Instance int // which of the Runs that may overlap
	Start    time.Time
	Duration time.Duration
}
