package jpeg

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

// triangleH doubles a line: outputs lie at quarter distances between inputs, weights 3/4 and 1/4. One half
// is rounded down on the left and up on the right of a sample, which leaves no bias.
func triangleH(out, in []byte) {
	n := len(in)
	out = out[:2*n]
	out[0] = in[0]
	out[1] = byte((int(in[0])*3 + int(in[1]) + 2) >> 2)
	prev, this := uint32(in[0]), uint32(in[1])
	for i, next := range in[2:] {
		o := (*[2]byte)(out[2*i+2:])
		o[0] = byte((this*3 + prev + 1) >> 2)
		o[1] = byte((this*3 + uint32(next) + 2) >> 2)
		prev, this = this, uint32(next)
	}
	out[2*n-2] = byte((this*3 + prev + 1) >> 2)
	out[2*n-1] = byte(this)
}

// triangleV is a line between two: 3/4 of the near one, 1/4 of the far one.
func triangleV(out, near, far []byte, bias int) {
	out, far = out[:len(near)], far[:len(near)]
	for i, v := range near {
		out[i] = byte((int(v)*3 + int(far[i]) + bias) >> 2)
	}
}

// triangleHV doubles the line between near (3/4) and far (1/4).
func triangleHV(out, near, far []byte) {
	n := len(near)
	out, far = out[:2*n], far[:n]
	prev := uint32(near[0])*3 + uint32(far[0])
	this := uint32(near[1])*3 + uint32(far[1])
	out[0] = byte((prev*4 + 8) >> 4)
	out[1] = byte((prev*3 + this + 7) >> 4)
	far2 := far[2:]
	for i, v := range near[2:] {
		next := uint32(v)*3 + uint32(far2[i])
		o := (*[2]byte)(out[2*i+2:])
		o[0] = byte((this*3 + prev + 8) >> 4)
		o[1] = byte((this*3 + next + 7) >> 4)
		prev, this = this, next
	}
	out[2*n-2] = byte((this*3 + prev + 8) >> 4)
	out[2*n-1] = byte((this*4 + 7) >> 4)
}

// replicate repeats each sample hx times.
func replicate(out, in []byte, hx int) {
	for i := range out {
		out[i] = in[i/hx]
	}
}
