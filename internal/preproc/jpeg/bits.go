package jpeg

import "encoding/binary"

// bits reads entropy-coded data: stuffed zeros are dropped, and at a marker or the end of the data zero
// bits follow without end. Whether any of those was consumed, overrun tells afterwards.
type bits struct {
	data []byte
	pos  int    // next byte; stays on the 0xFF of a marker
	acc  uint64 // unread bits, left-aligned, zero below
	n    int    // how many, padding included
	pad  int    // padding bits appended so far
	bad  bool   // a symbol was met that means nothing where it stood
}

// start begins a segment at data[pos].
func (b *bits) start(data []byte, pos int) { *b = bits{data: data, pos: pos} }

// overrun says whether bits were read that the data does not have.
func (b *bits) overrun() bool { return b.pad > b.n }

// fill brings n to at least 32; before, it is at most that.
func (b *bits) fill() {
	if w, ok := b.word(); ok {
		b.acc |= uint64(w) << (32 - uint(b.n))
		b.n += 32
		return
	}
	b.fillSlow()
}

// word is the next four bytes; false if something among them is special.
func (b *bits) word() (uint32, bool) {
	p := b.pos
	if p+4 > len(b.data) {
		return 0, false
	}
	w := binary.BigEndian.Uint32(b.data[p:])
	if hasFF(w) {
		return 0, false
	}
	b.pos = p + 4
	return w, true
}

// hasFF says whether one of four bytes is 0xFF (a zero byte of the complement).
func hasFF(w uint32) bool { return (^w-0x01010101)&w&0x80808080 != 0 }

// fillSlow takes byte by byte, up to a marker.
func (b *bits) fillSlow() {
	for b.n <= 56 {
		c, next := b.nextByte()
		if next < 0 {
			b.pad += 64 - b.n
			b.n = 64
			return
		}
		b.acc |= uint64(c) << (56 - uint(b.n))
		b.n += 8
		b.pos = next
	}
}

// nextByte is the next data byte and the position after it, -1 at a marker or the end. Several 0xFF
// before a stuffed zero count as one, as in libjpeg.
func (b *bits) nextByte() (byte, int) {
	if b.pos >= len(b.data) {
		return 0, -1
	}
	c := b.data[b.pos]
	if c != 0xFF {
		return c, b.pos + 1
	}
	i := b.pos + 1
	for i < len(b.data) && b.data[i] == 0xFF {
		i++
	}
	if i >= len(b.data) || b.data[i] != 0 {
		return 0, -1
	}
	return 0xFF, i + 1
}

// skip drops n bits that are there.
func (b *bits) skip(n uint) {
	b.acc <<= n
	b.n -= int(n)
}

// bit is one bit.
func (b *bits) bit() uint64 {
	if b.n == 0 {
		b.fill()
	}
	v := b.acc >> 63
	b.acc <<= 1
	b.n--
	return v
}

// take is n bits, 1..16.
func (b *bits) take(n uint) int32 {
	if b.n < 16 {
		b.fill()
	}
	v := int32(b.acc >> (64 - n))
	b.skip(n)
	return v
}

// pair decodes a run length and a value (T.81 F.2.2.1, F.2.2.2): a symbol run<<4|size, then size bits. The
// value is 0 only for size 0.
func (b *bits) pair(h *huffman) (run, value int32) {
	if b.n < 32 {
		b.fill()
	}
	e := h.look[b.acc>>(64-lookBits)]
	if v := e >> 16; v != 0 {
		b.skip(uint(e & 63))
		return e >> 8 & 15, v
	}
	symbol := e >> 8
	if e == 0 {
		symbol = b.longSymbol(h)
	} else {
		b.skip(uint(e & 63))
	}
	size := uint(symbol & 15)
	if size == 0 {
		return symbol >> 4, 0
	}
	value = extend(int32(b.acc>>(64-size)), size)
	b.skip(size)
	return symbol >> 4, value
}

// longSymbol decodes a code of more than lookBits. For a code that the table does not have libjpeg takes 17
// bits and the symbol 0, and so does this.
func (b *bits) longSymbol(h *huffman) int32 {
	for l := uint(lookBits + 1); l <= 16; l++ {
		if code := int32(b.acc >> (64 - l)); code <= h.maxcode[l] {
			b.skip(l)
			return int32(h.symbols[uint8(h.offset[l]+code)])
		}
	}
	b.skip(17)
	return 0
}
