package jpeg

import "encoding/binary"

// upsampling is how a component's lines grow to the image's size.
type upsampling uint8

const (
	upNone  upsampling = iota // full size already
	upH2V1                    // triangle filter, twice as wide
	upH1V2                    // triangle filter, twice as high
	upH2V2                    // triangle filter, both
	upBoxes                   // replication by whole factors
)

// kernelFor chooses as libjpeg does: very narrow components are replicated.
func kernelFor(c *component) upsampling {
	switch {
	case c.hx == 1 && c.vx == 1:
		return upNone
	case c.hx == 2 && c.vx == 1 && c.width > 2:
		return upH2V1
	case c.hx == 1 && c.vx == 2:
		return upH1V2
	case c.hx == 2 && c.vx == 2 && c.width > 2:
		return upH2V2
	}
	return upBoxes
}

// context says whether a line depends on its neighbours above and below.
func (u upsampling) context() bool { return u == upH1V2 || u == upH2V2 }

// stripRow is line y of the component in its ring of two MCU rows; y is clamped to the component, whose
// outermost lines stand for those beyond.
func (c *component) stripRow(strip []byte, y int) []byte {
	y = min(max(y, 0), c.height-1)
	off := y % (2 * c.v * 8) * c.bpl * 8
	return strip[off : off+c.width]
}

// line is the component's line for output line y, at least width samples; scratch may hold it.
func (c *component) line(strip, scratch []byte, y, width int) []byte {
	cy := y / c.vx
	near := c.stripRow(strip, cy)
	if c.kernel == upNone {
		return near
	}
	far := near
	if c.kernel.context() {
		far = c.stripRow(strip, cy-1+y%2*2)
	}
	switch c.kernel {
	case upH2V1:
		triangleH(scratch, near)
	case upH1V2:
		triangleV(scratch, near, far, 1+y%2)
	case upH2V2:
		triangleHV(scratch, near, far)
	default:
		replicate(scratch[:width], near, c.hx)
	}
	return scratch
}

// triangleV is a line between two: 3/4 of the near one, 1/4 of the far one.
func triangleV(out, near, far []byte, bias int) {
	out, far = out[:len(near)], far[:len(near)]
	for i, v := range near {
		out[i] = byte((int(v)*3 + int(far[i]) + bias) >> 2)
	}
}

// triangleH doubles a line: outputs lie at quarter distances between inputs, weights 3/4 and 1/4. Halves are
// rounded down left of a sample and up right of it, which leaves no bias.
func triangleH(out, in []byte) { double(out, in, in, 4, 8) }

// triangleHV doubles the line between near (3/4) and far (1/4).
func triangleHV(out, near, far []byte) { double(out, near, far, 8, 7) }

// Lanes: a uint64 holds four numbers of 16 bits.
const (
	lanes    = 0x0001000100010001
	laneByte = 0x00FF * lanes
)

// double filters the column sums s = 3*near+far, with the outermost repeated:
//
//	out[2i] = (3 s[i] + s[i-1] + left) / 16    out[2i+1] = (3 s[i] + s[i+1] + right) / 16
//
// Eight inputs at a time: those at even places in the lanes of one word, those at odd places in another.
func double(out, near, far []byte, left, right uint64) {
	n := len(near)
	out, far = out[:2*n], far[:n]
	sum := func(i int) uint64 { return 3*uint64(near[i]) + uint64(far[i]) }
	prev, i := sum(0), 0
	for ; i+8 < n; i += 8 {
		x, y := binary.LittleEndian.Uint64(near[i:]), binary.LittleEndian.Uint64(far[i:])
		even := 3*(x&laneByte) + y&laneByte
		odd := 3*(x>>8&laneByte) + y>>8&laneByte
		a := 3*even + (odd<<16 | prev) + left*lanes
		b := 3*even + odd + right*lanes
		c := 3*odd + even + left*lanes
		d := 3*odd + (even>>16 | sum(i+8)<<48) + right*lanes
		ab := a>>4&laneByte | b<<4&(laneByte<<8)
		cd := c>>4&laneByte | d<<4&(laneByte<<8)
		o := (*[16]byte)(out[2*i:])
		binary.LittleEndian.PutUint64(o[:8], apart(ab)|apart(cd)<<16)
		binary.LittleEndian.PutUint64(o[8:], apart(ab>>32)|apart(cd>>32)<<16)
		prev = odd >> 48
	}
	for ; i < n; i++ {
		this := sum(i)
		next := sum(min(i+1, n-1))
		out[2*i] = byte((3*this + prev + left) >> 4)
		out[2*i+1] = byte((3*this + next + right) >> 4)
		prev = this
	}
}

// apart moves the second lowest lane up by one.
func apart(v uint64) uint64 { return (v&0xFFFFFFFF | v<<16) & 0x0000FFFF0000FFFF }

// replicate repeats each sample hx times.
func replicate(out, in []byte, hx int) {
	for i := range out {
		out[i] = in[i/hx]
	}
}
