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

// blockInfo is what decoding a block learns about it.
type blockInfo struct {
	pred int32  // the new DC prediction
	mask uint32 // union of occupied over the AC coefficients
	size int32  // sum of the magnitudes of all coefficients; -v counts as v-1
}

// block decodes one block of a sequential scan (T.81 F.2.2) into out, which is zero, scaled by quant.
func (b *bits) block(out *[64]int16, dc, ac *huffman, quant *[64]int32, pred int32) blockInfo {
	_, diff := b.pair(dc)
	pred += diff
	c := int32(int16(int32(int16(pred)) * quant[0]))
	out[0] = int16(c)
	mask, size := uint32(0), c^c>>31
	acc, n := b.acc, b.n // in registers; written back around each call
	for k := 1; k < 64; k++ {
		if n < 32 {
			b.acc, b.n = acc, n
			b.fill()
			acc, n = b.acc, b.n
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
		pos := zigzag[k] & 63
		c := int32(int16(v * quant[pos]))
		mask |= occupied[pos]
		size += c ^ c>>31
		out[pos] = int16(c)
	}
	b.acc, b.n = acc, n
	return blockInfo{pred, mask, size}
}
