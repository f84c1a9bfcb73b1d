package preproc

import "github.com/vitrine-project/vitrine/internal/preproc/raster"

// toRGB converts pixels as Pillow's convert("RGB") does and writes three bytes a pixel to dst. Alpha
// is dropped, never blended; 16-bit grey is cut off at 255, not scaled.
func toRGB(dst []byte, im *raster.Image) {
	switch im.Mode {
	case raster.RGB:
		copy(dst, im.Pix)
	case raster.L, raster.Bit:
		spread(dst, im.Pix, 1)
	case raster.LA:
		spread(dst, im.Pix, 2)
	case raster.RGBA:
		dropAlpha(dst, im.Pix)
	case raster.CMYK:
		cmyk(dst, im.Pix)
	case raster.I16:
		clipWide(dst, im.Pix)
	case raster.P:
		lookUp(dst, im.Pix, im.Palette, 1)
	case raster.PA:
		lookUp(dst, im.Pix, im.Palette, 2)
	}
}

// spread repeats the first of every step bytes three times.
func spread(dst, src []byte, step int) {
	for i := 0; i < len(src) && len(dst) >= 3; i += step {
		dst[0], dst[1], dst[2] = src[i], src[i], src[i]
		dst = dst[3:]
	}
}

func dropAlpha(dst, src []byte) {
	for ; len(src) >= 4 && len(dst) >= 3; dst, src = dst[3:], src[4:] {
		dst[0], dst[1], dst[2] = src[0], src[1], src[2]
	}
}

// cmyk is n - round(ink*n/255) with n = 255 - black.
func cmyk(dst, src []byte) {
	for ; len(src) >= 4 && len(dst) >= 3; dst, src = dst[3:], src[4:] {
		n := 255 - uint32(src[3])
		for i := range 3 {
			t := uint32(src[i])*n + 128
			dst[i] = byte(n - (t+t>>8)>>8)
		}
	}
}

func clipWide(dst, src []byte) {
	for ; len(src) >= 2 && len(dst) >= 3; dst, src = dst[3:], src[2:] {
		v := src[0]
		if src[1] != 0 {
			v = 255
		}
		dst[0], dst[1], dst[2] = v, v, v
	}
}

// lookUp maps the first of every step bytes through a palette; an index beyond it is black.
func lookUp(dst, src, palette []byte, step int) {
	var full [768]byte
	copy(full[:], palette)
	for i := 0; i < len(src) && len(dst) >= 3; i += step {
		at := 3 * int(src[i])
		dst[0], dst[1], dst[2] = full[at], full[at+1], full[at+2]
		dst = dst[3:]
	}
}
