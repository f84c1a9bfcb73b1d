package resize

// Steps is Into for 8-bit samples without alpha, as data, for who carries it out elsewhere: two passes,
// each along one axis and each rounding to 8 bits. Where a side keeps its size the weights of its pass are
// one for the sample itself, so that it changes nothing, in either order.
type Steps struct {
	VerticalFirst        bool
	Horizontal, Vertical Taps
}

// StepsFor are the steps that resize an image of srcWidth x srcHeight pixels to width x height and leave
// the part r.
func StepsFor(srcWidth, srcHeight, width, height int, r Rect, f Filter) Steps {
	return Steps{
		VerticalFirst: verticalFirst(srcWidth, srcHeight, width, height),
		Horizontal:    Taps{tables.get(axis{srcWidth, width, r.X, r.W, f, false})},
		Vertical:      Taps{tables.get(axis{srcHeight, height, r.Y, r.H, f, false})},
	}
}

// Taps are the weights of one axis. Taps of the same axis are usually equal, so that they can be told by
// comparing them.
type Taps struct{ t *table }

// PrecisionBits is the scale of a weight: an output sample is the sum of weights and samples, plus a half,
// shifted right by so many bits and clipped to 0..255.
const PrecisionBits = precisionBits

// Len is the number of output samples.
func (t Taps) Len() int { return len(t.t.spans) }

// Reads is the range of source samples that are read: from first to before last.
func (t Taps) Reads() (first, last int) { return t.t.reads() }

// Span is output sample i: its weights, for the source samples from first on.
func (t Taps) Span(i int) (first int, weights []int32) {
	s := t.t.spans[i]
	return int(s.first), t.t.fixed[s.off:][:s.n]
}

// Words is the length of what Pack writes.
func (t Taps) Words() int { return 3*len(t.t.spans) + len(t.t.fixed) }

// Pack writes for each output sample its first source sample, the number of its weights and where in dst they
// begin; then the weights.
func (t Taps) Pack(dst []int32) {
	begin := 3 * len(t.t.spans)
	for i, s := range t.t.spans {
		dst[3*i], dst[3*i+1], dst[3*i+2] = s.first, s.n, int32(begin)+s.off
	}
	copy(dst[begin:], t.t.fixed)
}
