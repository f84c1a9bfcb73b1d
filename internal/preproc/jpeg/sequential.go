package jpeg

// occupied tells, for a coefficient's place in the stream, where it lies: bit 8+column, and bit column
// too if it is not in the first row. The union over a block steers the inverse DCT.
var occupied = func() (t [64 + 16]uint32) {
	for k, pos := range zigzag {
		t[k] = 1 << (8 + pos&7)
		if pos >= 8 {
			t[k] |= 1 << (pos & 7)
		}
	}
	return t
}()

// block decodes one block of a sequential scan (T.81 F.2.2) into out, which is zero, scaled by quant in
// zigzag order. It returns the new DC prediction and the union of occupied; ok is false for a bad code.
func (b *bits) block(out *[64]int16, dc, ac *huffman, quant *[64]int32, pred int32) (_ int32, mask uint32, ok bool) {
	run, diff := b.pair(dc)
	if run < 0 {
		return pred, 0, false
	}
	pred += diff
	out[0] = int16(int32(int16(pred)) * quant[0])
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
					b.acc, b.n = acc, n
					return pred, mask, ok
				}
				k += 15
				continue
			}
			k += int(run)
		}
		mask |= occupied[k]
		out[zigzag[k]] = int16(v * quant[k&63])
	}
	b.acc, b.n = acc, n
	return pred, mask, true
}
