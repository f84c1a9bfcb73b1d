package nvjpeg

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// TestLayout: nvjpegImage_t is four pointers and four size_t (nvjpeg.h, CUDA 11 and later).
func TestLayout(t *testing.T) {
	if size, pitch := unsafe.Sizeof(image{}), unsafe.Offsetof(image{}.pitch); size != 64 || pitch != 32 {
		t.Errorf("an image of %d bytes with its pitch at %d", size, pitch)
	}
}

// TestSymbols: every function is bound once, under its own name.
func TestSymbols(t *testing.T) {
	f := new(functions)
	bound := map[any]bool{}
	for _, s := range f.symbols() {
		if bound[s.fn] {
			t.Errorf("%s is bound twice", s.name)
		}
		bound[s.fn] = true
		if _, ok := reflect.TypeFor[functions]().FieldByName(s.name); !ok {
			t.Errorf("%s is bound to a function of another name", s.name)
		}
	}
	if n := reflect.TypeFor[functions]().NumField(); len(bound) != n {
		t.Errorf("%d of %d functions are bound", len(bound), n)
	}
}

// TestLoad: with a library on the machine (VITRINE_NVJPEG names one that the loader does not find) its
// symbols are all there and it tells its version; without one the error names what was tried.
func TestLoad(t *testing.T) {
	names := Names
	if file := os.Getenv("VITRINE_NVJPEG"); file != "" {
		names = []string{file}
	}
	l, err := Load(names...)
	if errors.Is(err, dynlib.ErrNotFound) {
		if !strings.Contains(err.Error(), names[0]) {
			t.Errorf("%v does not name %s", err, names[0])
		}
		t.Skip(err)
	}
	if errors.Is(err, dynlib.ErrStatic) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if v := l.Version(); v < 11_000_000 {
		t.Errorf("version %d", v)
	}
	t.Logf("%s %s", l.Name(), VersionText(l.Version()))
}

func TestLoadNothing(t *testing.T) {
	if _, err := Load("/nowhere/libnvjpeg.so.13"); err == nil {
		t.Error("want an error")
	}
}

func TestVersionText(t *testing.T) {
	if got := VersionText(12_004_013); got != "12.4.13" {
		t.Errorf("%q", got)
	}
}

func TestErrorText(t *testing.T) {
	err := check("nvjpegCreateEx", 7)
	if got, want := err.Error(), "nvjpegCreateEx: NVJPEG_STATUS_ARCH_MISMATCH (7)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := check("f", 99).Error(); got != "f: unknown (99)" {
		t.Errorf("%q", got)
	}
	if check("f", success) != nil {
		t.Error("success is an error")
	}
}

// pretended is a library that records its calls and fails those that fail names.
type pretended struct {
	calls   []string
	fail    map[string]Status
	version int32 // major
	no      int32 // what Supported answers
	flags   uint32
	lengths []uint64
	images  []image
}

// functions are the pretended library's. Handles count up from 1.
func (p *pretended) functions() functions {
	next := uintptr(0)
	call := func(name string, detail ...any) Status {
		p.calls = append(p.calls, strings.TrimSpace(name+" "+strings.TrimSuffix(fmt.Sprintln(detail...), "\n")))
		return p.fail[name]
	}
	create := func(name string, to *uintptr) Status {
		if s := call(name); s != success {
			return s
		}
		next++
		*to = next
		return success
	}
	return functions{
		nvjpegGetProperty: func(property int32, v *int32) Status {
			*v = [3]int32{p.version, 1, 0}[property]
			return success
		},
		nvjpegCreateEx: func(b int32, _, _ unsafe.Pointer, flags uint32, h *uintptr) Status {
			p.flags = flags
			return create("create "+Backend(b).String(), h)
		},
		nvjpegDestroy:           func(uintptr) Status { return call("destroy") },
		nvjpegJpegStateCreate:   func(_ uintptr, s *uintptr) Status { return create("state", s) },
		nvjpegJpegStateDestroy:  func(uintptr) Status { return call("state destroy") },
		nvjpegJpegStreamCreate:  func(_ uintptr, s *uintptr) Status { return create("header", s) },
		nvjpegJpegStreamDestroy: func(uintptr) Status { return call("header destroy") },
		nvjpegJpegStreamParseHeader: func(_ uintptr, _ *byte, n uint64, _ uintptr) Status {
			return call("parse", n)
		},
		nvjpegDecodeBatchedSupported: func(_, _ uintptr, no *int32) Status {
			*no = p.no
			return call("supported")
		},
		nvjpegDecodeBatchedInitialize: func(_, _ uintptr, n, threads, format int32) Status {
			return call("initialize", n, threads, format)
		},
		nvjpegDecodeBatched: func(_, _ uintptr, data **byte, lengths *uint64, to *image, stream uintptr) Status {
			n := len(p.lengths)
			copy(p.lengths, unsafe.Slice(lengths, n))
			copy(p.images, unsafe.Slice(to, n))
			return call("decode", string(*unsafe.Slice(data, n)[n-1]), stream)
		},
	}
}

func (p *pretended) took() []string {
	c := p.calls
	p.calls = nil
	return c
}

func TestOpenPrefersHardware(t *testing.T) {
	for _, c := range []struct {
		name    string
		fail    map[string]Status
		version int32
		backend Backend
		flags   uint32
		calls   []string
	}{
		{"hardware", nil, 13, Hardware, flagStrict | flagInterpolate, []string{"create hardware", "state", "header"}},
		{"an old library", nil, 11, Hardware, flagStrict, []string{"create hardware", "state", "header"}},
		{"no engine", map[string]Status{"create hardware": 7}, 12, GPUHybrid, flagStrict | flagInterpolate,
			[]string{"create hardware", "create gpu_hybrid", "state", "header"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pretended{fail: c.fail, version: c.version}
			l := &Library{functions: p.functions()}
			got, err := l.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got.Backend() != c.backend || p.flags != c.flags {
				t.Errorf("backend %v with flags %d, want %v with %d", got.Backend(), p.flags, c.backend, c.flags)
			}
			if calls := p.took(); !slices.Equal(calls, c.calls) {
				t.Errorf("calls %q, want %q", calls, c.calls)
			}
			if err := got.Close(); err != nil {
				t.Error(err)
			}
			if calls := p.took(); !slices.Equal(calls, []string{"header destroy", "state destroy", "destroy"}) {
				t.Errorf("closed by %q", calls)
			}
			if err := got.Close(); err != nil || len(p.calls) > 0 {
				t.Errorf("a second Close: %v, %q", err, p.calls)
			}
		})
	}
}

// TestOpenFails: what was made before the failure is freed, and both reasons are told.
func TestOpenFails(t *testing.T) {
	p := &pretended{fail: map[string]Status{"create hardware": 7, "header": 5}, version: 13}
	_, err := (&Library{functions: p.functions()}).Open()
	if err == nil || !strings.Contains(err.Error(), "ARCH_MISMATCH") || !strings.Contains(err.Error(), "ALLOCATOR_FAILURE") {
		t.Errorf("got %v", err)
	}
	if calls := p.took(); !slices.Equal(calls[len(calls)-2:], []string{"state destroy", "destroy"}) {
		t.Errorf("calls %q", calls)
	}
}

func TestDecode(t *testing.T) {
	p := &pretended{version: 13, lengths: make([]uint64, 2), images: make([]image, 2), fail: map[string]Status{}}
	c, err := (&Library{functions: p.functions()}).Open()
	if err != nil {
		t.Fatal(err)
	}
	p.took()
	files, to := [][]byte{[]byte("ab"), []byte("c")}, []Image{{4096, 30}, {8192, 60}}
	for range 2 {
		if err := c.Decode(files, to, 77); err != nil {
			t.Fatal(err)
		}
	}
	if calls := p.took(); !slices.Equal(calls, []string{"initialize 2 1 5", "decode c 77", "decode c 77"}) {
		t.Errorf("calls %q", calls)
	}
	if p.lengths[0] != 2 || p.lengths[1] != 1 || p.images[1].channel[0] != 8192 || p.images[1].pitch[0] != 60 {
		t.Errorf("lengths %v, images %v", p.lengths, p.images)
	}
	p.fail["decode"] = 6
	var e *Error
	if err := c.Decode(files, to, 77); !errors.As(err, &e) || e.Status != 6 {
		t.Errorf("got %v", err)
	}
	p.took()
	delete(p.fail, "decode")
	if err := c.Decode(files, to, 77); err != nil {
		t.Error(err)
	}
	if calls := p.took(); calls[0] != "initialize 2 1 5" {
		t.Errorf("after a failure: %q", calls)
	}
	if err := c.Decode(files, to[:1], 77); err == nil {
		t.Error("two files for one image: want an error")
	}
}

func TestSupports(t *testing.T) {
	for _, c := range []struct {
		name     string
		hardware Status // of creating that backend
		parse    Status
		no       int32
		file     string
		want     bool
	}{
		{"supported", 0, 0, 0, "x", true},
		{"not by the engines", 0, 0, 1, "x", false},
		{"no file of nvJPEG's", 0, 3, 0, "x", false},
		{"empty", 0, 0, 0, "", false},
		{"hybrid", 7, 0, 1, "x", true},
	} {
		p := &pretended{version: 13, no: c.no, fail: map[string]Status{"create hardware": c.hardware, "parse": c.parse}}
		codec, err := (&Library{functions: p.functions()}).Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := codec.Supports([]byte(c.file)); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}
