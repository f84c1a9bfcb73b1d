package door

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// source is a group of files that are read together, such as a certificate and its key.
type source struct {
	what  string
	paths []string
	read  func() error // reads and takes over, or leaves everything as it was
	seen  []signature
}

// signature tells a file from what it was.
type signature struct {
	mtime time.Time
	size  int64
	inode uint64
}

// signatures follow links, since orchestrators exchange a mounted file by a link; a file that is missing
// has the zero one.
func (s *source) signatures() []signature {
	all := make([]signature, len(s.paths))
	for i, path := range s.paths {
		if info, err := os.Stat(path); err == nil {
			all[i] = signature{info.ModTime(), info.Size(), inode(info)}
		}
	}
	return all
}

// Watcher reads files again when they change.
type Watcher struct {
	log     *slog.Logger
	sources []*source
}

// NewWatcher returns a watcher of nothing.
func NewWatcher(log *slog.Logger) *Watcher { return &Watcher{log: log} }

// add reads files for the first time: what is wrong with them is an error of the start.
func (w *Watcher) add(what string, read func() error, paths ...string) error {
	s := &source{what: what, paths: paths, read: read}
	s.seen = s.signatures() // before reading: a change in between is read again
	if err := read(); err != nil {
		return err
	}
	w.sources = append(w.sources, s)
	return nil
}

// Keys reads the API keys of a file for the guard.
func (w *Watcher) Keys(path string, g *Guard) error {
	return w.add("API keys", func() error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		keys, err := ParseKeys(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		g.SetKeys(keys)
		return nil
	}, path)
}

// Watch reads what has changed at each tick, and everything at each demand, until ctx ends.
func (w *Watcher) Watch(ctx context.Context, tick <-chan time.Time, demand <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			w.check(false)
		case <-demand:
			w.check(true)
		}
	}
}

// check reads changed files, or all. One that is broken is told once for each change of it.
func (w *Watcher) check(all bool) {
	for _, s := range w.sources {
		now := s.signatures()
		if !all && same(now, s.seen) {
			continue
		}
		s.seen = now
		if err := s.read(); err != nil {
			w.log.Error(s.what+": the new file is not used, the old one stays in force", "error", err)
			continue
		}
		w.log.Info(s.what+": read again", "files", s.paths)
	}
}

func same(a, b []signature) bool {
	for i := range a {
		if !a[i].mtime.Equal(b[i].mtime) || a[i].size != b[i].size || a[i].inode != b[i].inode {
			return false
		}
	}
	return true
}
