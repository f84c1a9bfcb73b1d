package numa

import (
	"errors"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// usable are the processors that the calling thread may use.
func usable(t *testing.T) (all []int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for n := range most {
		if set.IsSet(n) {
			all = append(all, n)
		}
	}
	return all
}

// onThread runs f on a thread that ends with it, and that nobody else ever runs on.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

func TestStayIsInherited(t *testing.T) {
	onThread(func() {
		all := usable(t)
		if len(all) < 2 {
			t.Skip("one processor")
		}
		near := Place{Node: 0, Processors: []int{all[1], most - 1}}
		if err := near.Stay(); err != nil {
			t.Error(err)
		}
		if got := usable(t); !slices.Equal(got, all[1:2]) {
			t.Errorf("processors %v, want %v", got, all[1:2])
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "grep Cpus_allowed_list /proc/self/status").Output()
		if want := formatList(all[1:2]); err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "\t"+want) {
			t.Errorf("a process that the thread started: %q, %v", out, err)
		}
	})
}

func TestStayChangesNothingInVain(t *testing.T) {
	onThread(func() {
		all := usable(t)
		for _, p := range []Place{{Node: Unknown}, {Processors: all}, {Processors: []int{most - 1}}} {
			if err := p.Stay(); err != nil {
				t.Error(err)
			}
			if got := usable(t); !slices.Equal(got, all) {
				t.Errorf("%v: processors %v, had %v", p, got, all)
			}
		}
	})
}

func TestDuringComesBack(t *testing.T) {
	onThread(func() {
		all := usable(t)
		near := Place{Processors: all[:1]}
		fails := errors.New("no memory")
		err := near.During(func() error {
			if got := usable(t); !slices.Equal(got, all[:1]) {
				t.Errorf("meanwhile processors %v, want %v", got, all[:1])
			}
			return fails
		})
		if !errors.Is(err, fails) {
			t.Errorf("got %v", err)
		}
		if got := usable(t); !slices.Equal(got, all) {
			t.Errorf("afterwards processors %v, had %v", got, all)
		}
	})
}
