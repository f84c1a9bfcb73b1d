package gif

import (
	"errors"
	"sync"
)

const (
	maxBits  = 12
	codes    = 1 << maxBits
	lzwBytes = 4 * codes
)

// lzw is a string table: code c stands for the string of code prefix[c] and then the byte suffix[c].
// The root codes are single pixels.
type lzw struct {
	prefix [codes]uint16
	suffix [codes]byte
	out    [codes]byte // one string, built from its end
}

var lzws = sync.Pool{New: func() any { return new(lzw) }}

var errCode = errors.New("corrupt LZW code")

// decompress reads the code size and the sub-blocks that follow, until the frame is full.
func decompress(b []byte, to *canvas) error {
	if len(b) == 0 {
		return errTruncated
	}
	if b[0] == 0 || b[0] > 8 {
		return errors.New("impossible LZW code size")
	}
	t := lzws.Get().(*lzw)
	defer lzws.Put(t)
	return t.run(bits{b: b[1:]}, uint(b[0]), to)
}

// run expands codes. Code 1<<size empties the table, the next one ends the data; a code that is just
// about to be defined stands for the last string and its own first byte.
func (t *lzw) run(in bits, size uint, to *canvas) error {
	empty := 1 << size
	width, next, last := size+1, empty+2, -1
	var first byte
	for {
		code, ok := in.next(width)
		switch {
		case !ok || code == empty+1:
			return errTruncated // a full frame returns below, so this one is not
		case code == empty:
			width, next, last = size+1, empty+2, -1
			continue
		case last < 0 && code > empty, code > next:
			return errCode
		}
		s := t.expand(code, next, last, first, empty)
		if s == nil {
			return errCode
		}
		first = s[0]
		if to.write(s) {
			return nil
		}
		if last >= 0 && next < codes {
			t.prefix[next], t.suffix[next] = uint16(last), first
			if next == 1<<width-1 && width < maxBits {
				width++
			}
			next++
		}
		last = code
	}
}

// expand writes the string of code to the end of out and returns it, or nil for an impossible code.
func (t *lzw) expand(code, next, last int, first byte, empty int) []byte {
	i := len(t.out)
	if code == next {
		if last < 0 {
			return nil
		}
		i--
		t.out[i] = first
		code = last
	}
	for code >= empty {
		if i == 0 || code >= next || code < empty+2 {
			return nil
		}
		i--
		t.out[i] = t.suffix[code]
		code = int(t.prefix[code])
	}
	if i == 0 {
		return nil
	}
	i--
	t.out[i] = byte(code)
	return t.out[i:]
}

// bits reads codes, least significant bit first, from sub-blocks.
type bits struct {
	b     []byte // the file from the current position on
	block int    // bytes left in the sub-block
	acc   uint32
	n     uint
}

func (r *bits) next(width uint) (code int, ok bool) {
	for r.n < width {
		if r.block == 0 {
			if len(r.b) == 0 || r.b[0] == 0 {
				return 0, false
			}
			r.block = int(r.b[0])
			r.b = r.b[1:]
		}
		if len(r.b) == 0 {
			return 0, false
		}
		r.acc |= uint32(r.b[0]) << r.n
		r.n += 8
		r.b = r.b[1:]
		r.block--
	}
	code = int(r.acc & (1<<width - 1))
	r.acc >>= width
	r.n -= width
	return code, true
}
