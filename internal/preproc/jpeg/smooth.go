package jpeg

// A progressive file may end before its coefficients are known to the last bit. For such files libjpeg, and
// so Pillow, estimates the first AC coefficients of a block from the DC values of the 5x5 blocks around it;
// the weights here are those of libjpeg-turbo 3. Complete files are not touched.

// smoothed is the number of coefficients, in zigzag order, that smoothing looks at.
const smoothed = 10

// kernel5 holds the weights of 5x5 DC values, row by row, in units of 1/256.
type kernel5 [25]int64

// transposed exchanges horizontal and vertical.
func (k kernel5) transposed() (t kernel5) {
	for i, w := range k {
		t[i%5*5+i/5] = w
	}
	return t
}

// fromDC estimates when nothing but DC is known; index is the zigzag place.
var fromDC = func() (t [smoothed]kernel5) {
	t[0] = kernel5{-2, -6, -8, -6, -2, -6, 6, 42, 6, -6, -8, 42, 152, 42, -8, -6, 6, 42, 6, -6, -2, -6, -8, -6, -2}
	t[1] = kernel5{-1, -1, 0, 1, 1, -3, 13, 0, -13, 3, -3, 38, 0, -38, 3, -3, 13, 0, -13, 3, -1, -1, 0, 1, 1}
	t[2] = t[1].transposed()
	t[3] = kernel5{0, 0, 1, 0, 0, 0, 2, 7, 2, 0, 0, -5, -14, -5, 0, 0, 2, 7, 2, 0, 0, 0, 1, 0, 0}
	t[4] = kernel5{-1, 0, 0, 0, 1, 0, 9, 0, -9, 0, 0, 0, 0, 0, 0, 0, -9, 0, 9, 0, 1, 0, 0, 0, -1}
	t[5] = t[3].transposed()
	t[6] = kernel5{0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, 2, 0, -2, 0, 0, 1, 0, -1, 0}
	t[7] = kernel5{0, 0, 0, 0, 0, 0, 1, -3, 1, 0, 0, 0, 0, 0, 0, 0, -1, 3, -1, 0}
	t[8] = t[7].transposed()
	t[9] = t[6].transposed()
	return t
}()

// fromSome estimates the first five when some AC coefficients are known.
var fromSome = func() (t [6]kernel5) {
	t[1] = kernel5{10: -7, 11: 50, 13: -50, 14: 7}
	t[2] = t[1].transposed()
	t[3] = kernel5{2: -1, 7: 13, 12: -24, 17: 13, 22: -1}
	t[4] = kernel5{0, -1, 0, 1, 0, -1, 10, 0, -10, 1, 0, 0, 0, 0, 0, 1, -10, 0, 10, -1, 0, 1, 0, -1, 0}
	t[5] = t[3].transposed()
	return t
}()

// complete says whether every coefficient that smoothing looks at is known to its last bit, as in a
// sequential file it always is.
func (p *parser) complete() bool {
	if !p.progressive {
		return true
	}
	for i := range p.ncomp {
		for _, bit := range p.comps[i].known[1:smoothed] {
			if bit != 0 {
				return false
			}
		}
	}
	return true
}

// smoothable says whether smoothing applies: a progressive file, incomplete, with all DC values and no
// quantiser of zero to divide by.
func (p *parser) smoothable() bool {
	if p.complete() {
		return false
	}
	for i := range p.ncomp {
		c := &p.comps[i]
		if c.known[0] < 0 {
			return false
		}
		for _, pos := range zigzag[:smoothed] {
			if c.quant[pos] == 0 {
				return false
			}
		}
	}
	return true
}

// onlyDC says whether no AC coefficient that smoothing looks at has been sent.
func (c *component) onlyDC() bool {
	for _, bit := range c.known[1:smoothed] {
		if bit >= 0 {
			return false
		}
	}
	return true
}

// neighbours are the DC values around block (bx, by); beyond the image its outermost blocks repeat.
func (c *component) neighbours(coefs []int16, bx, by, last int) (dc [25]int64) {
	next := min(by+1, last)
	rows := [5]int{max(by-2, 0), max(by-1, 0), by, next, min(by+2, last)}
	for r, y := range rows {
		for k := range 5 {
			x := min(max(bx+k-2, 0), c.bw-1)
			dc[5*r+k] = int64(coefs[(y*c.bpl+x)*64])
		}
	}
	return dc
}

// smooth estimates what is unknown of block (bx, by), which is a copy.
func (c *component) smooth(block *[64]int16, coefs []int16, bx, by, last int) {
	dc := c.neighbours(coefs, bx, by, last)
	if !c.onlyDC() {
		for k := 1; k < len(fromSome); k++ {
			c.estimate(block, k, &fromSome[k], &dc)
		}
		return
	}
	for k := 1; k < smoothed; k++ {
		c.estimate(block, k, &fromDC[k], &dc)
	}
	block[0] = int16(predict(int64(c.quant[0]), int64(c.quant[0]), -1, &fromDC[0], &dc))
}

// estimate fills one coefficient if it is zero and not known to its last bit.
func (c *component) estimate(block *[64]int16, k int, w *kernel5, dc *[25]int64) {
	pos := zigzag[k]
	if bit := c.known[k]; bit != 0 && block[pos] == 0 {
		block[pos] = int16(predict(int64(c.quant[0]), int64(c.quant[pos]), bit, w, dc))
	}
}

// predict is the weighted DC sum in units of the quantiser q, rounded; smaller than the bits that are
// known to be zero.
func predict(q0, q int64, bit int8, w *kernel5, dc *[25]int64) int64 {
	num := int64(0)
	for i, v := range dc {
		num += w[i] * v
	}
	num *= q0
	pred := (q<<7 + max(num, -num)) / (q << 8)
	if bit > 0 {
		pred = min(pred, 1<<uint(bit)-1)
	}
	if num < 0 {
		return -pred
	}
	return pred
}
