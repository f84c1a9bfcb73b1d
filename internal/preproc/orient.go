package preproc

import "github.com/vitrine-project/vitrine/internal/preproc/raster"

// turned tells whether an EXIF orientation swaps width and height.
func turned(orientation int) bool { return orientation >= 5 }

// upright writes src to dst as its EXIF orientation (2 to 8) says that it should be seen.
func upright(dst, src *raster.Image, orientation int) {
	w, h := src.Width, src.Height
	if turned(orientation) {
		w, h = h, w
	}
	dst.Reset(src.Mode, w, h)
	dst.Palette, dst.PaletteAlpha, dst.Transparent = src.Palette, src.PaletteAlpha, src.Transparent
	c := src.Mode.Channels()
	start, right, down := walk(src.Width, src.Height, orientation)
	for y := range h {
		at := start + y*down
		row := dst.Pix[y*w*c:][:w*c]
		for ; len(row) > 0; row = row[c:] {
			copy(row[:c], src.Pix[at*c:at*c+c])
			at += right
		}
	}
}

// walk is how to read a w x h image in the order of the upright one: the first pixel, and the steps,
// in pixels, to the next one of a row and to the next row.
func walk(w, h, orientation int) (start, right, down int) {
	last := w*h - 1
	switch orientation {
	case 2: // mirrored
		return w - 1, -1, w
	case 3: // upside down
		return last, -1, -w
	case 4: // mirrored upside down
		return last - (w - 1), 1, -w
	case 5: // transposed
		return 0, w, 1
	case 6: // to be turned clockwise
		return last - (w - 1), -w, 1
	case 7: // transposed over the other diagonal
		return last, -w, -1
	case 8: // to be turned anticlockwise
		return w - 1, w, -1
	}
	return 0, 1, w
}
