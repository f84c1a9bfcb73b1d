package jpeg

// lookBits is the number of bits that one table look-up resolves. Ten hold code and value of most
// coefficients of a photograph in 4 KB a table.
const lookBits = 10

// huffman is one table. A look entry is
//
//	value<<16 | run<<8 | length   code and value bits together fit: value != 0, length counts both
//	symbol<<8 | length            only the code fits: length counts the code
//	0                             the code is longer than lookBits
type huffman struct {
	look    [1 << lookBits]int32
	maxcode [17]int32 // largest code of each length, -1 if there is none
	offset  [17]int32 // index in symbols of a code of that length, minus the code
	counts  [16]byte  // codes of length 1..16
	symbols [256]byte
	n       int  // number of symbols
	defined bool // by this file
	built   bool
	badDC   bool // a symbol over 15, illegal in a DC table
}

// define takes a table from a segment; a table equal to the previous one stays built.
func (h *huffman) define(counts [16]byte, symbols []byte) {
	h.defined = true
	if h.built && h.counts == counts && string(h.symbols[:h.n]) == string(symbols) {
		return
	}
	h.built = false
	h.counts, h.n = counts, copy(h.symbols[:], symbols)
}

// build derives the tables (T.81 annex C) and refuses counts that are no prefix code.
func (h *huffman) build(dc bool) error {
	if !h.built {
		if !h.assignCodes() {
			return invalid("the Huffman table is no prefix code")
		}
		h.fillLook()
		h.badDC = false
		for _, s := range h.symbols[:h.n] {
			h.badDC = h.badDC || s > 15
		}
		h.built = true
	}
	if dc && h.badDC {
		return invalid("the DC Huffman table has a symbol over 15")
	}
	return nil
}

// assignCodes gives codes in order of length; the all-ones code is reserved.
func (h *huffman) assignCodes() bool {
	code, p := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		n := int32(h.counts[l-1])
		h.maxcode[l], h.offset[l] = -1, p-code
		if n > 0 {
			code, p = code+n, p+n
			if code >= 1<<l {
				return false
			}
			h.maxcode[l] = code - 1
		}
		code <<= 1
	}
	return true
}

// fillLook enters every code of up to lookBits with all continuations.
func (h *huffman) fillLook() {
	clear(h.look[:])
	code, p := 0, 0
	for l := 1; l <= lookBits; l++ {
		for range int(h.counts[l-1]) {
			first := code << (lookBits - l)
			for rest := range 1 << (lookBits - l) {
				h.look[first|rest] = lookEntry(int32(h.symbols[p]), l, rest)
			}
			code++
			p++
		}
		code <<= 1
	}
}

// lookEntry packs a symbol whose code has l bits and is followed by rest.
func lookEntry(symbol int32, l, rest int) int32 {
	size := int(symbol & 15)
	if size == 0 || l+size > lookBits {
		return symbol<<8 | int32(l)
	}
	v := extend(int32(rest>>(lookBits-l-size)), uint(size))
	return v<<16 | symbol>>4<<8 | int32(l+size)
}

// extend is T.81's EXTEND: size bits as a signed value; size is 1..16.
func extend(v int32, size uint) int32 {
	// The mask is all ones where the top bit is clear: such values count from -(2^size)+1.
	return v + ((v>>(size-1)&1)-1)&(1-1<<size)
}

// zigzag maps a coefficient's place in the stream to its place in the block; a run past the end of a
// damaged block stays inside it.
var zigzag = [64 + 16]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}

// standardTables are T.81's example tables K.3 to K.6: class, then luminance and chrominance.
var standardTables = [2][2]struct {
	counts  [16]byte
	symbols []byte
}{
	{
		{[16]byte{0, 1, 5, 1, 1, 1, 1, 1, 1}, []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b")},
		{[16]byte{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b")},
	},
	{
		{[16]byte{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d}, []byte(
			"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
				"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
				"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
				"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
				"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
				"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
				"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
				"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
				"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
				"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
				"\xf9\xfa")},
		{[16]byte{0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77}, []byte(
			"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
				"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
				"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
				"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
				"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
				"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
				"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
				"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
				"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
				"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
				"\xf9\xfa")},
	},
}
