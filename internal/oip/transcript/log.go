package transcript

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Log keeps what a server logs as its own errors.
type Log struct {
	mu     sync.Mutex
	errors []string
}

// Logger returns a logger that writes to it.
func (l *Log) Logger() *slog.Logger { return slog.New(l) }

// Enabled implements slog.Handler.
func (l *Log) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements slog.Handler.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, text)
	return nil
}

// WithAttrs implements slog.Handler.
func (l *Log) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *Log) WithGroup(string) slog.Handler { return l }

// serversOwn are the errors that the recorded requests come upon on the server's side.
var serversOwn = []string{"this model always fails"}

// Check fails the test for each error that is the client's, though it may have the code of an internal one,
// and if there was none of the server's own.
func (l *Log) Check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
next:
	for _, e := range l.errors {
		for _, own := range serversOwn {
			if strings.Contains(e, own) {
				seen[own] = true
				continue next
			}
		}
		t.Errorf("a client's mistake is logged as the server's error: %s", e)
	}
	for _, own := range serversOwn {
		if !seen[own] {
			t.Errorf("no error %q is logged", own)
		}
	}
}
