package jpeg

// occupied tells, for a coefficient's place in the stream, where it lies: bit 8+column and bit 16+row, and
// bit column too if it is not in the first row. The union over a block steers the inverse DCT.
var occupied = func() (t [64 + 16]uint32) {
	for k, pos := range zigzag {
		x, y := pos&7, pos>>3
		t[k] = 1<<(8+x) | 1<<(16+y)
		if y > 0 {
			t[k] |= 1 << x
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

// block decodes one block of a sequential scan (T.81 F.2.2) into out, which is zero, scaled by quant in
// zigzag order; false for a bad code.
func (b *bits) block(out *[64]int16, dc, ac *huffman, quant *[64]int32, pred int32) (info blockInfo, ok bool) {
	run, diff := b.pair(dc)
	if run < 0 {
		return blockInfo{pred: pred}, false
	}
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
		v := e >> 16
		if v != 0 {
			k += int(e >> 8 & 15)
			acc <<= uint(e & 63)
			n -= int(e & 63)
		} else {
			b.acc, b.n = acc, n
			run, v = b.pair(ac)
			acc, n = b.acc, b.n
			if v == 0 {
				if run != 15 {
					ok = run >= 0
					break
				}
				k += 15
				continue
			}
			k += int(run)
		}
		mask |= occupied[k]
		c := int32(int16(v * quant[k&63]))
		size += c ^ c>>31
		out[zigzag[k]] = int16(c)
		ok = k >= 63
	}
	b.acc, b.n = acc, n
	return blockInfo{pred, mask, size}, ok
}
