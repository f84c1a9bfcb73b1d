package onnxruntime

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
)

// profile is what traces say. ONNX Runtime decides when a session is made whether it is traced, and tells
// the times only once the trace has ended, so profiling exchanges the sessions.
type profile struct {
	mu     sync.Mutex // held while sessions are exchanged
	folder string     // of the traces, while profiling is on
	totals []engine.OperatorTime
}

// Profile makes sessions that are traced, or that are not, and exchanges them: weights are there twice
// meanwhile. Where that fails the log says so and everything stays as it is.
func (e *Engine) Profile(on bool) {
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	if err := e.setProfiling(on); err != nil {
		e.options.Logger.Warn("profiling could not be switched", "on", on, "error", err)
	}
}

func (e *Engine) setProfiling(on bool) (err error) {
	p := &e.profile
	if on && p.folder == "" {
		if p.folder, err = os.MkdirTemp("", "vitrine-ort-"); err != nil {
			return err
		}
	}
	trace := ""
	if on {
		trace = filepath.Join(p.folder, "trace")
	}
	if err := e.exchange(trace); err != nil {
		return err
	}
	if on {
		p.totals = nil
		return nil
	}
	return p.discard()
}

// Operators is what was measured since profiling was switched on, in the order in which operators first
// ran. Sessions that are being traced are exchanged for it.
func (e *Engine) Operators() []engine.OperatorTime {
	e.profile.mu.Lock()
	defer e.profile.mu.Unlock()
	if e.profile.folder != "" {
		if err := e.exchange(filepath.Join(e.profile.folder, "trace")); err != nil {
			e.options.Logger.Warn("the profile could not be read", "error", err)
		}
	}
	return slices.Clone(e.profile.totals)
}

// exchange puts new sessions in the place of the old ones, whose traces are read.
func (e *Engine) exchange(trace string) error {
	select {
	case <-e.closing:
		return engine.ErrClosed()
	default:
	}
	fresh, err := e.newSessions(trace)
	if err != nil {
		return err
	}
	e.takeAll()
	old := e.sessions
	e.sessions = fresh
	for _, i := range fresh.instances {
		e.idle <- i
	}
	return e.closeSessions(old)
}

// end ends a session's trace and counts it.
func (p *profile) end(api *capi.API, s capi.Session) error {
	path, err := api.EndProfiling(s)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	totals, err := readTrace(f)
	p.add(totals)
	return errors.Join(err, os.Remove(path))
}

func (p *profile) add(totals []engine.OperatorTime) {
	for _, t := range totals {
		at := slices.IndexFunc(p.totals, func(o engine.OperatorTime) bool { return o.Name == t.Name })
		if at < 0 {
			p.totals = append(p.totals, t)
			continue
		}
		p.totals[at].Calls += t.Calls
		p.totals[at].Total += t.Total
	}
}

// discard removes the folder of traces.
func (p *profile) discard() error {
	folder := p.folder
	p.folder = ""
	if folder == "" {
		return nil
	}
	return os.RemoveAll(folder)
}

// event is one event of a trace, as far as it matters: durations are in microseconds.
type event struct {
	Category string `json:"cat"`
	Name     string `json:"name"`
	Duration int64  `json:"dur"`
	Args     struct {
		Operator string `json:"op_name"`
	} `json:"args"`
}

// readTrace adds up a trace's operators: an array of events in Chrome's format, in the order in which
// they ended. Times are those of the processor that launches; on a device not those of computing.
func readTrace(r io.Reader) ([]engine.OperatorTime, error) {
	d := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return nil, errors.Join(errors.New("a trace is an array of events"), err)
	}
	var p profile
	for n := 0; d.More(); n++ {
		var e event
		if err := d.Decode(&e); err != nil {
			return p.totals, fmt.Errorf("trace, event %d: %w", n, err)
		}
		if e.Category == "Node" && e.Args.Operator != "" && strings.HasSuffix(e.Name, "_kernel_time") {
			p.add([]engine.OperatorTime{{Name: e.Args.Operator, Calls: 1, Total: time.Duration(e.Duration) * time.Microsecond}})
		}
	}
	return p.totals, nil
}
