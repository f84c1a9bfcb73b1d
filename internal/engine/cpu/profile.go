package cpu

import (
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// operator is a kind of work in the forward pass.
type operator int

const (
	opInput operator = iota
	opPatch
	opNorm
	opQKV
	opAttention
	opOut
	opFC1
	opFC2
	opProjection
	operators
)

var operatorNames = [operators]string{
	opInput: "input", opPatch: "patch", opNorm: "norm", opQKV: "qkv", opAttention: "attention",
	opOut: "out", opFC1: "fc1+activation", opFC2: "fc2", opProjection: "projection",
}

// profile adds up operators' times over all instances.
type profile struct {
	on    atomic.Bool
	calls [operators]atomic.Int64
	nanos [operators]atomic.Int64
}

// Profile switches profiling on, from zero, or off.
func (e *Engine) Profile(on bool) {
	if on {
		for i := range operators {
			e.profile.calls[i].Store(0)
			e.profile.nanos[i].Store(0)
		}
	}
	e.profile.on.Store(on)
}

// Operators is what was measured since profiling was switched on.
func (e *Engine) Operators() []engine.OperatorTime {
	times := make([]engine.OperatorTime, operators)
	for i := range times {
		times[i] = engine.OperatorTime{
			Name:  operatorNames[i],
			Calls: e.profile.calls[i].Load(),
			Total: time.Duration(e.profile.nanos[i].Load()),
		}
	}
	return times
}

// stopwatch measures one run; a nil profile measures nothing.
type stopwatch struct {
	profile *profile
	last    time.Time
}

func (p *profile) start() stopwatch {
	if !p.on.Load() {
		return stopwatch{}
	}
	return stopwatch{p, time.Now()}
}

// lap books the time since the last lap for an operator.
func (s *stopwatch) lap(op operator) {
	if s.profile == nil {
		return
	}
	now := time.Now()
	s.profile.calls[op].Add(1)
	s.profile.nanos[op].Add(int64(now.Sub(s.last)))
	s.last = now
}
