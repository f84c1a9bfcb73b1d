package door

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func hashed(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(h[:])
}

func TestKeys(t *testing.T) {
	k, err := ParseKeys([]byte("# people\n\nalice:alice-secret\r\n  bob :with:colons:in:it\nhidden:" + hashed("hidden-secret")))
	if err != nil || k.Len() != 3 {
		t.Fatal(k, err)
	}
	for secret, want := range map[string]string{"alice-secret": "alice", "with:colons:in:it": "bob", "hidden-secret": "hidden",
		"": "", "alice": "", "alice-secre": "", "alice-secret ": "", hashed("hidden-secret"): ""} {
		if name, ok := k.Name(secret); name != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", secret, name, ok, want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "no key",
		"# only a comment":                    "no key",
		"a:long-enough\nnothing":              "line 2: want name:key",
		":long-enough":                        "line 1: want name:key",
		"a:short":                             "line 1: a key has at least",
		"a:":                                  "line 1: a key has at least",
		"a: leading-space":                    "line 1: a key is made of",
		"a:with a space":                      "line 1: a key is made of",
		"a:with-\u00fcmlaut":                  "line 1: a key is made of",
		"a:sha256:12":                         "line 1: sha256: wants 64",
		"a:sha256:" + strings.Repeat("x", 64): "line 1: sha256: wants 64",
		"a\x01:long-enough":                   "line 1: a key's name",
		"a:long-enough\nb:long-enough":        "line 2: the key was given before",
		"a:long-enough\nb:" + hashed("long-enough"): "line 2: the key was given before",
	} {
		_, err := ParseKeys([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		for _, secret := range []string{"long-enough", "short", "with a space"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%q: the error holds the key: %v", text, err)
			}
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("# c\nalice:alice-secret\nbob:"+hashed("x")+"\n"), "alice-secret")
	f.Add([]byte("a:b:c:d:e:f:g\r\n"), "b:c:d:e:f:g")
	f.Add([]byte(":\n::\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, secret string) {
		k, err := ParseKeys(text)
		if err != nil {
			return
		}
		name, ok := k.Name(secret)
		if ok != (name != "") {
			t.Fatalf("%q %v", name, ok)
		}
		if ok && !strings.Contains(string(text), name) {
			t.Fatalf("%q is not of the file", name)
		}
	})
}
