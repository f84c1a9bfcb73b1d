//go:build !static && linux && (amd64 || arm64)

package dynlib

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func openLibm(t *testing.T) *Library {
	t.Helper()
	l, err := Open("libvitrine-does-not-exist.so", "libm.so.6")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBindCallsC(t *testing.T) {
	l := openLibm(t)
	defer l.Close()
	if l.Name() != "libm.so.6" {
		t.Errorf("name %q", l.Name())
	}
	var hypot func(x, y float64) float64
	if err := l.Bind(&hypot, "hypot"); err != nil {
		t.Fatal(err)
	}
	if got := hypot(3, 4); got != 5 {
		t.Errorf("hypot(3, 4) = %v", got)
	}
	if got, want := hypot(1, 1), math.Sqrt2; got != want {
		t.Errorf("hypot(1, 1) = %v, want %v", got, want)
	}
}

func TestBindPassesMemory(t *testing.T) {
	l, err := Open("libc.so.6")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var strnlen func(s *byte, n uint64) uint64
	if err := l.Bind(&strnlen, "strnlen"); err != nil {
		t.Fatal(err)
	}
	if got := strnlen(&[]byte("vitrine\x00rest")[0], 12); got != 7 {
		t.Errorf("strnlen = %d", got)
	}
}

func TestMissingSymbolIsAnError(t *testing.T) {
	l := openLibm(t)
	defer l.Close()
	called := false
	fn := func() { called = true }
	err := l.Bind(&fn, "vitrine_no_such_symbol")
	var se *SymbolError
	if !errors.As(err, &se) || se.Symbol != "vitrine_no_such_symbol" || se.Library != "libm.so.6" {
		t.Fatalf("got %v", err)
	}
	if fn(); !called {
		t.Error("the variable was changed although the symbol is missing")
	}
}

func TestBindRefusesWhatIsNoFunction(t *testing.T) {
	l := openLibm(t)
	defer l.Close()
	var notAFunction int
	for _, target := range []any{&notAFunction, nil, 3} {
		if err := l.Bind(target, "hypot"); err == nil || !strings.Contains(err.Error(), "hypot") {
			t.Errorf("%T: %v", target, err)
		}
	}
}

func TestOpenListsWhatItTried(t *testing.T) {
	_, err := Open("libvitrine-a.so", "/nowhere/libvitrine-b.so")
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"libvitrine-a.so", "/nowhere/libvitrine-b.so"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q is not in %q", name, err)
		}
	}
}

func TestClosedLibrary(t *testing.T) {
	l := openLibm(t)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Symbol("hypot"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
