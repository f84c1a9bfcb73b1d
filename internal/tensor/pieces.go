package tensor

import (
	"fmt"
	"iter"
)

// Pieces are bytes that lie in several places, in order, as a transport received them: a tensor that is
// copied once, from there into its row. They are never written, and live as long as their owner says.
// The zero value holds none.
type Pieces struct {
	first []byte   // no longer than size, and empty only if that is 0
	rest  [][]byte // as far as size goes; the last may be longer
	size  int
}

// Whole is bytes that lie in one place.
func Whole(b []byte) Pieces { return Pieces{first: b, size: len(b)} }

// PiecesOf keeps parts, which may be empty themselves.
func PiecesOf(parts [][]byte) Pieces {
	p := Pieces{rest: parts}
	for _, b := range parts {
		p.size += len(b)
	}
	return p.settled()
}

// settled fulfils what Pieces says of first.
func (p Pieces) settled() Pieces {
	for len(p.first) == 0 && p.size > 0 {
		p.first, p.rest = p.rest[0], p.rest[1:]
	}
	if len(p.first) > p.size {
		p.first = p.first[:p.size]
	}
	return p
}

// Len is the number of bytes.
func (p Pieces) Len() int { return p.size }

// Contiguous returns the bytes if they lie in one place.
func (p Pieces) Contiguous() (b []byte, ok bool) {
	if len(p.first) != p.size {
		return nil, false
	}
	return p.first[:p.size:p.size], true
}

// CopyTo copies as many bytes as dst has room for and returns how many.
func (p Pieces) CopyTo(dst []byte) int {
	dst = dst[:min(len(dst), p.size)]
	n := copy(dst, p.first)
	for i := 0; n < len(dst); i++ {
		n += copy(dst[n:], p.rest[i])
	}
	return n
}

// Cut divides p after n bytes; both parts share its memory. n is between 0 and Len.
func (p Pieces) Cut(n int) (head, tail Pieces) {
	if n < 0 || n > p.size {
		panic(fmt.Sprintf("tensor: %d bytes cut from %d", n, p.size))
	}
	if n <= len(p.first) {
		return Pieces{first: p.first[:n], size: n}, Pieces{p.first[n:], p.rest, p.size - n}.settled()
	}
	at, i := n-len(p.first), 0 // at bytes into what is left of rest
	for at > len(p.rest[i]) {
		at -= len(p.rest[i])
		i++
	}
	return Pieces{p.first, p.rest[:i+1], n}, Pieces{p.rest[i][at:], p.rest[i+1:], p.size - n}.settled()
}

// Peek returns the first len(space) bytes, or all if they are fewer: in place where one piece has them,
// else copied into space.
func (p Pieces) Peek(space []byte) []byte {
	if n := len(space); n <= len(p.first) {
		return p.first[:n]
	}
	return space[:p.CopyTo(space)]
}

// All yields the pieces; none is empty.
func (p Pieces) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if p.size == 0 || !yield(p.first) {
			return
		}
		left := p.size - len(p.first)
		for i := 0; left > 0; i++ {
			b := p.rest[i][:min(len(p.rest[i]), left)]
			left -= len(b)
			if len(b) > 0 && !yield(b) {
				return
			}
		}
	}
}
