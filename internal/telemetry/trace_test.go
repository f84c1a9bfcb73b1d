package telemetry

import (
	"strings"
	"testing"
)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTraceparent(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"the specification's", example, true},
		{"not sampled", strings.TrimSuffix(example, "1") + "0", true},
		{"a later version", "cc" + example[2:], true},
		{"a later version with more", "cc" + example[2:] + "-what-the-future-holds", true},
		{"empty", "", false},
		{"version ff", "ff" + example[2:], false},
		{"version 00 with more", example + "-x", false},
		{"a later version without its dash", "cc" + example[2:] + "x", false},
		{"upper case", strings.ToUpper(example), false},
		{"no trace", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
		{"no parent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
		{"not hexadecimal", strings.Replace(example, "4bf9", "4bg9", 1), false},
		{"short", example[:54], false},
		{"wrong dash", strings.Replace(example, "-01", "_01", 1), false},
	} {
		got, err := ParseTraceparent(c.in)
		if (err == nil) != c.ok || got.IsZero() == c.ok {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestTraceparentRoundTrips(t *testing.T) {
	trace, err := ParseTraceparent(example)
	if err != nil || trace.String() != example || !trace.Sampled() {
		t.Fatalf("%s, %v", trace, err)
	}
	if trace.TraceID() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("trace id %s", trace.TraceID())
	}
	child := trace.Child()
	if child.ID != trace.ID || child.Parent == trace.Parent || child.Flags != trace.Flags {
		t.Errorf("child %s of %s", child, trace)
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add(example)
	f.Add("cc" + example[2:] + "-more")
	f.Add("")
	f.Add(strings.Repeat("-", 55))
	f.Fuzz(func(t *testing.T, s string) {
		trace, err := ParseTraceparent(s)
		if err != nil {
			if !trace.IsZero() {
				t.Errorf("%q failed with a trace", s)
			}
			return
		}
		if again := trace.String(); again[2:] != s[2:55] {
			t.Errorf("%q came back as %q", s, again)
		}
	})
}

func TestRequestIDs(t *testing.T) {
	a, b := NewRequestID(), NewRequestID()
	if a == b || len(a) != 32 || !ValidRequestID(a) {
		t.Errorf("%q, %q", a, b)
	}
	for id, want := range map[string]bool{
		"req-7.A_b:9/=": true, "": false, "two words": false, "line\nbreak": false, `"`: false, `\`: false,
		"naïve": false, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		if ValidRequestID(id) != want {
			t.Errorf("%q: valid is %v", id, !want)
		}
	}
}
