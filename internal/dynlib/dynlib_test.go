package dynlib

import (
	"errors"
	"testing"
)

func TestOpenErrorText(t *testing.T) {
	e := &OpenError{
		Attempts: []Attempt{{"libturbojpeg.so.0", errors.New("no such file")}, {"libturbojpeg.so", errors.New("wrong class")}},
		Package:  packageFor([]string{"libturbojpeg.so.0"}),
	}
	want := "no shared library could be loaded: libturbojpeg.so.0 (no such file); libturbojpeg.so (wrong class)" +
		"; on Debian: apt-get install libturbojpeg0"
	if got := e.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !errors.Is(e, ErrNotFound) || !errors.Is(e, e.Attempts[1].Err) {
		t.Error("the chain lacks ErrNotFound or an attempt's reason")
	}
}

func TestPackageFor(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"libturbojpeg.so.0", "libturbojpeg0"},
		{"/opt/x/libwebp.so.7", "libwebp7"},
		{"libcuda.so.1", "libcuda1"},
		{"libcudart.so.12", ""},
		{"libmystery.so", ""},
	} {
		if got := packageFor([]string{c.name}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
