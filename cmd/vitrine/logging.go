package main

import (
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
)

// logFlags say how the log is written.
type logFlags struct{ format, level string }

func (l *logFlags) define(fs *pflag.FlagSet, level string) {
	cli.Group(fs, "Log (on standard error)", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&l.format, "text", "text", "json"), "log-format", "text for people, json for machines")
		fs.Var(cli.NewChoice(&l.level, level, "debug", "info", "warn", "error"), "log-level", "the least level that is written")
	})
}

// logger writes to w. Its level has been checked by the flag.
func (l *logFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		level = slog.LevelInfo
	}
	return slog.New(l.handler(w, level))
}

func (l *logFlags) handler(w io.Writer, least slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: least, ReplaceAttr: durations}
	if l.format == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// durations writes times as people and machines both read them: "12.3ms", not nanoseconds.
func durations(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().Round(time.Microsecond).String())
	}
	return a
}

// phase logs how long a step of the start took.
func phase(log *slog.Logger, name string, began time.Time, attrs ...any) {
	log.Info("start: "+name, append([]any{"took", time.Since(began)}, attrs...)...)
}
