package main

import (
	"context"
	"io"
	"log/slog"
	"math"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/oip"
)

// logSwitch says which levels are written while the server runs, as Triton's log settings have it: each
// level on its own.
type logSwitch struct{ now atomic.Pointer[oip.Log] }

// set takes settings over.
func (s *logSwitch) set(l oip.Log) { s.now.Store(&l) }

// enabled tells whether a level is written. log_verbose_level is 0 for none of the debug lines; there is
// one kind of them, so every other value writes all.
func (s *logSwitch) enabled(level slog.Level) bool {
	l := s.now.Load()
	switch {
	case level >= slog.LevelError:
		return l.Error
	case level >= slog.LevelWarn:
		return l.Warning
	case level >= slog.LevelInfo:
		return l.Info
	}
	return l.VerboseLevel > 0
}

// switched is a handler that asks the switch.
type switched struct {
	slog.Handler
	by *logSwitch
}

// Enabled implements slog.Handler.
func (h switched) Enabled(_ context.Context, level slog.Level) bool { return h.by.enabled(level) }

// WithAttrs implements slog.Handler.
func (h switched) WithAttrs(attrs []slog.Attr) slog.Handler {
	return switched{h.Handler.WithAttrs(attrs), h.by}
}

// WithGroup implements slog.Handler.
func (h switched) WithGroup(name string) slog.Handler {
	return switched{h.Handler.WithGroup(name), h.by}
}

// settings are what --log-level says, in Triton's words.
func (l *logFlags) settings() oip.Log {
	s := oip.Log{Info: l.level == "debug" || l.level == "info", Warning: l.level != "error", Error: true}
	if l.level == "debug" {
		s.VerboseLevel = 1
	}
	return s
}

// switchable is logger, with a switch that begins at --log-level.
func (l *logFlags) switchable(w io.Writer) (*slog.Logger, *logSwitch) {
	s := &logSwitch{}
	s.set(l.settings())
	return slog.New(switched{l.handler(w, slog.Level(math.MinInt)), s}), s
}

// followLog lets the protocol's log settings act on the log, and shows there what --log-level set.
func (s *server) followLog() error {
	l := s.o.log.settings()
	s.oip.Logging.OnChange = s.logs.set
	return s.oip.Logging.Update(map[string]any{
		"log_info": l.Info, "log_warning": l.Warning, "log_error": l.Error, "log_verbose_level": uint64(l.VerboseLevel),
	})
}
