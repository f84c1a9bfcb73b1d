//go:build !linux

package numa

// Stay does nothing: only Linux tells where devices are.
func (p Place) Stay() error { return nil }

// During calls f.
func (p Place) During(f func() error) error { return f() }
