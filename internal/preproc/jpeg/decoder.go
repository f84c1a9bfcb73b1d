package jpeg

import (
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Decoder is the decoder in Go. Its zero value is ready; it keeps its buffers between files, so that a
// warm one allocates nothing for files of sizes it has seen. One goroutine at a time.
type Decoder struct {
	// MaxPixels refuses larger images before anything is allocated for them; 0 means no limit.
	MaxPixels int64

	p       parser
	br      bits
	strips  [maxComponents][]byte  // ring of two MCU rows of samples
	lines   [maxComponents][]byte  // one upsampled line
	coefs   [maxComponents][]int16 // of files with several scans
	rows    [maxComponents][]byte
	unit    scaling // by one
	block   [64]int16
	guess   [64]int16 // a smoothed block
	emitted int       // output lines written
}

// Decode writes the image into dst, reusing its memory. After an error dst's pixels are undefined.
func (d *Decoder) Decode(data []byte, dst *raster.Image) error {
	if err := d.p.readHeader(data); err != nil {
		return err
	}
	if err := checkPixels(&d.p, d.MaxPixels); err != nil {
		return err
	}
	d.prepare(dst)
	var err error
	if d.p.multiScan() {
		err = d.decodeScans(dst)
	} else {
		err = d.decodeSingle(dst)
	}
	d.p.data, d.br.data = nil, nil
	return err
}

// checkPixels holds a header against a limit of pixels.
func checkPixels(p *parser, limit int64) error {
	if n := int64(p.width) * int64(p.height); limit > 0 && n > limit {
		return fault.New(fault.TooLarge, "JPEG: %dx%d is %d pixels, over the limit of %d", p.width, p.height, n, limit)
	}
	return nil
}

// prepare sizes the buffers.
func (d *Decoder) prepare(dst *raster.Image) {
	p := &d.p
	dst.Reset(p.mode(), p.width, p.height)
	d.emitted = 0
	for i := range p.ncomp {
		c := &p.comps[i]
		d.strips[i] = sized(d.strips[i], c.stripLen())
		d.lines[i] = sized(d.lines[i], c.lineLen(p.width))
		if p.multiScan() {
			d.coefs[i] = sized(d.coefs[i], c.coefLen())
			clear(d.coefs[i])
		}
	}
}

// sized is s with n elements, in its own memory if that suffices.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// decodeSingle decodes a file whose one scan holds everything: MCU row by MCU row, straight to pixels.
func (d *Decoder) decodeSingle(dst *raster.Image) error {
	p := &d.p
	d.br.start(p.data, p.pos)
	left := p.restart
	next := byte(mRST0)
	for row := range p.mcuY {
		for unit := range d.unitsInRow(row) {
			if p.restart > 0 && left == 0 {
				if err := d.resync(&next); err != nil {
					return err
				}
				left = p.restart
			}
			left--
			d.decodeUnit(row, unit)
		}
		if err := d.damage(); err != nil {
			return err
		}
		d.emit(row, dst)
	}
	return d.finish()
}

// damage is what is wrong with the entropy-coded data read so far: a file that just ends, data that stops
// at a marker too early, or a senseless symbol.
func (d *Decoder) damage() error {
	switch {
	case d.br.bad:
		return invalid("the image data is damaged")
	case !d.br.overrun():
		return nil
	case d.br.pos+1 >= len(d.br.data):
		return errTruncated()
	}
	return invalid("the image data ends early")
}

// unitsInRow is the number of MCUs in one row of the frame's MCUs. A frame of one component has MCUs of
// one block, whatever its sampling factors.
func (d *Decoder) unitsInRow(row int) int {
	if d.p.ncomp > 1 {
		return d.p.mcuX
	}
	c := &d.p.comps[0]
	return c.bw * min(c.v, c.bh-row*c.v)
}

// decodeUnit decodes one MCU and transforms its blocks into the strips.
func (d *Decoder) decodeUnit(row, unit int) {
	p := &d.p
	if p.ncomp == 1 {
		c := &p.comps[0]
		d.decodeBlock(c, 0, row, unit%c.bw, unit/c.bw)
		return
	}
	for i := range p.scan.n {
		c := p.scan.comp[i]
		strip := d.index(c)
		for v := range c.v {
			for h := range c.h {
				d.decodeBlock(c, strip, row, unit*c.h+h, v)
			}
		}
	}
}

// index is the component's place in the frame.
func (d *Decoder) index(c *component) int {
	for i := range d.p.ncomp {
		if c == &d.p.comps[i] {
			return i
		}
	}
	return 0
}

// decodeBlock decodes one block and transforms it into the strip of component i; bx and by count blocks
// within the MCU row.
func (d *Decoder) decodeBlock(c *component, i, row, bx, by int) {
	d.block = [64]int16{}
	info := d.br.block(&d.block, c.dc, c.ac, &c.scale, c.pred)
	c.pred = info.pred
	stride := c.bpl * 8
	transform(&d.block, info.mask, info.size, d.strips[i][((row&1)*c.v+by)*8*stride+bx*8:], stride)
}

// resync reads the restart marker that must be next, and forgets predictions.
func (d *Decoder) resync(next *byte) error {
	if err := d.damage(); err != nil {
		return err
	}
	p := &d.p
	p.pos = d.br.pos
	m, err := p.marker()
	if err != nil {
		return err
	}
	if m != *next {
		return invalid("restart marker %#02x where %#02x is due", m, *next)
	}
	*next = mRST0 + (*next+1)&7
	d.br.start(p.data, p.pos)
	for i := range p.scan.n {
		p.scan.comp[i].pred = 0
	}
	return nil
}

// finish wants the end marker after the one scan.
func (d *Decoder) finish() error {
	d.p.pos = d.br.pos
	more, err := d.p.nextScan()
	if err == nil && more {
		return invalid("a second scan after the image was complete")
	}
	return err
}

// emit writes the output lines that MCU row makes possible. A line that needs the next one of a
// component waits for the next MCU row.
func (d *Decoder) emit(row int, dst *raster.Image) {
	p := &d.p
	limit := (row+1)*8*p.maxV - d.lookahead()
	if row == p.mcuY-1 {
		limit = p.height
	}
	convert := p.colour()
	bytes := p.width * dst.Mode.Channels()
	for ; d.emitted < limit; d.emitted++ {
		for i := range p.ncomp {
			d.rows[i] = p.comps[i].line(d.strips[i], d.lines[i], d.emitted, p.width)
		}
		convert(dst.Pix[d.emitted*bytes:], &d.rows, p.width)
	}
}

// lookahead is how many of an MCU row's output lines need samples of the next row.
func (d *Decoder) lookahead() int {
	for i := range d.p.ncomp {
		if d.p.comps[i].kernel.context() {
			return 1
		}
	}
	return 0
}

// decodeScans decodes a file of several scans into coefficients, and these into pixels.
func (d *Decoder) decodeScans(dst *raster.Image) error {
	ones := [64]int32{}
	for k := range ones {
		ones[k] = 1
	}
	d.unit = scalingOf(&ones)
	for more := true; more; {
		err := d.decodeScan()
		if err != nil {
			return err
		}
		d.p.pos = d.br.pos
		if more, err = d.p.nextScan(); err != nil {
			return err
		}
	}
	for i := range d.p.ncomp {
		if !d.p.comps[i].scanned {
			return invalid("component %d has no image data", i)
		}
	}
	d.render(dst)
	return nil
}

// render transforms all coefficients, MCU row by MCU row.
func (d *Decoder) render(dst *raster.Image) {
	p := &d.p
	smooth := p.smoothable()
	for row := range p.mcuY {
		for i := range p.ncomp {
			c := &p.comps[i]
			for by := range c.v {
				d.renderBlocks(c, i, row, by, smooth)
			}
		}
		d.emit(row, dst)
	}
}

// renderBlocks transforms one line of blocks.
func (d *Decoder) renderBlocks(c *component, i, row, by int, smooth bool) {
	stride := c.bpl * 8
	out := d.strips[i][((row&1)*c.v+by)*8*stride:]
	y := row*c.v + by
	last := c.rows - 1
	if row == d.p.mcuY-1 {
		last = c.bh - 1
	}
	if y > last {
		return // padding
	}
	coefs := d.coefs[i][y*c.bpl*64:]
	for bx := range c.bw {
		in := (*[64]int16)(coefs[bx*64:])
		if smooth {
			d.guess = *in
			in = &d.guess
			c.smooth(in, d.coefs[i], bx, y, last)
		}
		mask, size := dequantise(&d.block, in, &c.quant)
		transform(&d.block, mask, size, out[bx*8:], stride)
	}
}

// dequantise scales a block and tells which places are occupied and the sum of magnitudes, as blockInfo
// has them. Most of a block is zero: it is looked at by fours.
func dequantise(out, in *[64]int16, quant *[64]int32) (mask uint32, size int32) {
	*out = [64]int16{}
	for four := 0; four < 64; four += 4 {
		if in[four]|in[four+1]|in[four+2]|in[four+3] == 0 {
			continue
		}
		for pos := four; pos < four+4; pos++ {
			if in[pos] != 0 {
				v := int32(int16(int32(in[pos]) * quant[pos]))
				out[pos] = int16(v)
				mask |= occupied[pos]
				size += v ^ v>>31
			}
		}
	}
	if in[0] != 0 && mask == occupied[0] {
		mask = 0 // nothing but DC
	}
	return mask, size
}
