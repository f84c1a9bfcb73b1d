package jpeg

import "bytes"

// Plain tells whether a file is of the kind that decoders in hardware take, and whole: baseline with Huffman
// tables of its own, one scan, grey or YCbCr sampled 4:4:4, 4:2:2, 4:4:0 or 4:2:0, with all its restart
// markers and its end marker where they are due. What is between them, the coded samples, is not looked at.
func Plain(data []byte) bool {
	p := parsers.Get().(*parser)
	defer func() {
		p.data = nil
		parsers.Put(p)
	}()
	if p.readHeader(data) != nil || !p.baseline || p.multiScan() || p.standard {
		return false
	}
	return p.plainSampling() && p.wholeScan()
}

// plainSampling tells whether the components are those of a common photograph.
func (p *parser) plainSampling() bool {
	first := &p.comps[0]
	switch p.ncomp {
	case 1:
		return first.h == 1 && first.v == 1
	case 3:
		small := p.comps[1].h*p.comps[1].v == 1 && p.comps[2].h*p.comps[2].v == 1
		return small && first.h <= 2 && first.v <= 2 && !p.rgb()
	}
	return false
}

// wholeScan looks for the markers of the one scan, at whose data the parser stands.
func (p *parser) wholeScan() bool {
	left := 0 // restart markers
	if p.restart > 0 {
		left = ceilDiv(p.units(), p.restart) - 1
	}
	next := byte(mRST0)
	for data := p.data[p.pos:]; ; {
		i := bytes.IndexByte(data, 0xFF)
		if i < 0 || i+1 >= len(data) {
			return false
		}
		switch m := data[i+1]; {
		case m == 0xFF: // a fill byte
			data = data[i+1:]
			continue
		case m == 0: // a sample's byte
		case m == next && left > 0:
			next = mRST0 + (next+1)&7
			left--
		default:
			return m == mEOI && left == 0
		}
		data = data[i+2:]
	}
}

// units is the number of MCUs of a scan of all components.
func (p *parser) units() int {
	if p.ncomp == 1 {
		return p.comps[0].bw * p.comps[0].bh
	}
	return p.mcuX * p.mcuY
}
