package resize

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

// TestMain fails a run of all tests in which a variant went untested that this machine has.
func TestMain(m *testing.M) {
	code := m.Run()
	all := true
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		all = all && flag.Lookup(name).Value.String() == ""
	}
	if missed := cpufeat.Untested(); all && code == 0 && len(missed) > 0 {
		fmt.Fprintln(os.Stderr, "untested variants:", missed)
		code = 1
	}
	os.Exit(code)
}
