package repository

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep messages of a file may nest; no configuration needs a tenth of it.
const maxDepth = 100

// SyntaxError is a file that cannot be read, with its place as protobuf's own parser counts it.
type SyntaxError struct {
	Line, Column int // from 1
	Msg          string
}

// Error is the place and the message: `4:10: Message type "inference.ModelConfig" has no field named "max_delay".`
func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg) }

// place is where a token begins.
type place struct{ line, column int }

func (p place) errorf(format string, args ...any) *SyntaxError {
	return &SyntaxError{Line: p.line, Column: p.column, Msg: fmt.Sprintf(format, args...)}
}

// field is one `name: value` of a file; after is the token behind the name, where protobuf reports
// what is wrong with the name.
type field struct {
	name   string
	after  place
	values []value // one, or what a list holds
	list   bool
}

// value is a message or a scalar as it was written.
type value struct {
	at      place
	message []field
	isMsg   bool
	quoted  bool   // text is a string, unquoted
	text    string // a number or a name, its sign included, otherwise
}

// token kinds: a name, a number, a string, or the punctuation mark itself.
const (
	tokenEnd = iota
	tokenName
	tokenNumber
	tokenString
)

type token struct {
	kind int
	text string // of strings: the content
	at   place
}

// is tells whether the token is the punctuation mark.
func (t token) is(mark byte) bool { return t.kind == int(mark) }

// parser reads protobuf's text format into fields; the next token is always read already.
type parser struct {
	text string
	pos  int
	at   place
	next token
}

// parseText reads a whole file.
func parseText(text string) ([]field, error) {
	if !utf8.ValidString(text) {
		return nil, place{1, 1}.errorf("the file is not UTF-8")
	}
	p := &parser{text: text, at: place{1, 1}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.fields(tokenEnd, 0)
}

// fields reads up to the token that ends the message, and past it.
func (p *parser) fields(end, depth int) (all []field, err error) {
	if depth > maxDepth {
		return nil, p.next.at.errorf("Message is too deep, the parser exceeded the configured recursion limit of %d.", maxDepth)
	}
	for p.next.kind != end {
		if p.next.kind != tokenName {
			return nil, p.next.at.errorf("Expected identifier, got: %s", p.next.text)
		}
		f := field{name: p.next.text}
		if err := p.advance(); err != nil {
			return nil, err
		}
		f.after = p.next.at
		if err := p.values(&f, depth); err != nil {
			return nil, err
		}
		all = append(all, f)
		if p.next.is(',') || p.next.is(';') {
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
	}
	if end == tokenEnd {
		return all, nil
	}
	return all, p.advance()
}

// values reads what follows a field's name: `: value`, `{...}` or a list of either.
func (p *parser) values(f *field, depth int) error {
	colon := p.next.is(':')
	if colon {
		if err := p.advance(); err != nil {
			return err
		}
	}
	if !p.next.is('[') {
		v, err := p.value(colon, depth)
		f.values = []value{v}
		return err
	}
	f.list = true
	if err := p.advance(); err != nil {
		return err
	}
	for first := true; !p.next.is(']'); first = false {
		if !first {
			if !p.next.is(',') {
				return p.next.at.errorf("Expected \",\", found %q.", p.next.text)
			}
			if err := p.advance(); err != nil {
				return err
			}
		}
		v, err := p.value(colon, depth)
		if err != nil {
			return err
		}
		f.values = append(f.values, v)
	}
	return p.advance()
}

// value reads a message or, behind a colon, a scalar.
func (p *parser) value(colon bool, depth int) (v value, err error) {
	v.at = p.next.at
	for open, shut := range map[byte]int{'{': '}', '<': '>'} {
		if p.next.is(open) {
			if err = p.advance(); err != nil {
				return v, err
			}
			v.isMsg = true
			v.message, err = p.fields(shut, depth+1)
			return v, err
		}
	}
	switch {
	case !colon:
		return v, p.next.at.errorf("Expected \":\", found %q.", p.next.text)
	case p.next.kind == tokenString:
		return v, p.strings(&v)
	case p.next.is('-'):
		v.text = "-"
		if err = p.advance(); err != nil {
			return v, err
		}
	}
	if p.next.kind != tokenName && p.next.kind != tokenNumber {
		return v, p.next.at.errorf("Expected a value, found %q.", p.next.text)
	}
	v.text += p.next.text
	return v, p.advance()
}

// strings reads adjacent strings as one.
func (p *parser) strings(v *value) error {
	v.quoted = true
	var b strings.Builder
	for p.next.kind == tokenString {
		b.WriteString(p.next.text)
		if err := p.advance(); err != nil {
			return err
		}
	}
	v.text = b.String()
	return nil
}

// advance reads the next token.
func (p *parser) advance() error {
	p.skipSpace()
	start, at := p.pos, p.at
	if start == len(p.text) {
		p.next = token{kind: tokenEnd, at: at}
		return nil
	}
	c := p.text[start]
	switch {
	case isLetter(c):
		p.take(func(c byte) bool { return isLetter(c) || isDigit(c) })
		p.next = token{tokenName, p.text[start:p.pos], at}
	case isDigit(c) || c == '.' && start+1 < len(p.text) && isDigit(p.text[start+1]):
		p.take(number())
		p.next = token{tokenNumber, p.text[start:p.pos], at}
	case c == '"' || c == '\'':
		return p.quoted(c)
	case c >= utf8.RuneSelf || c < ' ':
		return at.errorf("Invalid control characters encountered in text.")
	default:
		p.step()
		p.next = token{int(c), string(c), at}
	}
	return nil
}

func (p *parser) skipSpace() {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '#':
			p.take(func(c byte) bool { return c != '\n' })
		case strings.IndexByte(" \t\r\n\v\f", c) >= 0:
			p.step()
		default:
			return
		}
	}
}

// step goes over one byte; a tab's column is that of the next multiple of eight, as protobuf has it.
func (p *parser) step() {
	switch p.text[p.pos] {
	case '\n':
		p.at = place{p.at.line + 1, 1}
	case '\t':
		p.at.column += 8 - (p.at.column-1)%8
	default:
		p.at.column++
	}
	p.pos++
}

func (p *parser) take(while func(byte) bool) {
	for p.pos < len(p.text) && while(p.text[p.pos]) {
		p.step()
	}
}

// number accepts the bytes of one number: digits, hexadecimal ones, a point, an exponent with its sign.
func number() func(byte) bool {
	var before byte
	var hex bool
	return func(c byte) bool {
		ok := isDigit(c) || isLetter(c) && c != '_' || c == '.' || (c == '-' || c == '+') && before|0x20 == 'e' && !hex
		hex = hex || before == '0' && c|0x20 == 'x'
		before = c
		return ok
	}
}

func (p *parser) quoted(mark byte) error {
	at := p.at
	var b strings.Builder
	p.step()
	for p.pos < len(p.text) && p.text[p.pos] != mark {
		switch c := p.text[p.pos]; c {
		case '\n':
			return p.at.errorf("String literals cannot cross line boundaries.")
		case '\\':
			if err := p.escape(&b); err != nil {
				return err
			}
		default:
			b.WriteByte(c)
			p.step()
		}
	}
	if p.pos == len(p.text) {
		return p.at.errorf("Unexpected end of string.")
	}
	p.step()
	p.next = token{tokenString, b.String(), at}
	return nil
}

// simpleEscapes are those of one letter.
var simpleEscapes = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\', '\'': '\'', '"': '"', '?': '?'}

// escape reads a backslash and what it stands for.
func (p *parser) escape(b *strings.Builder) error {
	at := p.at
	p.step()
	if p.pos == len(p.text) {
		return at.errorf("Unexpected end of string.")
	}
	c := p.text[p.pos]
	if plain, ok := simpleEscapes[c]; ok {
		b.WriteByte(plain)
		p.step()
		return nil
	}
	switch {
	case c >= '0' && c <= '7':
		return p.code(b, at, 8, 3)
	case c == 'x' || c == 'X':
		p.step()
		return p.code(b, at, 16, 2)
	case c == 'u' || c == 'U':
		p.step()
		return p.rune(b, at, map[byte]int{'u': 4, 'U': 8}[c])
	}
	return at.errorf("Invalid escape sequence in string literal.")
}

// digits reads at most n digits of the base.
func (p *parser) digits(base, n int) string {
	start := p.pos
	p.take(func(c byte) bool { return p.pos-start < n && digitValue(c) < base })
	return p.text[start:p.pos]
}

func (p *parser) code(b *strings.Builder, at place, base, n int) error {
	v, err := strconv.ParseUint(p.digits(base, n), base, 8)
	if err != nil {
		return at.errorf("Invalid escape sequence in string literal.")
	}
	b.WriteByte(byte(v))
	return nil
}

func (p *parser) rune(b *strings.Builder, at place, n int) error {
	d := p.digits(16, n)
	v, err := strconv.ParseUint(d, 16, 32)
	if err != nil || len(d) != n || !utf8.ValidRune(rune(v)) {
		return at.errorf("Invalid escape sequence in string literal.")
	}
	b.WriteRune(rune(v))
	return nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func digitValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case isLetter(c) && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 99
}
