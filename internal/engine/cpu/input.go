package cpu

import (
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// imagesJob cuts images into patches. A part is one row of patches of one image.
type imagesJob struct {
	rows    []tensor.Row
	patches view // [tokens, 3*patch*patch], channel by channel as the weights are; row 0 of an image is zero
	x       view
	weights *weights
	pixels  *model.PixelTable
}

// input writes the images' patches to the wide memory, and to x what their embeddings are added to:
// the positions and the class embedding.
func (r *instance) input(rows []tensor.Row) view {
	c := &r.weights.config
	tokens, grid := len(rows)*c.Tokens(), c.ImageSize/c.PatchSize
	patches := r.hidden(tokens, 3*c.PatchSize*c.PatchSize)
	r.images = imagesJob{rows, patches, r.x.first(tokens), r.weights, &r.pixels}
	defer func() { r.images.rows = nil }()
	r.pool.Run(len(rows)*grid, r.imagesRun)
	return patches
}

func (j *imagesJob) part(part, _ int) {
	c := &j.weights.config
	grid := c.ImageSize / c.PatchSize
	image, y := part/grid, part%grid
	first := image * c.Tokens()
	if y == 0 {
		clear(j.patches.row(first, j.patches.stride))
		copy(j.x.row(first, c.Width), j.weights.positions)
	}
	token := 1 + y*grid
	copy(j.x.data[(first+token)*c.Width:][:grid*c.Width], j.weights.positions[token*c.Width:])
	row := j.rows[image]
	if row.Format() == tensor.FormatUint8HWC {
		j.bytes(row.Bytes(), y, first+token)
	} else {
		j.floats(tensor.Float32s(row.Bytes()), y, first+token)
	}
}

// bytes cuts row y of patches out of interleaved RGB, normalising it; the patches go to the rows from
// to on.
func (j *imagesJob) bytes(pixels []byte, y, to int) {
	c := &j.weights.config
	size, patch, area := c.ImageSize, c.PatchSize, c.PatchSize*c.PatchSize
	red, green, blue := &j.pixels[0], &j.pixels[1], &j.pixels[2]
	for line := range patch {
		src := pixels[(y*patch+line)*size*3:]
		for x := range size / patch {
			dst := j.patches.row(to+x, 3*area)[line*patch:]
			r, g, b := dst[:patch], dst[area:][:patch], dst[2*area:][:patch]
			rgb := src[x*patch*3:][:3*patch]
			for i := range r {
				r[i], g[i], b[i] = red[rgb[3*i]], green[rgb[3*i+1]], blue[rgb[3*i+2]]
			}
		}
	}
}

// floats is bytes for planes that are normalised already.
func (j *imagesJob) floats(planes []float32, y, to int) {
	c := &j.weights.config
	size, patch := c.ImageSize, c.PatchSize
	for channel := range 3 {
		for line := range patch {
			src := planes[(channel*size+y*patch+line)*size:]
			for x := range size / patch {
				copy(j.patches.row(to+x, j.patches.stride)[(channel*patch+line)*patch:][:patch], src[x*patch:])
			}
		}
	}
}
