//go:build static || !linux || !(amd64 || arm64)

package dynlib

// Library is one loaded shared library; in this build there never is one.
type Library struct{}

// Open fails with ErrStatic.
func Open(...string) (*Library, error) { return nil, ErrStatic }

// Name is empty.
func (*Library) Name() string { return "" }

// Symbol fails with ErrStatic.
func (*Library) Symbol(string) (uintptr, error) { return 0, ErrStatic }

// Bind fails with ErrStatic.
func (*Library) Bind(any, string) error { return ErrStatic }

// Close does nothing.
func (*Library) Close() error { return nil }

// Call is never reached in this build: there is no library that could have given an address.
func Call(uintptr, ...uintptr) uintptr { panic(ErrStatic) }
