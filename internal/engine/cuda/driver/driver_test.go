package driver

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// TestLayout: structs that the driver reads have the sizes and offsets of cuda.h on 64-bit machines.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"CUlaunchConfig", unsafe.Sizeof(launchConfig{}), 56},
		{"CUlaunchConfig.hStream", unsafe.Offsetof(launchConfig{}.stream), 32},
		{"CUlaunchConfig.attrs", unsafe.Offsetof(launchConfig{}.attributes), 40},
		{"CUlaunchAttribute", unsafe.Sizeof(launchAttribute{}), 72},
		{"CUlaunchAttribute.value", unsafe.Offsetof(launchAttribute{}.value), 8},
		{"CUtensorMap", unsafe.Sizeof(TensorMap{}), 128},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, cuda.h has %d", c.name, c.got, c.want)
		}
	}
}

// TestSymbols: every function of the table is bound once, under a name of its own.
func TestSymbols(t *testing.T) {
	l := new(library)
	seen := map[string]bool{}
	bound := map[any]bool{}
	for _, s := range l.symbols() {
		if seen[s.name] || bound[s.fn] {
			t.Errorf("%s is bound twice", s.name)
		}
		seen[s.name], bound[s.fn] = true, true
	}
	if fields := reflect.TypeFor[library]().NumField(); len(bound) != fields {
		t.Errorf("%d of %d functions are bound", len(bound), fields)
	}
	for name := range seen {
		field := strings.TrimSuffix(name, "_v2")
		if _, ok := reflect.TypeFor[library]().FieldByName(field); !ok {
			t.Errorf("%s is bound to a function of another name", name)
		}
	}
}

// TestOpen on a machine without a driver is an error that says so; with one, an unknown device is.
func TestOpen(t *testing.T) {
	n, err := Count()
	if errors.Is(err, ErrNoDriver) {
		if _, err := Open(0); !errors.Is(err, ErrNoDriver) {
			t.Errorf("want %v, got %v", ErrNoDriver, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, ordinal := range []int{-1, n} {
		if _, err := Open(ordinal); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the driver has %d", n)) {
			t.Errorf("device %d: %v", ordinal, err)
		}
	}
}

func TestError(t *testing.T) {
	err := fmt.Errorf("load: %w", &Error{Call: "cuMemAlloc", Code: OutOfMemory, Name: "CUDA_ERROR_OUT_OF_MEMORY", Text: "out of memory"})
	if got, want := err.Error(), "load: cuMemAlloc: out of memory (CUDA_ERROR_OUT_OF_MEMORY, 2)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if CodeOf(err) != OutOfMemory || CodeOf(errors.New("other")) != 0 {
		t.Error("the code is lost")
	}
	for code, want := range map[Code]bool{OutOfMemory: false, 1: false, 400: false, 700: true, 719: true, 214: true, 226: true} {
		if got := Fatal(&Error{Code: code}); got != want {
			t.Errorf("code %d: fatal %v", code, got)
		}
	}
	if Fatal(nil) {
		t.Error("no error is fatal")
	}
}

func TestCString(t *testing.T) {
	b := []byte("out of memory\x00rest")
	if got := cString(unsafe.Pointer(&b[0])); got != "out of memory" {
		t.Errorf("%q", got)
	}
	if got := cString(nil); got != "unknown" {
		t.Errorf("%q", got)
	}
}

func TestBytes(t *testing.T) {
	v := struct{ a, b uint32 }{1, 0x01020304}
	if b := Bytes(&v); len(b) != 8 || b[4] != 4 || b[7] != 1 {
		t.Errorf("%v", b)
	}
	if got := Capability(90).String(); got != "9.0" {
		t.Errorf("%q", got)
	}
}

func TestUUID(t *testing.T) {
	b := [16]byte{0x1b, 0xad, 0xb0, 0x02, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0xff}
	for name, want := range map[string]string{
		"NVIDIA H100 80GB HBM3":             "GPU-1badb002-0102-0304-0506-0708090a0bff",
		"NVIDIA A100-SXM4-40GB MIG 1g.5gb":  "MIG-1badb002-0102-0304-0506-0708090a0bff",
		"NVIDIA GeForce RTX 4090 MIGHTIEST": "GPU-1badb002-0102-0304-0506-0708090a0bff",
	} {
		if got := uuid(name, b); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestIdentify: what a card is called without a context is what it is called with one.
func TestIdentify(t *testing.T) {
	n, err := Count()
	if errors.Is(err, ErrNoDriver) {
		if _, err := Identify(0); !errors.Is(err, ErrNoDriver) {
			t.Errorf("want %v, got %v", ErrNoDriver, err)
		}
		return
	}
	for ordinal := range n {
		id, err := Identify(ordinal)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Open(ordinal)
		if err != nil {
			t.Fatal(err)
		}
		if i := g.Info(); i.Name != id.Name || i.UUID != id.UUID || i.PCI != id.PCI || id.Name == "" || strings.Count(id.PCI, ":") != 2 {
			t.Errorf("device %d: %+v, with a context %+v", ordinal, id, i)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
