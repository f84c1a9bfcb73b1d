// Package jsontext undoes JSON's string escapes (RFC 8259, section 7) for the scanners that read
// requests in place. It imports nothing of Vitrine.
package jsontext

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

var short = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// Unescape replaces the escapes of a checked string in place and returns what is left of b: an escape
// of 2, 6 or 12 bytes becomes at most 1, 3 or 4. A lone surrogate becomes U+FFFD.
func Unescape(b []byte) []byte {
	w := bytes.IndexByte(b, '\\')
	if w < 0 {
		return b
	}
	for r := w; r < len(b); {
		if b[r] != '\\' {
			b[w] = b[r]
			w, r = w+1, r+1
			continue
		}
		if c := b[r+1]; c != 'u' {
			b[w] = short[c]
			w, r = w+1, r+2
			continue
		}
		c, n := codePoint(b[r:])
		w += utf8.EncodeRune(b[w:], c)
		r += n
	}
	return b[:w]
}

// codePoint reads \uXXXX, or a surrogate pair of two; n is the number of bytes read.
func codePoint(b []byte) (c rune, n int) {
	hi, _ := Hex4(b[2:])
	if !utf16.IsSurrogate(hi) {
		return hi, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if lo, ok := Hex4(b[8:]); ok {
			if c := utf16.DecodeRune(hi, lo); c != utf8.RuneError {
				return c, 12
			}
		}
	}
	return utf8.RuneError, 6
}

// Hex4 reads the four hexadecimal digits of \uXXXX at the start of b.
func Hex4(b []byte) (c rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, d := range b[:4] {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		c = c<<4 | rune(d)
	}
	return c, true
}
