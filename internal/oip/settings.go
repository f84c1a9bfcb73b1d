package oip

import (
	"slices"
	"strconv"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// TraceSettings holds the server's trace settings and the models' own, in Triton's words. Vitrine's own
// traces are OpenTelemetry's; these are kept and answered, so that tools that set them go on.
type TraceSettings struct {
	mu     sync.RWMutex
	server map[string][]string
	models map[string]map[string][]string
}

// traceDefaults are Triton's.
func traceDefaults() map[string][]string {
	return map[string][]string{"trace_file": {""}, "trace_level": {"OFF"}, "trace_rate": {"1000"},
		"trace_count": {"-1"}, "log_frequency": {"0"}, "trace_mode": {"triton"}}
}

// NewTraceSettings returns Triton's defaults.
func NewTraceSettings() *TraceSettings {
	return &TraceSettings{server: traceDefaults(), models: map[string]map[string][]string{}}
}

// TraceNames are the settings in the order of answers.
var TraceNames = []string{"trace_level", "trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode"}

// Get returns the settings that hold for a model, or the server's for an empty name.
func (t *TraceSettings) Get(model string) map[string][]string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := map[string][]string{}
	for k, v := range t.server {
		all[k] = v
	}
	for k, v := range t.models[model] {
		all[k] = v
	}
	return all
}

// Update changes the settings that are named; a nil value clears a model's own (the server's: sets
// the default). Nothing is changed where one of them is refused.
func (t *TraceSettings) Update(model string, values map[string][]string) error {
	for k, v := range values {
		if err := checkTrace(k, v); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	target := t.server
	if model != "" {
		if t.models[model] == nil {
			t.models[model] = map[string][]string{}
		}
		target = t.models[model]
	}
	for k, v := range values {
		switch {
		case !slices.Contains(TraceNames, k):
		case k == "trace_level" && v != nil: // what is neither TIMESTAMPS nor TENSORS is off
			target[k] = []string{"OFF"}
		case v != nil:
			target[k] = v
		case model != "":
			delete(target, k)
		default:
			target[k] = traceDefaults()[k]
		}
	}
	return nil
}

func checkTrace(k string, v []string) error {
	switch k {
	case "trace_file":
		return fault.New(fault.Unimplemented, "trace file location can not be updated through network protocol")
	case "trace_level":
		for _, l := range v {
			if l == "TIMESTAMPS" || l == "TENSORS" { // there is nowhere to write, and a client cannot name a file
				return fault.New(fault.Invalid, "Attempting to set invalid trace setting :trace file name is not given")
			}
		}
		return nil
	case "trace_rate", "trace_count", "log_frequency":
		return checkTraceNumber(k, v)
	case "trace_mode":
		return fault.New(fault.Unimplemented, "trace mode can not be updated through network protocol")
	}
	return nil // Triton passes over what it does not know
}

func checkTraceNumber(k string, v []string) error {
	if v == nil {
		return nil
	}
	if len(v) != 1 {
		return fault.New(fault.Invalid, "expect only 1 value for '%s'", k)
	}
	n, err := strconv.ParseInt(v[0], 10, 64)
	if err != nil {
		return fault.New(fault.Invalid, "Unable to parse '%s', got: %s", k, v[0])
	}
	if k == "trace_count" {
		if n < -1 {
			return fault.New(fault.Invalid, "Unable to parse '%s'. Expecting value >= -1, got: %d", k, n)
		}
		return nil
	}
	if n < 0 {
		return fault.New(fault.Invalid, "Unable to parse '%s', expect value >= 0, got: %d", k, n)
	}
	return nil
}

// Log is the log settings in Triton's words.
type Log struct {
	File         string `json:"log_file"`
	Info         bool   `json:"log_info"`
	Warning      bool   `json:"log_warning"`
	Error        bool   `json:"log_error"`
	VerboseLevel uint32 `json:"log_verbose_level"`
	Format       string `json:"log_format"`
}

// LogSettings holds Log; a client cannot name a file.
type LogSettings struct {
	mu sync.RWMutex
	l  Log
	// OnChange is told every change, for the log to follow; it may be nil.
	OnChange func(Log)
}

// NewLogSettings returns Triton's defaults.
func NewLogSettings() *LogSettings {
	return &LogSettings{l: Log{Info: true, Warning: true, Error: true, Format: "default"}}
}

// Get returns the settings.
func (s *LogSettings) Get() Log {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.l
}

// Update changes the settings that values name: bool, string, and uint64 or int64 for the level.
// Nothing is changed where one of them is refused.
func (s *LogSettings) Update(values map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.l
	for k, v := range values {
		if err := next.set(k, v); err != nil {
			return err
		}
	}
	s.l = next
	if s.OnChange != nil {
		s.OnChange(next)
	}
	return nil
}

func (l *Log) set(k string, v any) error {
	flags := map[string]*bool{"log_info": &l.Info, "log_warning": &l.Warning, "log_error": &l.Error}
	if flag := flags[k]; flag != nil {
		b, ok := v.(bool)
		if !ok {
			return fault.New(fault.Invalid, "expected type 'bool' for '%s'", k)
		}
		*flag = b
		return nil
	}
	switch k {
	case "log_file":
		return fault.New(fault.Unimplemented, "log file location can not be updated through network protocol")
	case "log_verbose_level":
		return l.setLevel(v)
	case "log_format":
		f, _ := v.(string)
		if f != "default" && f != "ISO8601" {
			return fault.New(fault.Unavailable, "invalid argument for --log_format, got: %s", f)
		}
		l.Format = f
		return nil
	}
	return nil // Triton passes over what it does not know
}

func (l *Log) setLevel(v any) error {
	switch n := v.(type) {
	case uint64:
		l.VerboseLevel = uint32(min(n, 1<<31))
	case int64:
		if n < 0 {
			return fault.New(fault.Invalid, "expected type 'uint32' for 'log_verbose_level'")
		}
		l.VerboseLevel = uint32(min(n, 1<<31))
	default:
		return fault.New(fault.Invalid, "expected type 'uint32' for 'log_verbose_level'")
	}
	return nil
}
