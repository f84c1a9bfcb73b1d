package jsonscan

import "encoding/binary"

// symbols[k][c] is the value of symbol c at place k of a group of four, shifted to where it lies in
// the 24-bit word, or invalid. Both alphabets (RFC 4648, sections 4 and 5) are read.
var symbols = makeSymbols()

const invalid = 1 << 31

func makeSymbols() *[4][256]uint32 {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	t := new([4][256]uint32)
	for k := range t {
		for c := range t[k] {
			t[k][c] = invalid
		}
		shift := 18 - 6*k
		for v := range len(alphabet) {
			t[k][alphabet[v]] = uint32(v) << shift
		}
		t[k]['-'], t[k]['_'] = 62<<shift, 63<<shift
	}
	return t
}

// DecodeBase64 decodes src into dst, which may be src itself and is at least 3/4 as long. It reads
// the standard and the URL-safe alphabet, padded or not; blanks are skipped, and line breaks and
// tabs too if lines is set. It returns the number of bytes written and the offset of the first byte
// that does not belong, len(src) if the text stops in the middle of a byte, or -1.
func DecodeBase64(dst, src []byte, lines bool) (n, bad int) {
	var word uint32
	var have uint
	for s := 0; ; s++ {
		if have == 0 {
			dn, sn := decodeGroups(dst[n:], src[s:])
			n, s = n+dn, s+sn
		}
		if s >= len(src) {
			return finish(dst, n, word, have, len(src))
		}
		c := src[s]
		if v := symbols[3][c]; v != invalid {
			word, have = word<<6|v, have+1
			if have == 4 {
				dst[n], dst[n+1], dst[n+2] = byte(word>>16), byte(word>>8), byte(word)
				n, word, have = n+3, 0, 0
			}
			continue
		}
		switch {
		case c == '=':
			if at := padding(src, s, have, lines); at >= 0 {
				return n, at
			}
			return finish(dst, n, word, have, len(src))
		case !blank(c, lines):
			return n, s
		}
	}
}

// decodeGroups decodes whole groups, eight symbols a step, until one has a byte that is no symbol.
// It writes two bytes past what it decodes, never past what it has read.
func decodeGroups(dst, src []byte) (d, s int) {
	t := symbols
	for len(src)-s >= 8 && len(dst)-d >= 8 {
		c := src[s : s+8 : s+8]
		x := t[0][c[0]] | t[1][c[1]] | t[2][c[2]] | t[3][c[3]]
		y := t[0][c[4]] | t[1][c[5]] | t[2][c[6]] | t[3][c[7]]
		if (x|y)&invalid != 0 {
			break
		}
		binary.BigEndian.PutUint64(dst[d:d+8:d+8], uint64(x)<<40|uint64(y)<<16)
		d, s = d+6, s+8
	}
	return d, s
}

// finish writes the bytes of an incomplete last group: two symbols hold one, three hold two.
func finish(dst []byte, n int, word uint32, have uint, end int) (int, int) {
	switch have {
	case 1:
		return n, end
	case 2:
		dst[n] = byte(word >> 4)
		return n + 1, -1
	case 3:
		dst[n], dst[n+1] = byte(word>>10), byte(word>>2)
		return n + 2, -1
	}
	return n, -1
}

// padding checks what follows the first '=' at s: one more where one byte is left, then nothing.
func padding(src []byte, s int, have uint, lines bool) (bad int) {
	if have < 2 {
		return s
	}
	want := int(4 - have)
	for ; s < len(src); s++ {
		switch c := src[s]; {
		case c == '=' && want > 0:
			want--
		case !blank(c, lines):
			return s
		}
	}
	if want > 0 {
		return len(src)
	}
	return -1
}

func blank(c byte, lines bool) bool {
	return c == ' ' || lines && (c == '\n' || c == '\r' || c == '\t')
}
