//go:build !static && linux

package driver

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// TestSharedHandleIsPassedByValue calls a C function of cuIpcOpenMemHandle's type, which a C compiler made.
func TestSharedHandleIsPassedByValue(t *testing.T) {
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip(err)
	}
	so := filepath.Join(t.TempDir(), "open.so")
	if out, err := exec.CommandContext(t.Context(), cc, "-shared", "-fPIC", "-O1", "-o", so, "testdata/open.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lib, err := dynlib.Open(so)
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	var open openShared
	if err := lib.Bind(&open, "open_shared"); err != nil {
		t.Fatal(err)
	}
	var h SharedHandle
	var want Pointer
	for i := range h {
		h[i] = byte(3*i + 1)
		want = 31*want + Pointer(h[i])
	}
	var got Pointer
	if c := open.call(&got, &h, 12345); c != 12345 || got != want {
		t.Errorf("the function saw handle %#x and flags %d, want %#x and 12345", got, c, want)
	}
}
