package oiphttp

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
)

// The official client's calls, from testdata/client.py. VITRINE_PYTHON names a Python that has it.
func TestOfficialClient(t *testing.T) {
	python := os.Getenv("VITRINE_PYTHON")
	if python == "" {
		t.Skip("VITRINE_PYTHON names no Python with tritonclient[http] and numpy")
	}
	if out, err := exec.Command(python, "-c", "import tritonclient.http.aio, numpy").CombinedOutput(); err != nil {
		t.Skipf("VITRINE_PYTHON has no tritonclient: %s", out)
	}
	models := samples.Default()
	registry := oip.NewRegistry(oip.Known(models))
	for _, m := range models {
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	New(Options{Front: front.New(front.Options{}), Server: oip.NewServer(registry, nil)}).Register(mux)
	s := httptest.NewServer(mux)
	defer s.Close()
	out, err := exec.CommandContext(t.Context(), python, "testdata/client.py", strings.TrimPrefix(s.URL, "http://")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
