// Package jsonscan reads JSON in place: one pass over a request's body, strict (RFC 8259), without a
// copy of what it reads. Strings are unescaped and base64 is decoded where they lie, because both
// only shrink; so the memory of a request is its body and nothing more.
//
// Its errors use the words and positions of Python's json module, since clients of FastAPI services
// see those.
package jsonscan

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/vitrine-project/vitrine/internal/jsontext"
)

// MaxDepth is how deep arrays and objects may nest; Triton has the same limit.
const MaxDepth = 100

// Kind is what the next value is.
type Kind uint8

const (
	End Kind = iota // no more bytes
	Object
	Array
	String
	Number
	Bool
	Null
	Bad // no value starts with this byte
)

// Error is text that is not JSON, or nests too deep.
type Error struct {
	Pos     int // offset in bytes
	Msg     string
	TooDeep bool
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Pos) }

// Scanner reads one JSON text. The text is overwritten while it is read; slices that methods return
// are views into it.
type Scanner struct {
	buf   []byte
	pos   int
	depth int
}

// New returns a scanner of text.
func New(text []byte) Scanner { return Scanner{buf: text} }

func (s *Scanner) fail(msg string) error { return &Error{Pos: s.pos, Msg: msg} }

func (s *Scanner) space() {
	for s.pos < len(s.buf) {
		switch s.buf[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// accept steps over c, and the space before it, if it comes next.
func (s *Scanner) accept(c byte) bool {
	s.space()
	if s.pos < len(s.buf) && s.buf[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// Next tells what comes next, without stepping over it.
func (s *Scanner) Next() Kind {
	s.space()
	if s.pos >= len(s.buf) {
		return End
	}
	switch c := s.buf[s.pos]; {
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == '"':
		return String
	case c == '-' || c >= '0' && c <= '9':
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	}
	return Bad
}

// Object reads an object; field is called for each member and must read its value. Duplicate keys
// are the caller's to refuse.
func (s *Scanner) Object(field func(key []byte) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	if s.accept('}') {
		s.depth--
		return nil
	}
	for {
		if s.Next() != String {
			return s.fail("Expecting property name enclosed in double quotes")
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if !s.accept(':') {
			return s.fail("Expecting ':' delimiter")
		}
		if err := field(key); err != nil {
			return err
		}
		if more, err := s.another('}'); !more {
			return err
		}
	}
}

// Array reads an array; item is called for each element and must read it.
func (s *Scanner) Array(item func(i int) error) error {
	if err := s.open('['); err != nil {
		return err
	}
	if s.accept(']') {
		s.depth--
		return nil
	}
	for i := 0; ; i++ {
		if err := item(i); err != nil {
			return err
		}
		if more, err := s.another(']'); !more {
			return err
		}
	}
}

// key reads a key; one with escapes is copied, so that Raw of what holds it stays as it was sent.
func (s *Scanner) key() ([]byte, error) {
	raw, err := s.checked()
	if err == nil && bytes.IndexByte(raw, '\\') >= 0 {
		raw = jsontext.Unescape(bytes.Clone(raw))
	}
	return raw, err
}

func (s *Scanner) open(c byte) error {
	if !s.accept(c) {
		return s.fail("Expecting value")
	}
	if s.depth++; s.depth > MaxDepth {
		return &Error{Pos: s.pos - 1, Msg: fmt.Sprintf("more than %d levels of nesting", MaxDepth), TooDeep: true}
	}
	return nil
}

// another reads what follows an element: a comma, or the end of its container.
func (s *Scanner) another(end byte) (bool, error) {
	if s.accept(',') {
		return true, nil
	}
	if s.accept(end) {
		s.depth--
		return false, nil
	}
	return false, s.fail("Expecting ',' delimiter")
}

// End makes sure that nothing follows.
func (s *Scanner) End() error {
	if s.Next() != End {
		return s.fail("Extra data")
	}
	return nil
}

// Skip reads any value.
func (s *Scanner) Skip() error {
	switch s.Next() {
	case Object:
		return s.Object(func([]byte) error { return s.Skip() })
	case Array:
		return s.Array(func(int) error { return s.Skip() })
	case String:
		_, err := s.checked()
		return err
	case Number:
		return s.number()
	case Bool:
		_, err := s.Bool()
		return err
	case Null:
		return s.word("null")
	}
	return s.fail("Expecting value")
}

// Raw reads any value and returns its text as it was sent.
func (s *Scanner) Raw() ([]byte, error) {
	s.space()
	from := s.pos
	if err := s.Skip(); err != nil {
		return nil, err
	}
	return s.buf[from:s.pos], nil
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	s.space()
	if s.pos < len(s.buf) && s.buf[s.pos] == 't' {
		return true, s.word("true")
	}
	return false, s.word("false")
}

// Null reads null if it comes next.
func (s *Scanner) Null() (bool, error) {
	if s.Next() != Null {
		return false, nil
	}
	return true, s.word("null")
}

func (s *Scanner) word(w string) error {
	if len(s.buf)-s.pos < len(w) || string(s.buf[s.pos:s.pos+len(w)]) != w {
		return s.fail("Expecting value")
	}
	s.pos += len(w)
	return nil
}

// number steps over the longest number; what may not follow it is the container's to refuse.
func (s *Scanner) number() error {
	p := s.pos
	if s.at(p) == '-' {
		p++
	}
	switch {
	case s.at(p) == '0':
		p++
	case digit(s.at(p)):
		p = s.digits(p)
	default:
		return s.fail("Expecting value")
	}
	if s.at(p) == '.' && digit(s.at(p+1)) {
		p = s.digits(p + 1)
	}
	if c := s.at(p); c == 'e' || c == 'E' {
		q := p + 1
		if c := s.at(q); c == '+' || c == '-' {
			q++
		}
		if digit(s.at(q)) {
			p = s.digits(q)
		}
	}
	s.pos = p
	return nil
}

func (s *Scanner) at(p int) byte {
	if p < len(s.buf) {
		return s.buf[p]
	}
	return 0
}

func (s *Scanner) digits(p int) int {
	for digit(s.at(p)) {
		p++
	}
	return p
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// extent finds the string that comes next: its first byte, its closing quote, and its first
// backslash (-1 if it has none).
func (s *Scanner) extent() (from, to, escape int, err error) {
	if !s.accept('"') {
		return 0, 0, 0, s.fail("Expecting value")
	}
	from = s.pos
	n := bytes.IndexByte(s.buf[from:], '"')
	if n < 0 {
		return 0, 0, 0, s.unterminated(from)
	}
	escape = bytes.IndexByte(s.buf[from:from+n], '\\')
	if escape < 0 {
		return from, from + n, -1, nil
	}
	escape += from
	for p := escape; p < len(s.buf); p++ {
		switch s.buf[p] {
		case '\\':
			p++
		case '"':
			return from, p, escape, nil
		}
	}
	return 0, 0, 0, s.unterminated(from)
}

func (s *Scanner) unterminated(from int) error {
	return &Error{Pos: from - 1, Msg: "Unterminated string starting at"}
}

// checked reads a string without unescaping it.
func (s *Scanner) checked() (raw []byte, err error) {
	from, to, escape, err := s.extent()
	if err != nil {
		return nil, err
	}
	raw = s.buf[from:to]
	if err := checkText(raw, from); err != nil {
		return nil, err
	}
	if escape >= 0 {
		if err := checkEscapes(raw, from); err != nil {
			return nil, err
		}
	}
	s.pos = to + 1
	return raw, nil
}

// Text reads a string: valid UTF-8, unescaped. A lone surrogate becomes U+FFFD.
func (s *Scanner) Text() ([]byte, error) {
	raw, err := s.checked()
	if err != nil {
		return nil, err
	}
	return jsontext.Unescape(raw), nil
}

// Opaque reads a string whose bytes the caller checks itself: where escaped is false the content was
// not looked at, and the caller must refuse what JSON forbids in a string (bytes below 0x20 and
// invalid UTF-8). Base64 does so anyway, and is spared a pass over megabytes.
func (s *Scanner) Opaque() (b []byte, escaped bool, err error) {
	from, to, escape, err := s.extent()
	if err != nil {
		return nil, false, err
	}
	if escape < 0 {
		s.pos = to + 1
		return s.buf[from:to], false, nil
	}
	s.pos = from - 1
	b, err = s.Text()
	return b, true, err
}

func checkText(raw []byte, at int) error {
	for i, c := range raw {
		if c < 0x20 {
			return &Error{Pos: at + i, Msg: "Invalid control character at"}
		}
	}
	if !utf8.Valid(raw) {
		return &Error{Pos: at, Msg: "Invalid UTF-8 in string starting at"}
	}
	return nil
}

func checkEscapes(raw []byte, at int) error {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		switch raw[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if _, ok := jsontext.Hex4(raw[i+1:]); !ok {
				return &Error{Pos: at + i, Msg: `Invalid \uXXXX escape`}
			}
			i += 4
		default:
			return &Error{Pos: at + i - 1, Msg: `Invalid \escape`}
		}
	}
	return nil
}
