package jpeg

// scanState walks the blocks of one scan of a file that has several.
type scanState struct {
	left int  // MCUs until the next restart marker
	next byte // that marker
	prog progression
}

// decodeScan decodes the current scan into the coefficients.
func (d *Decoder) decodeScan() error {
	p := &d.p
	s := &p.scan
	d.br.start(p.data, p.pos)
	st := scanState{
		left: p.restart, next: mRST0,
		prog: progression{ss: s.ss, se: s.se, al: s.al, refine: s.ah != 0},
	}
	if s.n == 1 {
		return d.scanPlane(s.comp[0], &st)
	}
	for my := range p.mcuY {
		for mx := range p.mcuX {
			if err := d.beforeUnit(&st); err != nil {
				return err
			}
			for i := range s.n {
				d.scanUnit(s.comp[i], mx, my, &st.prog)
			}
		}
		if err := d.damage(); err != nil {
			return err
		}
	}
	return nil
}

// scanPlane decodes a scan of one component: its blocks line by line, without padding.
func (d *Decoder) scanPlane(c *component, st *scanState) error {
	coefs := d.coefs[d.index(c)]
	for by := range c.bh {
		for bx := range c.bw {
			if err := d.beforeUnit(st); err != nil {
				return err
			}
			d.scanBlock(c, (*[64]int16)(coefs[(by*c.bpl+bx)*64:]), &st.prog)
		}
		if err := d.damage(); err != nil {
			return err
		}
	}
	return nil
}

// beforeUnit handles a restart marker that is due.
func (d *Decoder) beforeUnit(st *scanState) error {
	if d.p.restart == 0 {
		return nil
	}
	if st.left == 0 {
		if err := d.resync(&st.next); err != nil {
			return err
		}
		st.left, st.prog.eobrun = d.p.restart, 0
	}
	st.left--
	return nil
}

// scanUnit decodes one component's blocks of an interleaved MCU.
func (d *Decoder) scanUnit(c *component, mx, my int, prog *progression) {
	coefs := d.coefs[d.index(c)]
	for v := range c.v {
		line := coefs[((my*c.v+v)*c.bpl+mx*c.h)*64:]
		for h := range c.h {
			d.scanBlock(c, (*[64]int16)(line[h*64:]), prog)
		}
	}
}

// scanBlock decodes one block of a progressive or sequential scan.
func (d *Decoder) scanBlock(c *component, coef *[64]int16, prog *progression) {
	if d.p.progressive {
		prog.block(&d.br, coef, c)
		return
	}
	*coef = [64]int16{} // a component sent twice counts once
	c.pred = d.br.block(coef, c.dc, c.ac, &d.unit, c.pred).pred
}
