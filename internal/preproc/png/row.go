package png

import "fmt"

// unfilter undoes a row's filter in place. up is the row above; bpp is the distance in bytes to the
// pixel on the left.
func unfilter(filter byte, row, up []byte, bpp int) error {
	up = up[:len(row)]
	switch filter {
	case 0:
	case 1: // the pixel on the left
		for i := bpp; i < len(row); i++ {
			row[i] += row[i-bpp]
		}
	case 2: // the pixel above
		for i := range row {
			row[i] += up[i]
		}
	case 3: // their mean, truncated
		for i := range row[:min(bpp, len(row))] {
			row[i] += up[i] / 2
		}
		for i := bpp; i < len(row); i++ {
			row[i] += byte((int(row[i-bpp]) + int(up[i])) / 2)
		}
	case 4: // Paeth's choice
		unpaeth(row, up, bpp)
	default:
		return fmt.Errorf("unknown filter %d", filter)
	}
	return nil
}

// paeth is whichever of left a, above b and above left c is nearest to a+b-c, the first of equals.
func paeth(a, b, c int) byte {
	pa, pb := abs(b-c), abs(a-c)
	pc := abs(a + b - 2*c)
	switch {
	case pa <= pb && pa <= pc:
		return byte(a)
	case pb <= pc:
		return byte(b)
	}
	return byte(c)
}

func abs(x int) int {
	sign := x >> 63
	return x ^ sign - sign
}

// unpaeth undoes Paeth's filter. Pixels of three bytes, of which most files consist, keep their
// neighbours in registers.
func unpaeth(row, up []byte, bpp int) {
	if bpp == 3 {
		unpaeth3(row, up)
		return
	}
	for i := range row[:min(bpp, len(row))] {
		row[i] += up[i]
	}
	for i := bpp; i < len(row); i++ {
		row[i] += paeth(int(row[i-bpp]), int(up[i]), int(up[i-bpp]))
	}
}

func unpaeth3(row, up []byte) {
	var a0, a1, a2, c0, c1, c2 int
	for len(row) >= 3 && len(up) >= 3 {
		b0, b1, b2 := int(up[0]), int(up[1]), int(up[2])
		row[0] += paeth(a0, b0, c0)
		row[1] += paeth(a1, b1, c1)
		row[2] += paeth(a2, b2, c2)
		a0, a1, a2 = int(row[0]), int(row[1]), int(row[2])
		c0, c1, c2 = b0, b1, b2
		row, up = row[3:], up[3:]
	}
}

// unpack turns a file row into pixels of the image's mode, as many as dst holds.
func (c Config) unpack(dst, row []byte) {
	switch {
	case c.depth < 8 && c.colour == grey: // 0 to 255 in equal steps
		unpackBits(dst, row, c.depth, 255/byte(1<<c.depth-1))
	case c.depth < 8:
		unpackBits(dst, row, c.depth, 1)
	case c.depth == 8:
		copy(dst, row)
	case c.colour == grey: // to little-endian
		for i := 0; i+1 < len(dst); i += 2 {
			dst[i], dst[i+1] = row[i+1], row[i]
		}
	case c.colour == greyAlpha: // Pillow has no 16-bit LA and makes it RGBA
		for i := 0; i+3 < len(dst); i += 4 {
			g := row[i]
			dst[i], dst[i+1], dst[i+2], dst[i+3] = g, g, g, row[i+2]
		}
	default: // the high byte of each sample
		for i := range dst {
			dst[i] = row[2*i]
		}
	}
}

// unpackBits spreads samples of 1, 2 or 4 bits, the first in the highest bits, multiplied by scale.
func unpackBits(dst, row []byte, depth, scale byte) {
	mask := byte(1)<<depth - 1
	perByte := 8 / int(depth)
	for i := range dst {
		shift := byte(8) - depth*byte(i%perByte+1)
		dst[i] = row[i/perByte] >> shift & mask * scale
	}
}
