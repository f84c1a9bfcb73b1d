package jpeg

// occupied tells, for a coefficient's place in the block, where it lies: bit 8+column and bit 16+row, and
// bit column too if it is not in the first row. The union over a block steers the inverse DCT.
var occupied = func() (t [64]uint32) {
	for pos := range t {
		x, y := pos&7, pos>>3
		t[pos] = 1<<(8+x) | 1<<(16+y)
		if y > 0 {
			t[pos] |= 1 << x
		}
	}
	return t
}()

// scaling is what decoding needs to know of each place in the stream, in one word: the quantiser in the low
// 16 bits, the place in the block in the next, occupied above.
type scaling [64 + 16]uint64

// scalingOf takes a quantisation table in natural order.
func scalingOf(quant *[64]int32) (t scaling) {
	for k, pos := range zigzag {
		t[k] = uint64(quant[pos]) | uint64(pos)<<16 | uint64(occupied[pos])<<32
	}
	return t
}

// blockInfo is what decoding a block learns about it.
type blockInfo struct {
	pred int32  // the new DC prediction
	mask uint32 // union of occupied over the AC coefficients
	size int32  // sum of the magnitudes of all coefficients; -v counts as v-1
}

// block decodes one block of a sequential scan (T.81 F.2.2) into out, which is zero, scaled.
func (b *bits) block(out *[64]int16, dc, ac *huffman, scale *scaling, pred int32) blockInfo {
	_, diff := b.pair(dc)
	pred += diff
	c := int32(int16(int32(int16(pred)) * int32(scale[0]&0xFFFF)))
	out[0] = int16(c)
	mask, size := uint32(0), c^c>>31
	acc, n := b.acc, b.n // in registers; written back around each call
	for k := 1; k < 64; k++ {
		if n < 32 {
			if w, ok := b.word(); ok {
				acc |= uint64(w) << (32 - uint(n))
				n += 32
			} else {
				b.acc, b.n = acc, n
				b.fillSlow()
				acc, n = b.acc, b.n
			}
		}
		e := ac.look[acc>>(64-lookBits)]
		if e == 0 {
			b.acc, b.n = acc, n
			e = b.longSymbol(ac) << 8
			acc, n = b.acc, b.n
		}
		acc <<= uint(e & 63)
		n -= int(e & 63)
		k += int(e >> 8 & 15) // the run, or the size of a value that is still to come
		v := e >> 16
		if v == 0 {
			size := uint(e >> 8 & 15)
			k += int(e>>12&15) - int(size)
			if size == 0 {
				if e>>12 != 15 {
					break
				}
				continue
			}
			v = extend(int32(acc>>(64-size)), size)
			acc <<= size
			n -= int(size)
		}
		f := scale[k]
		c := int32(int16(v * int32(f&0xFFFF)))
		mask |= uint32(f >> 32)
		size += c ^ c>>31
		out[f>>16&63] = int16(c)
	}
	b.acc, b.n = acc, n
	return blockInfo{pred, mask, size}
}
