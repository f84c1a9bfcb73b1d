// Package resize scales images to the very bytes that Pillow's Image.resize gives (version 13.0.0): a
// separable convolution with antialiasing, in 22-bit fixed point for 8-bit samples and in double
// precision for 16-bit ones, nearest neighbour for palette and bilevel images, and premultiplied
// alpha in between for RGBA and LA. Only the part of the result that the caller wants is computed.
package resize

import "math"

// Filter is a convolution kernel.
type Filter uint8

const (
	// Bicubic is Keys' cubic with a = -0.5, support 2.
	Bicubic Filter = iota
	// Bilinear is the triangle, support 1.
	Bilinear
)

// String is the filter's name in plans.
func (f Filter) String() string {
	if f == Bilinear {
		return "bilinear"
	}
	return "bicubic"
}

func (f Filter) support() float64 {
	if f == Bilinear {
		return 1
	}
	return 2
}

// at is the kernel's value. The conversions keep a compiler from fusing a product into a sum, which
// would round once where Pillow rounds twice.
func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	switch {
	case f == Bilinear:
		return max(1-x, 0)
	case x < 1:
		return float64(float64(float64(float64(1.5*x)-2.5)*x)*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * -0.5
	}
	return 0
}

// precisionBits is the scale of fixed-point weights: 32 bits less 8 of the sample and 2 of overshoot.
const precisionBits = 22

// span is one output sample: its weights apply to source samples first, first+1, ..., first+n-1.
type span struct {
	first, n, off int32 // off is where its weights begin
}

// table holds the weights of output samples lo, lo+1, ... of one axis.
type table struct {
	spans []span
	fixed []int32   // scaled by 1<<precisionBits, for 8-bit samples
	exact []float64 // for 16-bit samples; nil in a table for 8-bit ones

	// The weights of fixed, split and paired as the assembly reads them (see gen).
	packed [][2]int32 // of each span: its first sample, its groups of four taps
	words  []int32    // four for each group, span after span
}

// splitBits is how many bits of a weight its lower half has.
const splitBits = 11

// pack fills packed and words.
func (t *table) pack() {
	t.packed = make([][2]int32, len(t.spans))
	for i, s := range t.spans {
		k := t.fixed[s.off:][:s.n]
		t.packed[i] = [2]int32{s.first, int32(len(k)+3) / 4}
		for range t.packed[i][1] {
			var four [4]int32
			k = k[copy(four[:], k):]
			t.words = append(t.words, lowPair(four[0], four[1]), highPair(four[0], four[1]),
				lowPair(four[2], four[3]), highPair(four[2], four[3]))
		}
	}
}

func lowPair(a, b int32) int32 {
	const mask = 1<<splitBits - 1
	return a&mask | b&mask<<16
}

func highPair(a, b int32) int32 { return a>>splitBits&0xffff | b>>splitBits<<16 }

// reads is the range of source samples that the table reads: from first to before last.
func (t *table) reads() (first, last int) {
	end := t.spans[len(t.spans)-1]
	return int(t.spans[0].first), int(end.first + end.n)
}

func (t *table) bytes() int {
	return 12*len(t.spans) + 4*len(t.fixed) + 8*len(t.exact) + 8*len(t.packed) + 4*len(t.words)
}

// axis identifies a table.
type axis struct {
	in, out int // samples of the whole axis
	lo, n   int // the part of the output that is wanted
	filter  Filter
	wide    bool // 16-bit samples
}

// weights computes an axis' table.
//
//	scale   = in/out, fs = max(scale, 1), support = fs * the filter's support
//	centre  = (i+0.5)*scale
//	first   = trunc(centre-support+0.5), at least 0
//	last    = trunc(centre+support+0.5), at most in
//	w(j)    = filter((j-centre+0.5)/fs), divided by the sum of all
func (a axis) weights() *table {
	scale := float64(a.in) / float64(a.out)
	fs := max(scale, 1)
	support := fs * a.filter.support()
	inv := 1 / fs
	t := &table{spans: make([]span, a.n)}
	var w []float64
	for i := range a.n {
		centre := float64((float64(a.lo+i) + 0.5) * scale)
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), a.in)
		w = w[:0]
		sum := 0.0
		for j := first; j < last; j++ {
			v := a.filter.at(float64((float64(j) - centre + 0.5) * inv))
			w = append(w, v)
			sum += v
		}
		t.spans[i] = span{int32(first), int32(last - first), int32(len(t.fixed) + len(t.exact))}
		t.add(w, sum, a.wide)
	}
	if !a.wide {
		t.pack()
	}
	return t
}

// add appends one span's weights, w/sum.
func (t *table) add(w []float64, sum float64, wide bool) {
	for _, v := range w {
		if sum != 0 {
			v /= sum
		}
		if wide {
			t.exact = append(t.exact, v)
			continue
		}
		t.fixed = append(t.fixed, toFixed(v))
	}
}

// toFixed rounds half away from zero.
func toFixed(v float64) int32 {
	s := float64(v * (1 << precisionBits))
	if v < 0 {
		return int32(s - 0.5)
	}
	return int32(s + 0.5)
}
