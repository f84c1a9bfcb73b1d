//go:build !static && linux && (amd64 || arm64)

package dynlib

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ebitengine/purego"
)

// Library is one loaded shared library. Its methods may be called from any goroutine.
type Library struct {
	name   string
	mu     sync.RWMutex
	handle uintptr // 0 once closed
}

// Open loads the first of names that the system's loader accepts; a name with a slash is a path, one
// without is looked up as the loader does. All symbols are resolved at once and stay private to the
// library, so that a broken library fails here and two libraries cannot take each other's symbols.
func Open(names ...string) (*Library, error) {
	e := &OpenError{Package: packageFor(names)}
	for _, name := range names {
		h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err == nil {
			return &Library{name: name, handle: h}, nil
		}
		e.Attempts = append(e.Attempts, Attempt{Name: name, Err: err})
	}
	return nil, e
}

// Name is the name that Open succeeded with.
func (l *Library) Name() string { return l.name }

// Symbol is the address of a function or variable.
func (l *Library) Symbol(name string) (uintptr, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.handle == 0 {
		return 0, &SymbolError{Library: l.name, Symbol: name, Err: ErrClosed}
	}
	addr, err := purego.Dlsym(l.handle, name)
	if err == nil && addr == 0 {
		err = errors.New("its address is null")
	}
	if err != nil {
		return 0, &SymbolError{Library: l.name, Symbol: name, Err: err}
	}
	return addr, nil
}

// Bind makes *fn call the named C function; fn points to a variable of a function type whose parameters
// have C's sizes (int is int32, long and size_t are 64 bits). A missing symbol leaves *fn as it was. The
// function must not be called after Close. Go memory that C keeps beyond the call must be pinned.
func (l *Library) Bind(fn any, name string) (err error) {
	addr, err := l.Symbol(name)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = &SymbolError{Library: l.name, Symbol: name, Err: fmt.Errorf("cannot bind %T: %v", fn, r)}
		}
	}()
	purego.RegisterFunc(fn, addr)
	return nil
}

// Call calls the C function at an address, such as one of a table that a library gave, with integers and
// pointers (up to 15) and returns what it returns in one word. Pointers into Go's memory must be converted
// to uintptr in the argument list itself; what they point to then stays where it is until Call returns.
//
//go:uintptrescapes
func Call(address uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(address, args...)
	return r
}

// Close unloads the library once; later calls do nothing.
func (l *Library) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle == 0 {
		return nil
	}
	h := l.handle
	l.handle = 0
	if err := purego.Dlclose(h); err != nil {
		return fmt.Errorf("close %s: %w", l.name, err)
	}
	return nil
}
