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
	FLOPs int64  // of its matrix products, a multiplication and an addition being two; 0 is none or unknown
	Bytes int64  // that must be read and written if each is once; 0 is unknown
}

// Explainer is implemented by Profilers whose figures need words, or know what their device can do.
type Explainer interface {
	Profiler
	// Explain speaks of the profile as it stands.
	Explain() Explanation
}

// Explanation is what a reader of a profile must know beside its times.
type Explanation struct {
	Means     string  // how the times were taken: a sentence without its full stop
	PeakFLOPs float64 // of the device in the engine's precision, a second; 0 is unknown
	PeakBytes float64 // of the device's memory, a second; 0 is unknown
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
