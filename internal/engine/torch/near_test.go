//go:build linux

package torch

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vitrine-project/vitrine/internal/numa"
)

// TestWorkersStayNearTheirCard looks at the worker's processors, at the first one's and at that which took
// its place.
func TestWorkersStayNearTheirCard(t *testing.T) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	if may.Count() < 2 {
		t.Skip("one processor")
	}
	last := 0
	for n := range 1 << 13 {
		if may.IsSet(n) {
			last = n
		}
	}
	e, log := fake(t, Options{Near: numa.Place{Node: 1, Processors: []int{last}}})
	want := fmt.Sprint(last)
	if got := processorsOf(t, pid(e.instances[0])); got != want {
		t.Errorf("the worker may use processors %s, want %s", got, want)
	}
	if err := unix.Kill(pid(e.instances[0]), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	log.waitFor("was replaced", 1)
	if got := processorsOf(t, pid(e.instances[0])); got != want {
		t.Errorf("the worker that took its place may use processors %s, want %s", got, want)
	}
}

var allowed = regexp.MustCompile(`Cpus_allowed_list:\s*(\S+)`)

func processorsOf(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := allowed.FindSubmatch(status)
	if m == nil {
		t.Fatalf("no list of processors in %s", status)
	}
	return string(m[1])
}
