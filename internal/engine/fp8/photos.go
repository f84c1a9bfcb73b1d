package fp8

import (
	_ "embed"
)

// photos.rgb holds small photographs, one after the other, thumb x thumb pixels of RGB. testdata/photos.py
// makes it.
//
//go:embed photos.rgb
var photos []byte

const thumb = 64

// Photos are a few photographs for a check, each the pixels of a FormatUint8HWC row of the given size. They are
// enlarged bilinearly, so they have no detail finer than a few pixels.
func Photos(size int) (images [][]byte) {
	const bytes = 3 * thumb * thumb
	for at := 0; at+bytes <= len(photos); at += bytes {
		images = append(images, enlarge(photos[at:at+bytes], size))
	}
	return images
}

// enlarge resizes a thumb to size x size pixels, bilinearly between the centres of pixels.
func enlarge(src []byte, size int) []byte {
	dst := make([]byte, 0, 3*size*size)
	for y := range size {
		y0, y1, fy := between(y, size)
		for x := range size {
			x0, x1, fx := between(x, size)
			for c := range 3 {
				at := func(y, x int) float64 { return float64(src[(y*thumb+x)*3+c]) }
				top := at(y0, x0)*(1-fx) + at(y0, x1)*fx
				bottom := at(y1, x0)*(1-fx) + at(y1, x1)*fx
				dst = append(dst, byte(top*(1-fy)+bottom*fy+0.5))
			}
		}
	}
	return dst
}

// between are the pixels of a thumb around pixel i of size, and how far it is from the first to the second.
func between(i, size int) (lo, hi int, fraction float64) {
	at := max(0, (float64(i)+0.5)*thumb/float64(size)-0.5)
	lo = int(at)
	return lo, min(lo+1, thumb-1), at - float64(lo)
}
