// Package gif decodes the first frame of a GIF file as Pillow shows it (13.0.0): palette indices on
// the whole canvas, or grey where the palette is nothing but the grey ramp.
package gif

import (
	"encoding/binary"
	"errors"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Config is what a file's header and its first frame's header say.
type Config struct {
	Width, Height int         // canvas, enlarged where the first frame does not fit
	Mode          raster.Mode // P, or L where the palette is the grey ramp or there is none
	MemoryBytes   int64

	frame       frame
	palette     []byte // RGB triples; nil in mode L
	transparent int    // index, -1 if none
	data        []byte // the file from the frame's code size on
}

// frame is where the first frame lies on the canvas.
type frame struct {
	x, y, w, h int
	interlaced bool
}

var (
	errTruncated = errors.New("truncated")
	errNoFrame   = errors.New("no image in the file")
)

// ReadConfig reads up to the first frame's pixels.
func ReadConfig(data []byte) (Config, error) {
	if len(data) < 13 || string(data[:4]) != "GIF8" {
		return Config{}, errTruncated
	}
	c := Config{
		Width:       int(binary.LittleEndian.Uint16(data[6:])),
		Height:      int(binary.LittleEndian.Uint16(data[8:])),
		transparent: -1,
	}
	rest, err := c.table(data[10], data[13:])
	if err != nil {
		return Config{}, err
	}
	if err := c.blocks(rest); err != nil {
		return Config{}, err
	}
	c.Mode = raster.L
	if c.palette != nil {
		c.Mode = raster.P
	}
	c.MemoryBytes = int64(c.Width)*int64(c.Height) + lzwBytes
	return c, nil
}

// table reads a colour table where flags say that there is one.
func (c *Config) table(flags byte, b []byte) (rest []byte, err error) {
	if flags&0x80 == 0 {
		return b, nil
	}
	n := 3 << (flags&7 + 1)
	if len(b) < n {
		return nil, errTruncated
	}
	c.palette = nil
	if !isRamp(b[:n]) {
		c.palette = b[:n]
	}
	return b[n:], nil
}

// isRamp tells whether entry i is the grey i, for all entries.
func isRamp(p []byte) bool {
	for i := 0; i+2 < len(p); i += 3 {
		v := byte(i / 3)
		if p[i] != v || p[i+1] != v || p[i+2] != v {
			return false
		}
	}
	return true
}

// blocks walks to the first image, past extensions and past stray bytes.
func (c *Config) blocks(b []byte) error {
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		switch kind {
		case ';':
			return errNoFrame
		case '!':
			if len(b) == 0 {
				return errTruncated
			}
			if b[0] == 0xf9 && len(b) >= 6 && b[1] >= 4 {
				c.control(b[2:6])
			}
			b = skip(b[1:])
		case ',':
			return c.image(b)
		}
	}
	return errNoFrame
}

// control reads the transparent index from a graphic control extension.
func (c *Config) control(b []byte) {
	if b[0]&1 != 0 {
		c.transparent = int(b[3])
	}
}

// image reads an image descriptor.
func (c *Config) image(b []byte) error {
	if len(b) < 10 {
		return errTruncated
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
	c.frame = frame{u16(0), u16(2), u16(4), u16(6), b[8]&0x40 != 0}
	if c.frame.w == 0 || c.frame.h == 0 {
		return errors.New("empty frame")
	}
	c.Width = max(c.Width, c.frame.x+c.frame.w)
	c.Height = max(c.Height, c.frame.y+c.frame.h)
	rest, err := c.table(b[8], b[9:])
	c.data = rest
	return err
}

// skip passes over sub-blocks up to the empty one that ends them.
func skip(b []byte) []byte {
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n {
			return nil
		}
		b = b[1+n:]
		if n == 0 {
			break
		}
	}
	return b
}

// Frames counts the frames of a file, up to limit+1. It reads block headers only.
func Frames(data []byte, limit int) int {
	c, err := ReadConfig(data)
	if err != nil {
		return 0
	}
	b, n := c.data, 0
	for n <= limit && len(b) > 0 {
		n++
		b = nextImage(skip(b[1:]))
	}
	return n
}

// nextImage is the data after the next image's descriptor and colour table, nil if there is none.
func nextImage(b []byte) []byte {
	var c Config
	if c.blocks(b) != nil {
		return nil
	}
	return c.data
}

// Decode decodes the first frame into dst. Width and height must have been checked against a limit
// before, by ReadConfig.
func Decode(data []byte, dst *raster.Image) error {
	c, err := ReadConfig(data)
	if err != nil {
		return err
	}
	dst.Reset(c.Mode, c.Width, c.Height)
	dst.Palette, dst.Transparent = c.palette, c.transparent
	if (c.frame != frame{0, 0, c.Width, c.Height, c.frame.interlaced}) {
		fill(dst.Pix, byte(max(c.transparent, 0)))
	}
	return decompress(c.data, &canvas{dst: dst, frame: c.frame, step: 8})
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// canvas takes a frame's pixels in the order of the file.
type canvas struct {
	dst   *raster.Image
	frame frame
	x, y  int // of the next pixel, within the frame
	step  int // rows to the next one, of an interlaced frame
	pass  int
}

// write takes pixels and reports whether the frame is full; pixels too many are dropped.
func (c *canvas) write(p []byte) (full bool) {
	for len(p) > 0 {
		if c.y >= c.frame.h {
			return true
		}
		at := (c.frame.y+c.y)*c.dst.Width + c.frame.x
		n := copy(c.dst.Pix[at+c.x:at+c.frame.w], p)
		p = p[n:]
		c.x += n
		if c.x == c.frame.w {
			c.x = 0
			c.nextRow()
		}
	}
	return c.y >= c.frame.h
}

// nextRow advances; an interlaced frame has rows 0, 8, ..., then 4, 12, ..., then 2, 6, ..., then 1, 3, ...
func (c *canvas) nextRow() {
	if !c.frame.interlaced {
		c.y++
		return
	}
	c.y += c.step
	for c.y >= c.frame.h && c.pass < 3 {
		c.pass++
		c.y = 8 >> c.pass
		c.step = 16 >> c.pass
	}
}
