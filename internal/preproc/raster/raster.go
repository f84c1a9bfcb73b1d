// Package raster holds a decoded image as Pillow would: a mode and its pixels. It imports nothing.
package raster

// Mode is how pixels are stored, named as Pillow names it.
type Mode string

const (
	L    Mode = "L"    // 8-bit grey, 1 byte a pixel
	LA   Mode = "LA"   // 8-bit grey and alpha, 2 bytes a pixel
	P    Mode = "P"    // palette index, 1 byte a pixel
	PA   Mode = "PA"   // palette index and alpha, 2 bytes a pixel
	RGB  Mode = "RGB"  // 3 bytes a pixel
	RGBA Mode = "RGBA" // 4 bytes a pixel, alpha not premultiplied
	CMYK Mode = "CMYK" // 4 bytes a pixel, 255 is full ink (Adobe's inversion undone, as Pillow does)
	I16  Mode = "I;16" // 16-bit grey, 2 bytes a pixel, little-endian
	Bit  Mode = "1"    // bilevel, stored as 1 byte a pixel, 0 or 255
)

// Channels is the number of bytes of one pixel.
func (m Mode) Channels() int {
	switch m {
	case L, P, Bit:
		return 1
	case LA, PA, I16:
		return 2
	case RGB:
		return 3
	case RGBA, CMYK:
		return 4
	}
	return 0
}

// Image is Width x Height pixels, rows tightly packed: len(Pix) == Width*Height*Mode.Channels().
type Image struct {
	Mode          Mode
	Width, Height int
	Pix           []byte
	Palette       []byte // P, PA: RGB triples
	PaletteAlpha  []byte // P: alpha of each palette entry (PNG's tRNS), may be shorter than the palette
	Transparent   int    // P, L: the one transparent index or grey, -1 if none
}

// Reset sizes the image, keeping Pix's memory where it is large enough. The pixels are undefined.
func (im *Image) Reset(mode Mode, width, height int) {
	n := width * height * mode.Channels()
	if cap(im.Pix) < n {
		im.Pix = make([]byte, n)
	}
	*im = Image{Mode: mode, Width: width, Height: height, Pix: im.Pix[:n], Transparent: -1}
}
