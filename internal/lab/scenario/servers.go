package scenario

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/plan"
)

const (
	startWithin = 5 * time.Minute  // to be ready, where the plan says nothing
	stopGrace   = 20 * time.Second // between SIGTERM and SIGKILL
)

// servers are the processes that the study started.
type servers struct {
	study   *plan.Study
	folder  string // of their output; "" throws it away
	running map[string]*server
	broken  map[string]error // servers that did not start: not tried again before the step is over
	say     func(format string, args ...any)
}

type server struct {
	process   *process
	log       io.Closer
	instances int
	ready     time.Time
}

// ensure starts a server if it does not run, or runs with another number of instances.
func (s *servers) ensure(ctx context.Context, name string, instances int) error {
	v := s.study.Server(name)
	if v == nil {
		return nil // it runs already, somewhere
	}
	if !countsInstances(v) {
		instances = 0
	}
	if on := s.running[name]; on != nil {
		if alive(on.process) && on.instances == instances {
			return nil
		}
		s.stop(name)
	}
	if err := s.broken[brokenKey(name, instances)]; err != nil {
		return err
	}
	_, err := s.start(ctx, v, instances)
	if err != nil {
		s.broken[brokenKey(name, instances)] = err
	}
	return err
}

func brokenKey(name string, instances int) string { return name + "/" + strconv.Itoa(instances) }

// countsInstances tells whether a server's command takes the number of instances.
func countsInstances(v *plan.Server) bool { return strings.Contains(v.Start, "{instances}") }

func alive(p *process) bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// start starts a server and waits until it is ready.
func (s *servers) start(ctx context.Context, v *plan.Server, instances int) (*server, error) {
	log, where, err := s.openLog(v.Name)
	if err != nil {
		return nil, err
	}
	s.say("starting %s%s", v.Name, where)
	command := strings.ReplaceAll(v.Start, "{instances}", strconv.Itoa(max(instances, 1)))
	p, err := startProcess(command, v.Env, log)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", v.Name, err)
	}
	within := v.Within
	if within == 0 {
		within = startWithin
	}
	ready, err := waitReady(ctx, v.Ready, p, within)
	if err != nil {
		p.stop(stopGrace)
		log.Close()
		return nil, fmt.Errorf("server %s: %w%s", v.Name, err, where)
	}
	on := &server{process: p, log: log, instances: instances, ready: ready}
	s.running[v.Name] = on
	return on, nil
}

// openLog opens the file that a server's output is appended to, and says where it is for errors.
func (s *servers) openLog(name string) (io.WriteCloser, string, error) {
	if s.folder == "" {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		return f, "", err
	}
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		return nil, "", err
	}
	path := s.logPath(name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return f, " (its output: " + filepath.Join(filepath.Base(s.folder), name+".log") + ")", err // a record names no machine's folders
}

func (s *servers) logPath(name string) string { return filepath.Join(s.folder, name+".log") }

// The end of a log that is shown when a cell fails.
const tailBytes, tailLines = 8 << 10, 12

// tail is the last lines of a server's output, nil where there is none or none is kept.
func (s *servers) tail(name string) []string {
	if s.folder == "" {
		return nil
	}
	f, err := os.Open(s.logPath(name))
	if err != nil {
		return nil
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	text := make([]byte, min(end, tailBytes))
	n, err := f.ReadAt(text, end-int64(len(text)))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(text[:n])), "\n")
	if end > tailBytes {
		lines = lines[1:] // the first is cut
	}
	if len(lines) == 0 || lines[len(lines)-1] == "" {
		return nil
	}
	return lines[max(0, len(lines)-tailLines):]
}

func (s *servers) stop(name string) {
	on := s.running[name]
	if on == nil {
		return
	}
	delete(s.running, name)
	s.say("stopping %s", name)
	on.process.stop(stopGrace)
	on.log.Close()
}

// release stops the servers that no step after this one measures, or that live for one step.
func (s *servers) release(later func(name string) bool) {
	clear(s.broken)
	for name := range s.running {
		if v := s.study.Server(name); v.Lifetime == "step" || !later(name) {
			s.stop(name)
		}
	}
}

func (s *servers) stopAll() { s.release(func(string) bool { return false }) }
