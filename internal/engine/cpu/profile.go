package cpu

import (
	"slices"
	"sync"
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

// profile adds up operators' times over all instances, and lists their calls where that is asked for.
type profile struct {
	on    atomic.Bool
	calls [operators]atomic.Int64
	nanos [operators]atomic.Int64

	trace atomic.Bool
	mu    sync.Mutex
	list  []engine.OperatorCall
}

// mostCalls bounds the list: 100 MB.
const mostCalls = 1 << 20

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

// Trace switches the list of calls on, from nothing, or off.
func (e *Engine) Trace(on bool) {
	e.profile.mu.Lock()
	if on {
		e.profile.list = nil
	}
	e.profile.mu.Unlock()
	e.profile.trace.Store(on)
	e.Profile(on)
}

// Calls are the first million calls since tracing was switched on.
func (e *Engine) Calls() []engine.OperatorCall {
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	return slices.Clone(e.profile.list)
}

func (p *profile) add(c engine.OperatorCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) < mostCalls {
		p.list = append(p.list, c)
	}
}

// stopwatch measures one run; a nil profile measures nothing.
type stopwatch struct {
	profile  *profile
	instance int
	last     time.Time
}

func (p *profile) start(instance int) stopwatch {
	if !p.on.Load() {
		return stopwatch{}
	}
	return stopwatch{p, instance, time.Now()}
}

// lap books the time since the last lap for an operator.
func (s *stopwatch) lap(op operator) {
	if s.profile == nil {
		return
	}
	now := time.Now()
	s.profile.calls[op].Add(1)
	s.profile.nanos[op].Add(int64(now.Sub(s.last)))
	if s.profile.trace.Load() {
		s.profile.add(engine.OperatorCall{Name: operatorNames[op], Instance: s.instance, Start: s.last, Duration: now.Sub(s.last)})
	}
	s.last = now
}
