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

// failing is an error of the server's own that recorded requests come upon, over either protocol; serversOwn
// are all of them: two models of the repository have configurations that cannot be read.
const failing = "this model always fails"

var serversOwn = []string{failing, "load failed for model 'broken'", "load failed for model 'misspelt'"}

// Check fails the test for each error that is the client's, though it may have the code of an internal one,
// and if the server's own are not there.
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
	if !seen[failing] {
		t.Errorf("no error %q is logged", failing)
	}
}
