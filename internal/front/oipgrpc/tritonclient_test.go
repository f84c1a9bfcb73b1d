package oipgrpc

import (
	"net"
	"os"
	"os/exec"
	"testing"
)

// The official client's calls, from testdata/client.py. VITRINE_PYTHON names a Python that has it.
func TestOfficialClient(t *testing.T) {
	python := os.Getenv("VITRINE_PYTHON")
	if python == "" {
		t.Skip("VITRINE_PYTHON names no Python with tritonclient[grpc] and numpy")
	}
	if out, err := exec.Command(python, "-c", "import tritonclient.grpc, numpy").CombinedOutput(); err != nil {
		t.Skipf("VITRINE_PYTHON has no tritonclient: %s", out)
	}
	s := New(Options{})
	s.SetServer(newOIP(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	out, err := exec.CommandContext(t.Context(), python, "testdata/client.py", l.Addr().String()).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
