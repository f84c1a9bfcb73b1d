package preproc

import (
	"math"

	"github.com/vitrine-project/vitrine/internal/preproc/resize"
)

// geometry is where an image's pixels come to lie in the model's input.
type geometry struct {
	width, height int         // of the whole resized image
	part          resize.Rect // what is kept of it
	x, y          int         // where the part begins in the input; not 0 only where there is padding
}

// geometry places a width x height image, by torchvision's and open_clip's arithmetic.
func (p Plan) geometry(width, height int) geometry {
	switch p.Resize {
	case Squash:
		return geometry{width: p.Size, height: p.Size, part: resize.Rect{W: p.Size, H: p.Size}}
	case Longest:
		return p.longest(width, height)
	}
	g := geometry{width: p.Size, height: p.Size}
	if width <= height {
		g.height = longSide(p.Size, height, width)
	} else {
		g.width = longSide(p.Size, width, height)
	}
	g.part = resize.Rect{X: halfEven(g.width - p.Size), Y: halfEven(g.height - p.Size), W: p.Size, H: p.Size}
	return g
}

// longSide is int(size*long/short): Python divides integers to the nearest double, then truncates.
func longSide(size, long, short int) int {
	return int(float64(size*long) / float64(short))
}

// halfEven is Python's round(n/2) for n >= 0: halves go to the even neighbour.
func halfEven(n int) int { return int(math.RoundToEven(float64(n) / 2)) }

// longest fits the whole image into the input and centres it. A side that would round to nothing
// (Pillow fails there) keeps one pixel.
func (p Plan) longest(width, height int) geometry {
	size := float64(p.Size)
	ratio := max(float64(height)/size, float64(width)/size)
	w := max(int(math.RoundToEven(float64(width)/ratio)), 1)
	h := max(int(math.RoundToEven(float64(height)/ratio)), 1)
	g := geometry{width: w, height: h, part: resize.Rect{W: min(w, p.Size), H: min(h, p.Size)}}
	g.x, g.y = (p.Size-g.part.W)/2, (p.Size-g.part.H)/2
	return g
}
