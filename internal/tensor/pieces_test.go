package tensor

import (
	"bytes"
	"slices"
	"testing"
)

// splits are the ways in which b is cut into pieces of n bytes, with empty ones among them.
func splits(b []byte, n int) (parts [][]byte) {
	parts = append(parts, nil)
	for part := range slices.Chunk(b, n) {
		parts = append(parts, part, []byte{})
	}
	return parts
}

func joined(p Pieces) (b []byte) {
	for part := range p.All() {
		if len(part) == 0 {
			panic("an empty piece")
		}
		b = append(b, part...)
	}
	return b
}

// check compares every way of reading p with its bytes.
func check(t *testing.T, p Pieces, want []byte) {
	t.Helper()
	if p.Len() != len(want) || !bytes.Equal(joined(p), want) {
		t.Fatalf("%d bytes %v, want %v", p.Len(), joined(p), want)
	}
	for n := range len(want) + 3 {
		dst, space := make([]byte, n), make([]byte, n)
		if got := p.CopyTo(dst); got != min(n, len(want)) || !bytes.Equal(dst[:got], want[:got]) {
			t.Fatalf("%d copied: %v, want %v", got, dst, want)
		}
		if got := p.Peek(space); !bytes.Equal(got, want[:min(n, len(want))]) {
			t.Fatalf("%v seen of %v", got, want)
		}
	}
	if b, ok := p.Contiguous(); ok && (!bytes.Equal(b, want) || cap(b) != len(b)) {
		t.Fatalf("%v in one place, want %v", b, want)
	}
}

func TestPieces(t *testing.T) {
	want := []byte("0123456789abcdefghi")
	for n := 1; n <= len(want); n++ {
		p := PiecesOf(splits(want, n))
		check(t, p, want)
		if _, ok := p.Contiguous(); ok != (n == len(want)) {
			t.Errorf("pieces of %d bytes: in one place %v", n, ok)
		}
		for i := range len(want) + 1 {
			head, tail := p.Cut(i)
			check(t, head, want[:i])
			check(t, tail, want[i:])
			for j := range i + 1 { // parts of a part, which ends within a piece
				a, b := head.Cut(j)
				check(t, a, want[:j])
				check(t, b, want[j:i])
			}
		}
	}
	check(t, Pieces{}, nil)
	check(t, PiecesOf(nil), nil)
	check(t, Whole(want), want)
	if b, ok := Whole(want).Contiguous(); !ok || &b[0] != &want[0] {
		t.Error("bytes in one place were moved")
	}
}

func TestPiecesEndEarly(t *testing.T) {
	for range PiecesOf(splits([]byte("abc"), 1)).All() {
		break
	}
	seen := 0
	for range PiecesOf(splits([]byte("abc"), 1)).All() {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Error(seen)
	}
}

func TestPiecesAllocateNothing(t *testing.T) {
	parts, dst := splits(make([]byte, 1<<16), 1000), make([]byte, 1<<16)
	if n := testing.AllocsPerRun(10, func() {
		head, tail := PiecesOf(parts).Cut(12345)
		if head.CopyTo(dst)+tail.CopyTo(dst) != 1<<16 {
			t.Error("bytes are missing")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCutTooFar(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("bytes were cut that are not there")
		}
	}()
	Whole([]byte("abc")).Cut(4)
}
