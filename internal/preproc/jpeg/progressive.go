package jpeg

// progression decodes the blocks of one progressive scan (T.81 annex G).
type progression struct {
	ss, se, al int
	refine     bool
	eobrun     int32 // blocks still to skip in this band
}

// block decodes one component's share of the scan for one block, in natural order.
func (p *progression) block(b *bits, coef *[64]int16, c *component) {
	switch {
	case p.ss == 0 && !p.refine:
		_, diff := b.pair(c.dc)
		c.pred += diff
		coef[0] = int16(c.pred << uint(p.al))
	case p.ss == 0:
		coef[0] |= int16(b.bit() << uint(p.al))
	case !p.refine:
		p.acFirst(b, coef, c.ac)
	default:
		p.acRefine(b, coef, c.ac)
	}
}

// acFirst decodes the first scan of a band.
func (p *progression) acFirst(b *bits, coef *[64]int16, ac *huffman) {
	if p.eobrun > 0 {
		p.eobrun--
		return
	}
	for k := p.ss; k <= p.se; k++ {
		run, v := b.pair(ac)
		if v == 0 && run != 15 {
			p.eobrun = b.eobRun(run) - 1
			return
		}
		k += int(run)
		if v != 0 {
			coef[zigzag[k]] = int16(v << uint(p.al))
		}
	}
}

// eobRun is the number of blocks, this one included, whose band ends here.
func (b *bits) eobRun(run int32) int32 {
	n := int32(1) << uint(run)
	if run > 0 {
		n += b.take(uint(run))
	}
	return n
}

// acRefine adds one bit to a band (T.81 G.1.2.3): each coefficient that is already nonzero has a
// correction bit in the stream, and runs count only zero ones.
func (p *progression) acRefine(b *bits, coef *[64]int16, ac *huffman) {
	k := p.ss
	for p.eobrun == 0 && k <= p.se {
		run, v := b.pair(ac)
		if v == 0 && run != 15 {
			p.eobrun = b.eobRun(run)
			break
		}
		b.bad = b.bad || v < -1 || v > 1
		k = p.correct(b, coef, k, run)
		if v != 0 {
			coef[zigzag[k]] = int16(v << uint(p.al))
		}
		k++
	}
	if p.eobrun > 0 {
		p.correct(b, coef, k, 64)
		p.eobrun--
	}
}

// correct reads the correction bits from k on, up to and without the zero coefficient after run zeros,
// whose place it returns, or se+1.
func (p *progression) correct(b *bits, coef *[64]int16, k int, run int32) int {
	for ; k <= p.se; k++ {
		c := &coef[zigzag[k]]
		if *c == 0 {
			if run--; run < 0 {
				return k
			}
			continue
		}
		if b.bit() == 0 || *c>>uint(p.al)&1 != 0 {
			continue
		}
		if *c > 0 {
			*c += 1 << uint(p.al)
		} else {
			*c -= 1 << uint(p.al)
		}
	}
	return k
}
