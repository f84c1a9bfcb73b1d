package jsonscan

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// value reads any value into what encoding/json would make of it, numbers as json.Number.
func value(s *Scanner) (any, error) {
	switch s.Next() {
	case Object:
		m := map[string]any{}
		err := s.Object(func(key []byte) error {
			k := string(key)
			v, err := value(s)
			m[k] = v
			return err
		})
		return m, err
	case Array:
		a := []any{}
		err := s.Array(func(int) error {
			v, err := value(s)
			a = append(a, v)
			return err
		})
		return a, err
	case String:
		t, err := s.Text()
		return string(t), err
	case Bool:
		return s.Bool()
	case Null:
		_, err := s.Null()
		return nil, err
	}
	raw, err := s.Raw()
	return json.Number(raw), err
}

func parse(text string) (any, error) {
	s := New([]byte(text))
	v, err := value(&s)
	if err != nil {
		return nil, err
	}
	return v, s.End()
}

func standard(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

var texts = []string{
	`{}`, `[]`, `""`, ` [ 1 , -0.5e+3 , 0 , 1E9 ] `, `{"a":{"b":[true,false,null,"x"]}}`,
	`"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00"`, `"\ud800"`, `"\ud800\u0041"`, `"\udc00\ud800"`, `"é😀"`,
	`{"images":["aGVsbG8=","data:image\/png;base64,aGVsbG8="],"normalize":false}`,
	`{"a":1,"a":2}`, "", ` `, `{`, `[`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `[1,]`, `[1 2]`, `{"a" 1}`,
	`{a:1}`, `nul`, `nulll`, `tru`, `truE`, `01`, `1.`, `.5`, `-`, `+1`, `1e`, `1e+`, `0x1`, `NaN`, `Infinity`, `'a'`, `"a`, `"\`, `"\"`,
	`"\x"`, `"\u12"`, `"\u12G4"`, "\"a\nb\"", "\"\x00\"", "\"\x7f\"", "\"\xff\"", "\"\xc3\"", "[1]\x00", `[1]]`, `[1] 2`, "\xef\xbb\xbf[]",
}

func check(t *testing.T, text string) {
	t.Helper()
	got, err := parse(text)
	var e *Error
	if errors.As(err, &e) && e.TooDeep {
		return
	}
	want := json.Valid([]byte(text)) && utf8.ValidString(text)
	if (err == nil) != want {
		t.Fatalf("%q: error %v, valid %v", text, err, want)
	}
	if err != nil {
		return
	}
	std, err := standard(text)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(std)
	if !bytes.Equal(a, b) {
		t.Fatalf("%q: got %s, want %s", text, a, b)
	}
	s := New([]byte(text))
	if err := s.Skip(); err != nil || s.End() != nil {
		t.Fatalf("%q: Skip: %v", text, err)
	}
}

func TestAgainstEncodingJSON(t *testing.T) {
	for _, text := range texts {
		check(t, text)
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { check(t, text) })
}

func TestDepth(t *testing.T) {
	for depth, ok := range map[int]bool{1: true, MaxDepth: true, MaxDepth + 1: false, 100_000: false} {
		for _, brackets := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			middle := "1"
			text := strings.Repeat(brackets[0], depth) + middle + strings.Repeat(brackets[1], depth)
			s := New([]byte(text))
			err := s.Skip()
			var e *Error
			if ok != (err == nil) || !ok && !(errors.As(err, &e) && e.TooDeep) {
				t.Errorf("depth %d: %v", depth, err)
			}
		}
	}
}

func TestErrorsAsPythonWordsThem(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1`:     "Expecting ',' delimiter at byte 6",
		`{"a" 1}`:    "Expecting ':' delimiter at byte 5",
		`{1:1}`:      "Expecting property name enclosed in double quotes at byte 1",
		`["abc`:      "Unterminated string starting at at byte 1",
		`[] x`:       "Extra data at byte 3",
		`[1,`:        "Expecting value at byte 3",
		"[\"a\tb\"]": "Invalid control character at at byte 3",
		`["a\x"]`:    `Invalid \escape at byte 3`,
	} {
		_, err := parse(text)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestBase64(t *testing.T) {
	long := bytes.Repeat([]byte{0, 1, 0xfb, 0xff, 0x7e, 9}, 500)
	for n := range 70 {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			text := []byte(enc.EncodeToString(long[:n]))
			got, bad := DecodeBase64(text, text, false)
			if bad >= 0 || !bytes.Equal(text[:got], long[:n]) {
				t.Fatalf("%d bytes: bad at %d, got %x", n, bad, text[:got])
			}
		}
	}
	for _, c := range []struct {
		text  string
		lines bool
		want  string
		bad   int
	}{
		{"aGVs bG8=", false, "hello", -1},
		{"aGVs\r\nbG8=\n", true, "hello", -1},
		{"aGVs\nbG8=", false, "", 4},
		{"aGVsbG8=x", false, "", 8},
		{"aGVsbG8==", false, "", 8},
		{"aGVsbA=", false, "", 7},
		{"aGVsbG8hI", false, "", 9},
		{"=", false, "", 0},
		{"aGVsbG8hIQ==\x00", true, "", 12},
		{"aGVsbG8%", false, "", 7},
		{"", false, "", -1},
	} {
		b := []byte(c.text)
		n, bad := DecodeBase64(b, b, c.lines)
		if bad != c.bad || bad < 0 && string(b[:n]) != c.want {
			t.Errorf("%q: %q, bad %d, want %q, %d", c.text, b[:n], bad, c.want, c.bad)
		}
	}
}

// FuzzBase64 compares with encoding/base64 after bringing the text into its standard form.
func FuzzBase64(f *testing.F) {
	for _, s := range []string{"aGVsbG8=", "aGVsbG8", "-_-_", "+/+/", "a", "ab==", "ab=", "====", "aGVs bG8hIGFuZCBtb3Jl", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		clean := strings.NewReplacer(" ", "", "-", "+", "_", "/").Replace(text)
		enc := base64.StdEncoding
		if !strings.Contains(clean, "=") {
			enc = base64.RawStdEncoding
		}
		if strings.ContainsAny(clean, "\r\n") {
			clean = "!" // encoding/base64 skips line breaks
		}
		want, err := enc.DecodeString(clean)
		b := []byte(text)
		n, bad := DecodeBase64(b, b, false)
		if (err == nil) != (bad < 0) || err == nil && !bytes.Equal(want, b[:n]) {
			t.Fatalf("%q: %x, bad %d; want %x, %v", text, b[:n], bad, want, err)
		}
	})
}

func BenchmarkBase64(b *testing.B) {
	src := []byte(base64.StdEncoding.EncodeToString(make([]byte, 45_000)))
	dst := make([]byte, len(src))
	b.Run("own", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			DecodeBase64(dst, src, false)
		}
	})
	b.Run("standard", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			_, _ = base64.StdEncoding.Decode(dst, src)
		}
	})
}
