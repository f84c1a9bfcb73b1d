// Package capi is the part of ONNX Runtime's C API that the engine needs, called without cgo. The library
// is loaded at run time; its functions stand in a table whose order is part of its binary interface.
package capi

//go:generate go run ./gen

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// Version is the version of the table that is asked for: that of ONNX Runtime 1.24. Every later release
// serves it too.
const Version = 24

// function is a place in the table.
type function int

// API is a loaded library. Its methods may be called from any goroutine, as ONNX Runtime's functions may.
type API struct {
	Path    string // what the library was loaded from
	Release string // "1.24.1"
	table   *[tableSize]uintptr

	mu     sync.Mutex
	env    Env
	shared bool // env has thread pools that sessions may share
}

// loaded are the libraries of this process. They are never unloaded: their threads may outlive every
// session.
var loaded struct {
	sync.Mutex
	byPath map[string]*API
}

// Load loads the first of the libraries that can be used, once for the process. One that is too old is
// passed over.
func Load(paths ...string) (*API, error) {
	loaded.Lock()
	defer loaded.Unlock()
	failed := &dynlib.OpenError{}
	for _, path := range paths {
		if a := loaded.byPath[path]; a != nil {
			return a, nil
		}
		a, err := load(path)
		if err == nil {
			if loaded.byPath == nil {
				loaded.byPath = map[string]*API{}
			}
			loaded.byPath[path] = a
			return a, nil
		}
		if errors.Is(err, dynlib.ErrStatic) {
			return nil, err
		}
		failed.Attempts = append(failed.Attempts, dynlib.Attempt{Name: path, Err: err})
	}
	return nil, failed
}

func load(path string) (*API, error) {
	lib, err := dynlib.Open(path)
	var tried *dynlib.OpenError
	if errors.As(err, &tried) {
		return nil, tried.Attempts[0].Err // the loader's words alone
	}
	if err != nil {
		return nil, err
	}
	a, err := open(lib)
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	return a, nil
}

// base is OrtApiBase.
type base struct{ getAPI, getVersionString uintptr }

func open(lib *dynlib.Library) (*API, error) {
	var getBase func() unsafe.Pointer
	if err := lib.Bind(&getBase, "OrtGetApiBase"); err != nil {
		return nil, fmt.Errorf("not ONNX Runtime: %w", err)
	}
	b := (*base)(getBase())
	a := &API{Path: lib.Name(), Release: text(dynlib.Call(b.getVersionString))}
	a.table = (*[tableSize]uintptr)(pointer(dynlib.Call(b.getAPI, Version)))
	if a.table == nil {
		return nil, fmt.Errorf("it is ONNX Runtime %s, and 1.%d or later is needed", a.Release, Version)
	}
	return a, nil
}

// pointer is an address that C gave as a pointer. It never points into Go's memory.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// text copies a C string.
func text(address uintptr) string {
	if address == 0 {
		return ""
	}
	p := pointer(address)
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// Error is a status that a call returned.
type Error struct {
	Call string
	Code int // OrtErrorCode
	Text string
}

// Error is the call and the library's own words.
func (e *Error) Error() string { return fmt.Sprintf("ONNX Runtime: %s: %s", e.Call, e.Text) }

// call calls a function that returns a status. Pointers among the arguments must be converted in the
// argument list itself; what they point to stays where it is until call returns.
//
//go:uintptrescapes
func (a *API) call(name string, f function, args ...uintptr) error {
	status := dynlib.Call(a.table[f], args...)
	if status == 0 {
		return nil
	}
	e := &Error{Call: name, Code: int(int32(dynlib.Call(a.table[fnGetErrorCode], status))), Text: text(dynlib.Call(a.table[fnGetErrorMessage], status))}
	dynlib.Call(a.table[fnReleaseStatus], status)
	return e
}

// release calls a function that takes one handle and returns nothing; 0 is none.
func (a *API) release(f function, handle uintptr) {
	if handle != 0 {
		dynlib.Call(a.table[f], handle)
	}
}

// cString is a string that C reads.
func cString(s string) *byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &b[0]
}

// cStrings is an array of them, nil for none.
func cStrings(list []string) (first **byte, keep []*byte) {
	for _, s := range list {
		keep = append(keep, cString(s))
	}
	if keep == nil {
		return nil, nil
	}
	return &keep[0], keep
}
