package jpeg

import (
	"bytes"
	"encoding/binary"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Marker codes (ITU-T T.81 table B.1).
const (
	mSOF0  = 0xC0
	mSOF1  = 0xC1
	mSOF2  = 0xC2
	mDHT   = 0xC4
	mJPG   = 0xC8
	mSOF15 = 0xCF
	mDAC   = 0xCC
	mRST0  = 0xD0
	mRST7  = 0xD7
	mSOI   = 0xD8
	mEOI   = 0xD9
	mSOS   = 0xDA
	mDQT   = 0xDB
	mDRI   = 0xDD
	mAPP0  = 0xE0
	mAPP14 = 0xEE
	mTEM   = 0x01
)

const (
	maxComponents = 4
	maxDimension  = 65500 // libjpeg's JPEG_MAX_DIMENSION
	maxMCUBlocks  = 10    // T.81 B.2.3
	// maxScans bounds the work that a small file can ask for: each scan visits every block. Encoders
	// write about ten.
	maxScans = 500
)

// component is one colour plane of the frame.
type component struct {
	id            byte
	h, v          int // sampling factors, 1..4
	tq            byte
	width, height int // in samples, without padding
	bw, bh        int // in blocks, as a scan of this component alone has them
	bpl, rows     int // in blocks, padded to whole MCUs: blocks a line, block rows

	quant   [64]int32 // in natural order; taken from the table at the component's first scan
	scale   scaling   // the same for sequential scans
	scanned bool
	// known is the lowest bit that a progressive file has sent of each coefficient, in zigzag order; -1
	// if it has sent none.
	known [64]int8

	kernel upsampling
	hx, vx int // expansion to the frame's size

	dc, ac *huffman // of the current scan
	pred   int32    // DC prediction
}

// stripLen is the size of two MCU rows of samples: the one just decoded and the one before.
func (c *component) stripLen() int { return 2 * c.v * 8 * c.bpl * 8 }

// coefLen is the number of coefficients.
func (c *component) coefLen() int { return c.bpl * c.rows * 64 }

// lineLen is the size of one upsampled line, 0 if the component needs no upsampling.
func (c *component) lineLen(width int) int {
	if c.kernel == upNone {
		return 0
	}
	return width + c.hx
}

// parser reads segments. Between two scans pos stands on the next marker.
type parser struct {
	data []byte
	pos  int

	width, height int
	ncomp         int
	comps         [maxComponents]component
	maxH, maxV    int
	mcuX, mcuY    int // interleaved MCUs
	progressive   bool
	baseline      bool // SOF0

	quant    [4][64]uint16 // zigzag order
	quantSet [4]bool
	huff     [2][4]huffman // class (DC, AC), slot
	standard bool          // a standard table stands in for one that the file lacks
	restart  int           // MCUs between restart markers, 0 for none

	jfif, adobe    bool
	adobeTransform byte

	scan  scanHeader
	scans int
}

// scanHeader is the current SOS segment.
type scanHeader struct {
	n              int
	comp           [maxComponents]*component
	ss, se, ah, al int
}

// readHeader parses up to and including the first SOS.
func (p *parser) readHeader(data []byte) error {
	p.reset(data)
	if len(data) < 3 || data[0] != 0xFF || data[1] != mSOI || data[2] != 0xFF {
		return fault.New(fault.UnsupportedMedia, "not a JPEG file")
	}
	p.pos = 2
	more, err := p.nextScan()
	if err != nil {
		return err
	}
	if !more {
		return invalid("no image data before the end marker")
	}
	return nil
}

// skim walks the headers of the remaining scans.
func (p *parser) skim() error {
	for {
		if more, err := p.nextScan(); err != nil || !more {
			return err
		}
	}
}

// reset forgets the previous file but keeps built Huffman tables, which most files share.
func (p *parser) reset(data []byte) {
	p.data, p.pos = data, 0
	p.width, p.height, p.ncomp, p.restart, p.scans = 0, 0, 0, 0, 0
	p.progressive, p.baseline, p.jfif, p.adobe, p.standard = false, false, false, false, false
	p.quantSet = [4]bool{}
	for class := range p.huff {
		for i := range p.huff[class] {
			p.huff[class][i].defined = false
		}
	}
}

// nextScan parses segments up to and including the next SOS; false at EOI.
func (p *parser) nextScan() (bool, error) {
	for {
		m, err := p.marker()
		if err != nil {
			return false, err
		}
		switch {
		case m == mEOI:
			return false, nil
		case m >= mRST0 && m <= mRST7, m == mTEM:
			continue
		case m == mSOI:
			return false, invalid("second start-of-image marker")
		}
		body, err := p.segment(m)
		if err != nil {
			return false, err
		}
		if err := p.apply(m, body); err != nil {
			return false, err
		}
		if m == mSOS {
			return true, nil
		}
	}
}

// marker finds the next marker, skipping whatever is not one, as libjpeg does.
func (p *parser) marker() (byte, error) {
	for i := p.pos; i+1 < len(p.data); i++ {
		skip := bytes.IndexByte(p.data[i:len(p.data)-1], 0xFF)
		if skip < 0 {
			break
		}
		i += skip
		if c := p.data[i+1]; c != 0 && c != 0xFF {
			p.pos = i + 2
			return c, nil
		}
	}
	return 0, errTruncated()
}

func errTruncated() error { return invalid("the file is truncated") }

// segment is the body after a marker.
func (p *parser) segment(m byte) ([]byte, error) {
	if len(p.data)-p.pos < 2 {
		return nil, errTruncated()
	}
	n := int(binary.BigEndian.Uint16(p.data[p.pos:]))
	if n < 2 {
		return nil, invalid("segment %#02x has length %d", m, n)
	}
	if len(p.data)-p.pos < n {
		return nil, errTruncated()
	}
	body := p.data[p.pos+2 : p.pos+n]
	p.pos += n
	return body, nil
}

// apply interprets one segment.
func (p *parser) apply(m byte, body []byte) error {
	switch m {
	case mSOF0, mSOF1, mSOF2:
		return p.frame(m, body)
	case mDHT:
		return p.huffmanTables(body)
	case mDQT:
		return p.quantTables(body)
	case mDRI:
		if len(body) != 2 {
			return invalid("restart interval of %d bytes", len(body))
		}
		p.restart = int(binary.BigEndian.Uint16(body))
	case mSOS:
		return p.startScan(body)
	case mAPP0:
		p.jfif = p.jfif || len(body) >= 14 && string(body[:5]) == "JFIF\x00"
	case mAPP14:
		if len(body) >= 12 && string(body[:5]) == "Adobe" {
			p.adobe, p.adobeTransform = true, body[11]
		}
	case mDAC:
		return unsupported("arithmetic coding is not supported")
	default:
		if m > mSOF2 && m <= mSOF15 {
			return unsupportedFrame(m)
		}
	}
	return nil
}

// unsupportedFrame names the coding of a frame that this package does not read.
func unsupportedFrame(m byte) error {
	kind := "hierarchical coding"
	switch {
	case m == 0xC3:
		kind = "lossless coding"
	case m == mJPG:
		kind = "the JPG extension"
	case m > mJPG:
		kind = "arithmetic coding"
	}
	return unsupported("%s (frame type %#02x) is not supported", kind, m)
}

// frame parses SOF (T.81 B.2.2).
func (p *parser) frame(m byte, b []byte) error {
	if p.ncomp != 0 {
		return invalid("second frame header")
	}
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return invalid("frame header of %d bytes", len(b))
	}
	if b[0] != 8 {
		return unsupported("%d bits a sample are not supported", b[0])
	}
	h, w, n := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:])), int(b[5])
	switch {
	case w == 0 || h == 0 || n == 0:
		return invalid("the frame is %dx%d with %d components", w, h, n)
	case w > maxDimension || h > maxDimension:
		return fault.New(fault.TooLarge, "JPEG: %dx%d is over %d in one direction", w, h, maxDimension)
	case n != 1 && n != 3 && n != 4:
		return unsupported("%d components are not supported", n)
	}
	p.width, p.height, p.ncomp, p.progressive = w, h, n, m == mSOF2
	p.baseline = m == mSOF0
	return p.components(b[6:])
}

// components lays out the planes from their sampling factors.
func (p *parser) components(b []byte) error {
	p.maxH, p.maxV = 1, 1
	for i := range p.ncomp {
		h, v := int(b[3*i+1]>>4), int(b[3*i+1]&15)
		if h < 1 || h > 4 || v < 1 || v > 4 {
			return invalid("component %d has sampling factors %dx%d", i, h, v)
		}
		c := &p.comps[i]
		*c = component{id: b[3*i], h: h, v: v, tq: b[3*i+2]}
		for k := range c.known {
			c.known[k] = -1
		}
		p.maxH, p.maxV = max(p.maxH, h), max(p.maxV, v)
	}
	p.mcuX, p.mcuY = ceilDiv(p.width, 8*p.maxH), ceilDiv(p.height, 8*p.maxV)
	for i := range p.ncomp {
		c := &p.comps[i]
		if p.maxH%c.h != 0 || p.maxV%c.v != 0 {
			return unsupported("component %d is sampled %dx%d of %dx%d, no whole ratio", i, c.h, c.v, p.maxH, p.maxV)
		}
		c.width, c.height = ceilDiv(p.width*c.h, p.maxH), ceilDiv(p.height*c.v, p.maxV)
		c.bw, c.bh = ceilDiv(p.width*c.h, 8*p.maxH), ceilDiv(p.height*c.v, 8*p.maxV)
		c.bpl, c.rows = p.mcuX*c.h, p.mcuY*c.v
		c.hx, c.vx = p.maxH/c.h, p.maxV/c.v
		c.kernel = kernelFor(c)
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// quantTables parses DQT (T.81 B.2.4.1); entries of 8 or 16 bits.
func (p *parser) quantTables(b []byte) error {
	for len(b) > 0 {
		wide, slot := b[0]>>4, b[0]&15
		if slot > 3 || wide > 1 {
			return invalid("quantisation table %#02x", b[0])
		}
		n := 64 << wide
		if len(b) < 1+n {
			return invalid("short quantisation table")
		}
		for i := range 64 {
			if wide == 1 {
				p.quant[slot][i] = binary.BigEndian.Uint16(b[1+2*i:])
			} else {
				p.quant[slot][i] = uint16(b[1+i])
			}
		}
		p.quantSet[slot] = true
		b = b[1+n:]
	}
	return nil
}

// huffmanTables parses DHT (T.81 B.2.4.2).
func (p *parser) huffmanTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return invalid("short Huffman table")
		}
		class, slot, n := b[0]>>4, b[0]&15, 0
		for _, c := range b[1:17] {
			n += int(c)
		}
		if class > 1 || slot > 3 {
			return invalid("Huffman table %#02x", b[0])
		}
		if n > 256 || len(b) < 17+n {
			return invalid("Huffman table with %d symbols in %d bytes", n, len(b)-17)
		}
		p.huff[class][slot].define([16]byte(b[1:17]), b[17:17+n])
		b = b[17+n:]
	}
	return nil
}

// startScan parses SOS (T.81 B.2.3) and readies its components.
func (p *parser) startScan(b []byte) error {
	if p.ncomp == 0 {
		return invalid("scan before the frame header")
	}
	if p.scans++; p.scans > maxScans {
		return invalid("more than %d scans", maxScans)
	}
	if len(b) < 1 || b[0] < 1 || int(b[0]) > p.ncomp || len(b) != 4+2*int(b[0]) {
		return invalid("scan header of %d bytes", len(b))
	}
	s := &p.scan
	*s = scanHeader{n: int(b[0])}
	tail := b[1+2*s.n:]
	s.ss, s.se, s.ah, s.al = int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15)
	blocks := 0
	for i := range s.n {
		c := p.scanComponent(i, b[1+2*i])
		if c == nil {
			return invalid("scan names component %d, which the frame lacks", b[1+2*i])
		}
		s.comp[i] = c
		blocks += c.h * c.v
		if err := p.readyComponent(c, b[2+2*i]); err != nil {
			return err
		}
	}
	if s.n > 1 && blocks > maxMCUBlocks {
		return invalid("an MCU of %d blocks", blocks)
	}
	if p.progressive {
		return s.progress()
	}
	return nil
}

// scanComponent is the first component with that id that the scan does not have yet.
func (p *parser) scanComponent(n int, id byte) *component {
next:
	for i := range p.ncomp {
		c := &p.comps[i]
		if c.id != id {
			continue
		}
		for _, used := range p.scan.comp[:n] {
			if used == c {
				continue next
			}
		}
		return c
	}
	return nil
}

// readyComponent takes the component's quantisation table at its first scan and builds the Huffman
// tables that the scan will use.
func (p *parser) readyComponent(c *component, selectors byte) error {
	if !c.scanned {
		if c.tq > 3 || !p.quantSet[c.tq] {
			return invalid("quantisation table %d is missing", c.tq)
		}
		for i, q := range p.quant[c.tq] {
			c.quant[zigzag[i]] = int32(q)
		}
		c.scale = scalingOf(&c.quant)
		c.scanned = true
	}
	c.pred, c.dc, c.ac = 0, nil, nil
	s := &p.scan
	needDC := !p.progressive || s.ss == 0 && s.ah == 0
	needAC := !p.progressive || s.ss != 0
	var err error
	if needDC {
		c.dc, err = p.table(0, selectors>>4)
	}
	if needAC && err == nil {
		c.ac, err = p.table(1, selectors&15)
	}
	return err
}

// table is a built Huffman table. In sequential files a slot that no segment defines has the standard's
// example table, which frames of motion JPEG rely on.
func (p *parser) table(class, slot byte) (*huffman, error) {
	if slot > 3 {
		return nil, invalid("Huffman table %d does not exist", slot)
	}
	h := &p.huff[class][slot]
	if !h.defined {
		if slot > 1 || p.progressive {
			return nil, invalid("Huffman table %d is missing", slot)
		}
		p.standard = true
		std := &standardTables[class][slot]
		h.define(std.counts, std.symbols)
	}
	return h, h.build(class == 0)
}

// progress checks a progressive scan (T.81 G.1.1.1) and notes what it sends. As in libjpeg the order of
// scans is not checked.
func (s *scanHeader) progress() error {
	ok := s.ss == 0 && s.se == 0 || s.ss > 0 && s.ss <= s.se && s.se < 64 && s.n == 1
	if !ok || s.ah != 0 && s.al != s.ah-1 || s.al > 13 {
		return invalid("progressive scan of coefficients %d to %d, bits %d to %d", s.ss, s.se, s.ah, s.al)
	}
	for _, c := range s.comp[:s.n] {
		for k := s.ss; k <= s.se; k++ {
			c.known[k] = int8(s.al)
		}
	}
	return nil
}

// multiScan says whether coefficients must be kept: the first scan does not hold the whole image.
func (p *parser) multiScan() bool { return p.progressive || p.scan.n < p.ncomp }

// mode is how Pillow would hold the image.
func (p *parser) mode() raster.Mode {
	switch p.ncomp {
	case 1:
		return raster.L
	case 3:
		return raster.RGB
	}
	return raster.CMYK
}

// colour is how components become pixels; libjpeg's guess from markers and component ids.
func (p *parser) colour() converter {
	switch p.ncomp {
	case 1:
		return greyRow
	case 4:
		if p.adobe && p.adobeTransform != 0 {
			return ycckRow
		}
		return cmykRow
	}
	if p.rgb() {
		return rgbRow
	}
	return yccRow
}

// rgb tells whether three components are red, green and blue.
func (p *parser) rgb() bool {
	if p.jfif {
		return false
	}
	if p.adobe {
		return p.adobeTransform == 0
	}
	return p.comps[0].id == 'R' && p.comps[1].id == 'G' && p.comps[2].id == 'B'
}
