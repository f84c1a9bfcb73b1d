package wire

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/jsontext"
)

// MaxDepth is how deep tensor data may nest.
const MaxDepth = 100

// scanner reads one JSON text. Its errors are syntax errors: they end the reading.
type scanner struct {
	b []byte
	p int
}

// Texts of RapidJSON's errors.
const (
	errEmpty      = "The document is empty."
	errFollowed   = "The document root must not be followed by other values."
	errValue      = "Invalid value."
	errName       = "Missing a name for object member."
	errColon      = "Missing a colon after a name of object member."
	errMember     = "Missing a comma or '}' after an object member."
	errElement    = "Missing a comma or ']' after an array element."
	errQuote      = "Missing a closing quotation mark in string."
	errEscape     = "Invalid escape character in string."
	errHex        = "Incorrect hex digit after \\u escape in string."
	errSurrogate  = "The surrogate pair in string is invalid."
	errFraction   = "Miss fraction part in number."
	errExponent   = "Miss exponent in number."
	errTooBig     = "Number too big to be stored in double."
	syntaxMessage = "failed to parse the request JSON buffer: %s at %d"
)

// syntax is Triton's answer to text that is not JSON: an internal error, though it is the client's.
func syntax(msg string, at int) error { return fault.New(fault.Mistaken, syntaxMessage, msg, at) }

func (s *scanner) fail(msg string) error { return syntax(msg, s.p) }

// next skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	for s.p < len(s.b) {
		c := s.b[s.p]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		s.p++
	}
	return 0
}

// begin steps over a byte order mark and refuses an empty text.
func (s *scanner) begin() error {
	if len(s.b) >= 3 && string(s.b[:3]) == "\xef\xbb\xbf" {
		s.p = 3
	}
	if s.next() == 0 {
		return s.fail(errEmpty)
	}
	return nil
}

func (s *scanner) end() error {
	if s.next() != 0 {
		return s.fail(errFollowed)
	}
	return nil
}

// object reads an object; member must read its value.
func (s *scanner) object(member func(key []byte) error) error {
	s.p++
	if s.next() == '}' {
		s.p++
		return nil
	}
	for {
		if s.next() != '"' {
			return s.fail(errName)
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if s.next() != ':' {
			return s.fail(errColon)
		}
		s.p++
		s.next()
		if err := member(key); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.p++
		case '}':
			s.p++
			return nil
		default:
			return s.fail(errMember)
		}
	}
}

// array reads an array; element must read its value.
func (s *scanner) array(element func() error) error {
	s.p++
	if s.next() == ']' {
		s.p++
		return nil
	}
	for {
		s.next()
		if err := element(); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.p++
		case ']':
			s.p++
			return nil
		default:
			return s.fail(errElement)
		}
	}
}

// skip reads any value without recursion: one bit a level is what depth costs.
func (s *scanner) skip() error {
	var open nesting
	for {
		deeper, err := s.skipOne(&open)
		if err != nil {
			return err
		}
		if deeper {
			continue
		}
		done, err := s.skipAfter(&open)
		if done || err != nil {
			return err
		}
	}
}

// skipOne reads a scalar, or opens a container that is not empty.
func (s *scanner) skipOne(open *nesting) (deeper bool, err error) {
	switch c := s.next(); c {
	case '{', '[':
		s.p++
		if s.next() == c+2 { // the closing bracket comes two after the opening one in ASCII
			s.p++
			return false, nil
		}
		open.push(c == '{')
		if c == '{' {
			return true, s.skipKey()
		}
		return true, nil
	}
	return false, s.scalar()
}

// skipAfter reads what follows a value: commas, and brackets that close.
func (s *scanner) skipAfter(open *nesting) (done bool, err error) {
	for open.depth > 0 {
		object := open.top()
		switch c := s.next(); {
		case c == ',' && object:
			s.p++
			return false, s.skipKey()
		case c == ',':
			s.p++
			return false, nil
		case c == '}' && object, c == ']' && !object:
			s.p++
			open.depth--
		case object:
			return true, s.fail(errMember)
		default:
			return true, s.fail(errElement)
		}
	}
	return true, nil
}

func (s *scanner) skipKey() error {
	if s.next() != '"' {
		return s.fail(errName)
	}
	if _, _, err := s.raw(); err != nil {
		return err
	}
	if s.next() != ':' {
		return s.fail(errColon)
	}
	s.p++
	return nil
}

// nesting remembers which containers are open: a set bit is an object.
type nesting struct {
	bits  []uint64
	depth int
}

func (n *nesting) push(object bool) {
	w, bit := n.depth/64, uint64(1)<<(n.depth%64)
	if w == len(n.bits) {
		n.bits = append(n.bits, 0)
	}
	n.bits[w] &^= bit
	if object {
		n.bits[w] |= bit
	}
	n.depth++
}

func (n *nesting) top() bool { d := n.depth - 1; return n.bits[d/64]>>(d%64)&1 == 1 }

// scalar reads a value that is no container.
func (s *scanner) scalar() error {
	switch s.next() {
	case '"':
		_, _, err := s.raw()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	n, err := scanNumber(s.b, s.p)
	if err != nil {
		return err
	}
	if !n.exact || n.exp > 280 {
		if _, err := n.float64(s.b, s.p); err != nil {
			return err
		}
	}
	s.p = n.end
	return nil
}

func (s *scanner) word(w string) error {
	for i := range len(w) {
		if s.p >= len(s.b) || s.b[s.p] != w[i] {
			return s.fail(errValue)
		}
		s.p++
	}
	return nil
}

// raw reads a string as it was sent, and tells whether it holds escapes; they are checked.
func (s *scanner) raw() (text []byte, escaped bool, err error) {
	s.p++
	from := s.p
	for ; s.p < len(s.b); s.p++ {
		switch c := s.b[s.p]; {
		case c == '"':
			text = s.b[from:s.p]
			s.p++
			return text, escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		case c == 0:
			return nil, false, s.fail(errQuote)
		case c < ' ':
			return nil, false, s.fail(errEscape)
		}
	}
	return nil, false, s.fail(errQuote)
}

// escape checks the escape that begins here and stops at its last byte.
func (s *scanner) escape() error {
	at := s.p
	s.p++
	if s.p >= len(s.b) {
		return syntax(errEscape, at)
	}
	switch s.b[s.p] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return syntax(errEscape, at)
	}
	hi, ok := jsontext.Hex4(s.b[s.p+1:])
	if !ok {
		return syntax(errHex, at)
	}
	s.p += 4
	if !utf16.IsSurrogate(hi) {
		return nil
	}
	if hi >= 0xdc00 || len(s.b)-s.p < 7 || s.b[s.p+1] != '\\' || s.b[s.p+2] != 'u' {
		return syntax(errSurrogate, at)
	}
	lo, ok := jsontext.Hex4(s.b[s.p+3:])
	if !ok {
		return syntax(errHex, at)
	}
	if utf16.DecodeRune(hi, lo) == utf8.RuneError {
		return syntax(errSurrogate, at)
	}
	s.p += 6
	return nil
}

// text reads a string: a view of the request's bytes, or a copy where it holds escapes.
func (s *scanner) text() ([]byte, error) {
	raw, escaped, err := s.raw()
	if err == nil && escaped {
		raw = appendUnescaped(nil, raw)
	}
	return raw, err
}

// appendUnescaped appends a string whose escapes raw has checked.
func appendUnescaped(dst, raw []byte) []byte {
	n := len(dst)
	dst = append(dst, raw...)
	return dst[:n+len(jsontext.Unescape(dst[n:]))]
}

// wrong is Triton's answer to a value of another type than is needed.
func wrong(what string) error {
	as := what
	if what == numberAsDouble {
		as = "double"
	}
	return fault.New(fault.Mistaken, "attempt to access JSON non-%s as %s", what, as)
}

// missing is Triton's answer to a member that is not there.
func missing(name string) error {
	return fault.New(fault.Mistaken, "attempt to access non-existing object member '%s'", name)
}

// unable puts what could not be read before the reason.
func unable(name string, err error) error {
	return fault.New(fault.Mistaken, "Unable to parse '%s': %s", name, fault.Of(err).Msg)
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "%s", fmt.Sprintf(format, args...))
}

// Valid tells what is wrong with a JSON text, nil if nothing is.
func Valid(text []byte) error {
	s := scanner{b: text}
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.skip(); err != nil {
		return err
	}
	return s.end()
}
