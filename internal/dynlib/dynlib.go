// Package dynlib loads shared libraries at run time, without cgo. What a library adds (ONNX Runtime,
// libjpeg-turbo, a GPU's driver) is optional: its absence is an error to report, never a panic and never
// a link failure. With the build tag `static` nothing can be loaded and every Open fails with ErrStatic;
// in exchange the binary needs no C library at all.
package dynlib

import (
	"errors"
	"fmt"
	"strings"
)

// ErrStatic is what Open returns in a build that cannot load libraries.
var ErrStatic = errors.New("this binary was built with the tag static: it loads no shared libraries")

// ErrNotFound is in the chain of Open's error when none of the names could be loaded.
var ErrNotFound = errors.New("no shared library could be loaded")

// ErrClosed is returned for a library that was closed.
var ErrClosed = errors.New("the shared library was closed")

// Attempt is one name that Open tried, with the loader's reason for refusing it.
type Attempt struct {
	Name string
	Err  error
}

// OpenError lists everything that Open tried.
type OpenError struct {
	Attempts []Attempt
	Package  string // the Debian package that holds the library; empty if unknown
}

// Error names each attempt with the loader's own words, and the package to install.
func (e *OpenError) Error() string {
	var s strings.Builder
	s.WriteString(ErrNotFound.Error())
	for i, a := range e.Attempts {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&s, "%s%s (%v)", sep, a.Name, a.Err)
	}
	if e.Package != "" {
		fmt.Fprintf(&s, "; on Debian: apt-get install %s", e.Package)
	}
	return s.String()
}

// Unwrap is ErrNotFound and the reason of each attempt.
func (e *OpenError) Unwrap() []error {
	errs := []error{ErrNotFound}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// SymbolError is a function that a loaded library lacks, usually because the library is too old.
type SymbolError struct {
	Library, Symbol string
	Err             error
}

// Error says which symbol is missing in which library.
func (e *SymbolError) Error() string {
	return fmt.Sprintf("%s has no symbol %s: %v", e.Library, e.Symbol, e.Err)
}

// Unwrap is the loader's reason.
func (e *SymbolError) Unwrap() error { return e.Err }

// debianPackages maps the start of a library's file name to the package that installs it.
var debianPackages = []struct{ prefix, pkg string }{
	{"libturbojpeg", "libturbojpeg0"},
	{"libwebp", "libwebp7"},
	{"libpng", "libpng16-16"},
	{"libcuda.", "libcuda1"},
	{"libnvidia-ml", "libnvidia-ml1"},
	{"libm.", "libc6"},
	{"libc.", "libc6"},
}

// packageFor is the Debian package of the first name that is known, or "".
func packageFor(names []string) string {
	for _, name := range names {
		base := name[strings.LastIndexByte(name, '/')+1:]
		for _, p := range debianPackages {
			if strings.HasPrefix(base, p.prefix) {
				return p.pkg
			}
		}
	}
	return ""
}
