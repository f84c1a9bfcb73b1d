package resize

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// carryOut is what the comments of Steps, Taps and Pack promise, taken literally.
func carryOut(s Steps, src *raster.Image) []byte {
	c := src.Mode.Channels()
	if s.VerticalFirst {
		mid := along(s.Vertical, src.Pix, src.Width*c, c, src.Width, src.Width*c)
		return along(s.Horizontal, mid, c, src.Width*c, s.Vertical.Len(), c)
	}
	mid := along(s.Horizontal, src.Pix, c, src.Width*c, src.Height, c)
	return along(s.Vertical, mid, s.Horizontal.Len()*c, c, s.Horizontal.Len(), s.Horizontal.Len()*c)
}

// along scales lines along one axis: sample j of line l begins at j*step + l*across. stepOut is the output's step: a
// pixel for the horizontal axis, a row of the output for the vertical one.
func along(t Taps, src []byte, step, across, lines, stepOut int) []byte {
	c := min(step, across)
	packed := make([]int32, t.Words())
	t.Pack(packed)
	acrossOut := c
	if stepOut == c {
		acrossOut = t.Len() * c
	}
	dst := make([]byte, t.Len()*lines*c)
	for i := range t.Len() {
		first, n, at := packed[3*i], packed[3*i+1], packed[3*i+2]
		for l := range lines {
			for ch := range c {
				sum := int32(1) << (PrecisionBits - 1)
				for j, w := range packed[at : at+n] {
					sum += int32(src[(int(first)+j)*step+l*across+ch]) * w
				}
				dst[i*stepOut+l*acrossOut+ch] = byte(min(max(sum>>PrecisionBits, 0), 255))
			}
		}
	}
	return dst
}

// TestSteps: carried out elsewhere they give Into's pixels, in both orders and where a side keeps its size.
func TestSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	orders := map[bool]int{}
	check := func(mode raster.Mode, w, h, width, height int, r Rect, f Filter) {
		src := synthetic(mode, w, h)
		var want raster.Image
		Into(&want, src, width, height, r, f, new(Scratch))
		s := StepsFor(w, h, width, height, r, f)
		orders[s.VerticalFirst]++
		if got := carryOut(s, src); !bytes.Equal(got, want.Pix) {
			t.Errorf("%s %dx%d to %dx%d, part %v, %v: pixels differ", mode, w, h, width, height, r, f)
		}
	}
	for i := range 200 {
		w, h, width, height := 2+rng.IntN(90), 2+rng.IntN(90), 2+rng.IntN(80), 2+rng.IntN(80)
		switch i % 8 {
		case 0:
			width = w
		case 1:
			height = h
		case 2:
			width, height = w, h
		}
		x, y := rng.IntN(width), rng.IntN(height)
		r := Rect{x, y, 1 + rng.IntN(width-x), 1 + rng.IntN(height-y)}
		check([]raster.Mode{raster.RGB, raster.L}[i%2], w, h, width, height, r, Filter(i/2%2))
	}
	if orders[true] < 20 || orders[false] < 20 {
		t.Errorf("orders of the passes: %v", orders)
	}
}

// TestTaps: Span, Reads and Len tell what Pack packs.
func TestTaps(t *testing.T) {
	s := StepsFor(640, 480, 298, 224, Rect{37, 0, 224, 224}, Bicubic)
	if s.Horizontal.Len() != 224 || s.Vertical.Len() != 224 {
		t.Fatalf("%d x %d samples", s.Horizontal.Len(), s.Vertical.Len())
	}
	packed := make([]int32, s.Horizontal.Words())
	s.Horizontal.Pack(packed)
	low, high := s.Horizontal.Reads()
	for i := range 224 {
		first, weights := s.Horizontal.Span(i)
		if got := fmt.Sprint(packed[packed[3*i+2]:][:packed[3*i+1]]); int(packed[3*i]) != first || got != fmt.Sprint(weights) {
			t.Fatalf("sample %d: %d %s, want %d %v", i, packed[3*i], got, first, weights)
		}
		if first < low || first+len(weights) > high {
			t.Errorf("sample %d reads %d to %d, not within %d to %d", i, first, first+len(weights), low, high)
		}
	}
	if again := StepsFor(640, 480, 298, 224, Rect{37, 0, 224, 224}, Bicubic); again != s {
		t.Error("the same steps are not equal")
	}
}
