//go:build linux

package torch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// logBuffer is a log that tests read.
type logBuffer struct {
	mu      sync.Mutex
	written *sync.Cond
	text    bytes.Buffer
}

func newLogBuffer() *logBuffer {
	b := new(logBuffer)
	b.written = sync.NewCond(&b.mu)
	return b
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written.Broadcast()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// waitFor returns when text was logged n times.
func (b *logBuffer) waitFor(text string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for strings.Count(b.text.String(), text) < n {
		b.written.Wait()
	}
}

// pid is the process of an instance's worker.
func pid(i *instance) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.worker.cmd.Process.Pid
}

func small(t *testing.T, patch int) *model.Model {
	t.Helper()
	m, err := model.Synthetic(model.Config{ImageSize: 4 * patch, PatchSize: patch, Width: 64, Layers: 1, Heads: 1, MLP: 64, EmbedDim: 4,
		Epsilon: 1e-5, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.25, .25, .25}, Interpolation: "bicubic", ResizeMode: "shortest"}, model.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// fake opens an engine whose workers run testdata/fake.py.
func fake(t *testing.T, o Options) (*Engine, *logBuffer) {
	t.Helper()
	e, log, err := tryFake(t, small(t, 4), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, log
}

func tryFake(t *testing.T, m *model.Model, o Options) (*Engine, *logBuffer, error) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	source, err := os.ReadFile("testdata/fake.py")
	if err != nil {
		t.Fatal(err)
	}
	log := newLogBuffer()
	o.source, o.Logger = string(source), slog.New(slog.NewTextHandler(log, nil))
	if o.MaxBatch == 0 {
		o.MaxBatch = 4
	}
	e, err := New(m, o)
	return e, log, err
}

func TestSupervisedEngineKeepsToTheContract(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		e, _ := fake(t, Options{Instances: 2, Threads: 6})
		return e
	})
}

// order runs a batch of one image that begins with text.
func order(ctx context.Context, t *testing.T, e *Engine, text string) ([]float32, error) {
	t.Helper()
	r, err := e.NewRow(tensor.FormatUint8HWC)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	clear(r.Bytes())
	copy(r.Bytes(), text)
	out := [][]float32{make([]float32, e.Spec().Dim())}
	_, err = e.Run(ctx, []tensor.Row{r}, out)
	return out[0], err
}

func TestAWorkerThatDiesFailsItsBatchAlone(t *testing.T) {
	for _, c := range []struct {
		order string
		kind  fault.Kind
		want  string // in the error
		log   string
		same  bool // the worker survives
	}{
		{"die now", fault.Internal, "signal: killed", "signal: killed", false},
		{"exit :)", fault.Internal, "exit status 7", "I have seen enough", false},
		{"rubbish", fault.Internal, "no JSON", "died", false},
		{"lost it", fault.Internal, "fell off the bus", "died", false},
		{"raise !", fault.Internal, "this image is cursed", "ValueError", true},
		{"no room", fault.Exhausted, "out of memory", "", true},
		{"hang...", fault.Timeout, "within 200ms", "died", false},
	} {
		t.Run(c.order, func(t *testing.T) {
			e, log := fake(t, Options{BatchTimeout: 200 * time.Millisecond})
			before, err := order(t.Context(), t, e, "who?...")
			if err != nil {
				t.Fatal(err)
			}
			_, err = order(t.Context(), t, e, c.order)
			if fault.KindOf(err) != c.kind || !strings.Contains(explain(err), c.want) {
				t.Errorf("got %v %q, want %v with %q", fault.KindOf(err), explain(err), c.kind, c.want)
			}
			after, err := order(t.Context(), t, e, "who?...")
			if err != nil {
				t.Fatalf("the next batch: %v", err)
			}
			if same := before[0] == after[0]; same != c.same {
				t.Errorf("worker %v, then %v", before[0], after[0])
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("the log lacks %q:\n%s", c.log, log)
			}
		})
	}
}

// explain is an error with its cause.
func explain(err error) string {
	if f := (*fault.Error)(nil); errors.As(err, &f) && f.Err != nil {
		return f.Error() + ": " + f.Err.Error()
	}
	return fmt.Sprint(err)
}

// TestKilledInTheMiddleOfARun kills one of two workers from outside while both compute.
func TestKilledInTheMiddleOfARun(t *testing.T) {
	e, log := fake(t, Options{Instances: 2})
	victim := pid(e.instances[0])
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := order(t.Context(), t, e, "hang...")
			results <- err
		}()
	}
	log.waitFor("I hang", 2)
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-results; !strings.Contains(explain(err), "signal: killed") {
		t.Errorf("got %v", explain(err))
	}
	select {
	case err := <-results:
		t.Errorf("the other worker's batch ended too: %v", err)
	default:
	}
	if _, err := order(t.Context(), t, e, "fine"); err != nil {
		t.Errorf("the next batch: %v", err)
	}
	if err := syscall.Kill(pid(e.instances[1]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-results
}

// TestADeadlineDoesNotWaitForTheWorker leaves a batch that is still being computed.
func TestADeadlineDoesNotWaitForTheWorker(t *testing.T) {
	e, log := fake(t, Options{})
	before, _ := order(t.Context(), t, e, "who?...")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := order(ctx, t, e, "slowly.")
		ended <- err
	}()
	log.waitFor("I am slow", 1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	after, err := order(t.Context(), t, e, "who?...")
	if err != nil || before[0] != after[0] {
		t.Errorf("worker %v, then %v, %v", before, after, err)
	}
}

func TestAnEngineWhoseWorkersDoNotStartAgainIsLost(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	t.Setenv("FAKE_TOWER_FAILS_ONCE_REPLACED", flag)
	e, log := fake(t, Options{backOff: func(int) time.Duration { return 0 }})
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := order(t.Context(), t, e, "die now"); fault.KindOf(err) != fault.Internal {
		t.Errorf("got %v", err)
	}
	if _, err := order(t.Context(), t, e, "next"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(log.String(), "no PyTorch worker could be started"); n != mostFailures {
		t.Errorf("%d tries, want %d", n, mostFailures)
	}
}

func TestBackOff(t *testing.T) {
	want := []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second}
	for i, w := range want {
		if got := backOff(i + 1); got != w {
			t.Errorf("after %d failures: %v, want %v", i+1, got, w)
		}
	}
}

func TestStartUpErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name  string
		patch int
		o     Options
		want  []string
	}{
		{"no torch", 13, Options{}, []string{"python3 has no torch", "python3 -m pip install torch", "--torch-python"}},
		{"no Python", 4, Options{Python: "/nowhere/python"}, []string{"no Python interpreter /nowhere/python", "apt-get install python3"}},
		{"no Python on the path", 4, Options{Python: "no-such-python"}, []string{"no Python interpreter no-such-python"}},
		{"not a Python", 4, Options{Python: "/bin/false"}, []string{"/bin/false did not start as a worker", "exit status 1"}},
		{"a precision that is none", 4, Options{Precision: "fp7"}, []string{`no precision "fp7"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := tryFake(t, small(t, c.patch), c.o)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q in it", err, w)
				}
			}
		})
	}
}

// TestWorkersGoWithTheirEngine looks for the processes afterwards.
func TestWorkersGoWithTheirEngine(t *testing.T) {
	e, _ := fake(t, Options{Instances: 2})
	var pids []int
	for _, i := range e.instances {
		pids = append(pids, pid(i))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

func TestOperatorsAddUpWhileProfiling(t *testing.T) {
	e, _ := fake(t, Options{})
	run := func() {
		if _, err := order(t.Context(), t, e, "fine"); err != nil {
			t.Fatal(err)
		}
	}
	run()
	e.Profile(true)
	run()
	run()
	e.Profile(false)
	run()
	want := []engine.OperatorTime{{Name: "pack", Calls: 2, Total: 14000, Where: "host"}, {Name: "sum", Calls: 2, Total: 20, Where: "host"}}
	if diff := cmp.Diff(want, e.Operators()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	e.Profile(true)
	if got := e.Operators(); len(got) != 0 {
		t.Errorf("from zero: %+v", got)
	}
}

func TestPlannedBatches(t *testing.T) {
	for most, want := range map[int]string{1: "[1]", 4: "[1 2 4]", 12: "[1 2 4 8 12]"} {
		if got := fmt.Sprint(Options{Compile: true, MaxBatch: most}.planned()); got != want {
			t.Errorf("%d: %s, want %s", most, got, want)
		}
	}
	if got := (Options{MaxBatch: 4}).planned(); got != nil {
		t.Errorf("eager takes any size: %v", got)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"ok":true,"input_ns":1,"compute_ns":2,"output_ns":3}`))
	f.Add([]byte(`{"ok":false,"kind":"exhausted","error":"x"}`))
	f.Add([]byte(`{"ok":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseAnswer(line)
		if err == nil && !a.OK && a.fault() == nil {
			t.Error("a failure that is none")
		}
	})
}
