package cli

import (
	"math"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Bytes
		text string
	}{
		{"4096", 4096, "4KiB"}, {"16MiB", 16 << 20, "16MiB"}, {"16mib", 16 << 20, "16MiB"},
		{"1.5 GB", 1_500_000_000, "1500000000"}, {"0", 0, "0"}, {"3B", 3, "3"}, {"2GiB", 2 << 30, "2GiB"},
	} {
		var b Bytes
		if err := b.Set(c.in); err != nil || b != c.want || b.String() != c.text {
			t.Errorf("Set(%q) = %d %q, %v; want %d %q", c.in, b, b.String(), err, c.want, c.text)
		}
	}
	for _, in := range []string{"", "-1", "x", "1XB", "1e30", "GiB", "NaN", "Inf"} {
		var b Bytes
		if err := b.Set(in); err == nil {
			t.Errorf("Set(%q) = %d, want an error", in, b)
		}
	}
}

func TestCountKeepsItsBounds(t *testing.T) {
	var n int
	c := NewCount(&n, 5, 1, math.MaxInt)
	if n != 5 || c.String() != "5" {
		t.Errorf("default: %d", n)
	}
	for _, in := range []string{"0", "-3", "2.5", ""} {
		if err := c.Set(in); err == nil || n != 5 {
			t.Errorf("Set(%q) = %v, value %d", in, err, n)
		}
	}
	if err := c.Set("9"); err != nil || n != 9 {
		t.Errorf("Set(9): %v, %d", err, n)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"max-batch-size", "max-body", "engine"}
	for in, want := range map[string]string{
		"max-bach-size": ` (did you mean "max-batch-size"?)`,
		"engin":         ` (did you mean "engine"?)`,
		"precision":     "",
	} {
		if got := suggest(in, known); got != want {
			t.Errorf("suggest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestChoiceFoldsWordsBehindAColon(t *testing.T) {
	var v string
	for want, words := range map[string][]string{"a|b": {"a", "b"}, "a[:x|y]|b": {"a", "b", "a:x", "a:y"}, "b|a:x": {"b", "a:x"}} {
		if got := NewChoice(&v, "b", words...).Type(); got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}
