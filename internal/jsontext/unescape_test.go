package jsontext

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{``, `plain`, `\"\\\/\b\f\n\r\t`, `\u0041\u00e9\u20AC`, `\ud83d\ude00`, `\ud83d`, `\ude00x`, `\ud83d\u0041`, `\ud83d\ud83d\ude00`, `é\n€`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want string
		if json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &want) != nil || !json.Valid(append(append([]byte{'"'}, raw...), '"')) {
			return
		}
		if bytes.ContainsRune([]byte(want), '\uFFFD') {
			return // encoding/json replaces bad UTF-8 too, which the scanners refuse or keep by themselves
		}
		if got := Unescape(bytes.Clone(raw)); string(got) != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	})
}

func TestALoneSurrogateIsReplaced(t *testing.T) {
	for in, want := range map[string]string{`\ud83d`: "\uFFFD", `\ude00x`: "\uFFFDx", `\ud83d\u0041`: "\uFFFDA"} {
		if got := Unescape([]byte(in)); string(got) != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestHex4(t *testing.T) {
	for in, want := range map[string]rune{"00e9": 0xe9, "20AC": 0x20ac, "20ac!": 0x20ac, "20g0": -1, "20a": -1, "": -1} {
		if c, ok := Hex4([]byte(in)); ok != (want >= 0) || ok && c != want {
			t.Errorf("%q: %x, %v", in, c, ok)
		}
	}
}
