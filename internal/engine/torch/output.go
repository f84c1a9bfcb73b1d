package torch

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// keptLines of a worker's output explain its end.
const keptLines = 12

// output takes what a worker writes to standard output and error: line by line to the log, the last ones
// kept.
type output struct {
	log *slog.Logger

	mu   sync.Mutex
	rest []byte // of a line without its end
	kept []string
}

// longestLine bounds a line; what is longer is logged in pieces.
const longestLine = 4096

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, p...)
	for {
		n := bytes.IndexByte(o.rest, '\n')
		switch {
		case n >= 0:
			o.line(string(o.rest[:n]))
			o.rest = o.rest[n+1:]
		case len(o.rest) > longestLine:
			o.line(string(o.rest))
			o.rest = nil
		default:
			return len(p), nil
		}
	}
}

func (o *output) line(text string) {
	if text = strings.TrimRight(text, " \t\r"); text == "" {
		return
	}
	o.log.Warn("PyTorch worker", "says", text)
	o.kept = append(o.kept, text)
	if len(o.kept) > keptLines {
		o.kept = o.kept[1:]
	}
}

// last is the last line.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.kept) == 0 {
		return ""
	}
	return o.kept[len(o.kept)-1]
}

// quoted is the end of the output for an error's text.
func (o *output) quoted() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.kept) == 0 {
		return ""
	}
	return "; its last words:\n  " + strings.Join(o.kept, "\n  ")
}
