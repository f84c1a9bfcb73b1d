//go:build static

package dynlib

import (
	"errors"
	"testing"
)

func TestStaticBuildLoadsNothing(t *testing.T) {
	if _, err := Open("libc.so.6"); !errors.Is(err, ErrStatic) {
		t.Errorf("got %v", err)
	}
}
