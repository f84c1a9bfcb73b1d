package resize

import "github.com/vitrine-project/vitrine/internal/preproc/raster"

// premultiply multiplies colours by their alpha, rounded: t = colour*alpha + 128, (t + t>>8) >> 8.
func premultiply(im *raster.Image) {
	c := im.Mode.Channels()
	for p := im.Pix; len(p) >= c; p = p[c:] {
		a := uint32(p[c-1])
		if a == 255 {
			continue
		}
		for i := range p[:c-1] {
			t := uint32(p[i])*a + 128
			p[i] = byte((t + t>>8) >> 8)
		}
	}
}

// unmultiply divides colours by their alpha, truncated and clipped; colours under alpha 0 stay.
func unmultiply(im *raster.Image) {
	c := im.Mode.Channels()
	for p := im.Pix; len(p) >= c; p = p[c:] {
		a := uint32(p[c-1])
		if a == 255 || a == 0 {
			continue
		}
		for i := range p[:c-1] {
			p[i] = byte(min(255*uint32(p[i])/a, 255))
		}
	}
}
