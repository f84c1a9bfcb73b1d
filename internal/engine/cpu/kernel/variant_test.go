package kernel

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

// TestMain fails a full run that left a variant untested which this machine could have tested.
func TestMain(m *testing.M) {
	code := m.Run()
	full := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" &&
		flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == ""
	if names := cpufeat.Untested(); code == 0 && full && len(names) > 0 {
		fmt.Fprintln(os.Stderr, "variants that no test has run:", names)
		code = 1
	}
	os.Exit(code)
}
