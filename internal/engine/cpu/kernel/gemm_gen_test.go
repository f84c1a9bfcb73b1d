package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGemmIsGenerated holds that the committed assembly is what its generator writes.
func TestGemmIsGenerated(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-C", "gen", "./gemm", "-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("gen/gemm: %v\n%s", err, out)
	}
	for _, name := range []string{"gemm_amd64.s", "gemm_amd64_gen.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes (%v): run go generate", name, err)
		}
	}
}
