package wire

import (
	"encoding/binary"
	"math"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// errTrueShape is Triton's answer to data with other than as many elements as the shape has.
var (
	errTrueShape = fault.New(fault.Mistaken, "Shape does not match true shape of 'data' field")
	errDepth     = fault.New(fault.Invalid, "JSON nesting depth exceeds maximum allowed limit (%d)", MaxDepth)
)

// data reads a tensor's elements. An error that is not the syntax's leaves the position anywhere.
func (s *scanner) data(dst []byte, d tensor.DType, count int64) ([]byte, error) {
	if s.next() != '[' {
		return dst, wrong("array")
	}
	if d == tensor.Bytes {
		return s.strings(dst, count)
	}
	size := int64(d.Size())
	if room := int64(len(s.b)-s.p) / 2; count > room { // an element takes a byte, and a comma or bracket
		count = -1 // too few, whatever they are; which error wins is for the elements to say
	}
	if count < 0 {
		return dst, s.drain(d)
	}
	from := len(dst)
	dst = grow(dst, int(count*size))
	var err error
	if d == tensor.FP32 {
		err = s.float32s(dst[from:])
	} else {
		err = s.elements(dst[from:], d, int(size))
	}
	return dst, err
}

// drain reads a tensor that is shorter than its shape for sure: the first wrong element is told, else
// the length.
func (s *scanner) drain(d tensor.DType) error {
	var scratch [8]byte
	err := s.walk(func() error { return s.element(scratch[:], d) })
	if err != nil {
		return err
	}
	return errTrueShape
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	bigger := make([]byte, len(b)+n)
	copy(bigger, b)
	return bigger
}

// walk calls element for every scalar of an array, nested in any way.
func (s *scanner) walk(element func() error) error {
	depth := 0
	for {
		if s.next() == '[' {
			if depth++; depth > MaxDepth {
				return errDepth
			}
			s.p++
			if s.next() != ']' {
				continue
			}
		} else if err := element(); err != nil {
			return err
		}
		for depth > 0 && s.next() == ']' {
			s.p++
			depth--
		}
		if depth == 0 {
			return nil
		}
		if s.next() != ',' {
			return s.fail(errElement)
		}
		s.p++
	}
}

// elements fills dst with elements of size bytes.
func (s *scanner) elements(dst []byte, d tensor.DType, size int) error {
	i := 0
	err := s.walk(func() error {
		if i == len(dst) {
			return errTrueShape
		}
		err := s.element(dst[i:], d)
		i += size
		return err
	})
	if err == nil && i != len(dst) {
		err = errTrueShape
	}
	return err
}

// element reads one scalar that is no string. Integers that are too large wrap, as in Triton.
func (s *scanner) element(dst []byte, d tensor.DType) error {
	if d == tensor.Bool {
		return s.boolean(dst)
	}
	c := s.next()
	if c != '-' && c-'0' > 9 && c != 'N' && c != 'I' {
		return s.notNumber(d)
	}
	n, err := scanNumber(s.b, s.p)
	if err != nil {
		return err
	}
	start := s.p
	s.p = n.end
	switch d {
	case tensor.FP32:
		f, err := n.float32(s.b, start)
		binary.LittleEndian.PutUint32(dst, math.Float32bits(f))
		return err
	case tensor.FP64:
		f, err := n.float64(s.b, start)
		binary.LittleEndian.PutUint64(dst, math.Float64bits(f))
		return err
	}
	if !n.exact { // a number too big to be stored is a syntax error, whatever it is to become
		if _, err := n.float64(s.b, start); err != nil {
			return err
		}
	}
	return n.integerInto(dst, d, s.b[start:n.end])
}

// notNumber is the error of a value of another kind, which must be JSON all the same.
func (s *scanner) notNumber(d tensor.DType) error {
	if err := s.skip(); err != nil {
		return err
	}
	return wrong(kind(d))
}

func kind(d tensor.DType) string {
	switch d {
	case tensor.FP32, tensor.FP64:
		return numberAsDouble
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		return "signed-integer"
	case tensor.Bool:
		return "boolean"
	}
	return "unsigned-integer"
}

// numberAsDouble marks the one type whose name differs in the error text.
const numberAsDouble = "number"

func (s *scanner) boolean(dst []byte) error {
	switch s.next() {
	case 't':
		dst[0] = 1
		return s.word("true")
	case 'f':
		dst[0] = 0
		return s.word("false")
	}
	return s.notNumber(tensor.Bool)
}

func (n *number) integerInto(dst []byte, d tensor.DType, text []byte) error {
	signed := d == tensor.Int8 || d == tensor.Int16 || d == tensor.Int32 || d == tensor.Int64
	v, ok := n.uint64(text)
	switch {
	case !n.integer || !ok, n.neg && !signed && v != 0:
		return wrong(kind(d))
	case signed && (n.neg && v > 1<<63 || !n.neg && v >= 1<<63):
		return wrong(kind(d))
	}
	if n.neg {
		v = -v
	}
	switch d.Size() {
	case 1:
		dst[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(dst, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(dst, uint32(v))
	default:
		binary.LittleEndian.PutUint64(dst, v)
	}
	return nil
}

// uint64 is the mantissa; 20 digits may fit too.
func (n *number) uint64(text []byte) (uint64, bool) {
	if n.exact {
		return n.mant, true
	}
	if len(text) > 0 && text[0] == '-' {
		text = text[1:]
	}
	if len(text) != 20 || n.special {
		return 0, false
	}
	var v uint64
	for _, c := range text[:19] {
		v = v*10 + uint64(c-'0')
	}
	last := uint64(text[19] - '0')
	if v > (math.MaxUint64-last)/10 {
		return 0, false
	}
	return v*10 + last, true
}

// float32s is elements for FP32, the images' type: one loop, no calls but the number's.
func (s *scanner) float32s(dst []byte) error {
	b, p, depth := s.b, s.p, 0
	i := 0
	for {
		run, end := fastFloat32s(dst[i:], b, p)
		i, p = i+run, end
		for p < len(b) && b[p] <= ' ' && (b[p] == ' ' || b[p] == '\n' || b[p] == '\r' || b[p] == '\t') {
			p++
		}
		if p < len(b) && b[p] == '[' {
			if depth++; depth > MaxDepth {
				return errDepth
			}
			s.p = p + 1
			if s.next() != ']' {
				p = s.p
				continue
			}
		} else {
			var more bool
			var err error
			if more, err = s.float32(dst[i:], p); err != nil {
				return err
			}
			i, p = i+4, s.p
			if more {
				continue
			}
		}
		for depth > 0 && s.next() == ']' {
			s.p++
			depth--
		}
		if depth == 0 {
			break
		}
		if s.next() != ',' {
			return s.fail(errElement)
		}
		s.p++
		p = s.p
	}
	if i != len(dst) {
		return errTrueShape
	}
	return nil
}

// float32 reads the value at p and a comma right behind it, if there is one: then more values follow,
// at the scanner's position.
func (s *scanner) float32(dst []byte, p int) (more bool, err error) {
	b := s.b
	s.p = p
	if len(dst) == 0 {
		return false, errTrueShape
	}
	if p >= len(b) || b[p] != '-' && b[p]-'0' > 9 && b[p] != 'N' && b[p] != 'I' {
		return false, s.notNumber(tensor.FP32)
	}
	n, err := scanNumber(b, p)
	if err != nil {
		return false, err
	}
	f, err := n.float32(b, p)
	if err != nil {
		return false, err
	}
	binary.LittleEndian.PutUint32(dst, math.Float32bits(f))
	if p = n.end; p < len(b) && b[p] == ',' {
		p++
		if p < len(b) && b[p] == ' ' {
			p++ // where the fast path begins
		}
		s.p = p
		return true, nil
	}
	s.p = p
	return false, nil
}

// strings reads BYTES elements: each its length in four bytes and then itself. Triton does not compare
// their number with the shape here but when it runs the model.
func (s *scanner) strings(dst []byte, count int64) ([]byte, error) {
	err := s.walk(func() error {
		if s.next() != '"' {
			if err := s.skip(); err != nil {
				return err
			}
			return wrong("string")
		}
		raw, escaped, err := s.raw()
		if err != nil {
			return err
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		if escaped {
			dst = appendUnescaped(dst, raw)
		} else {
			dst = append(dst, raw...)
		}
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		return nil
	})
	return dst, err
}
