// Package webp decodes WebP files to libwebp's pixels, as Pillow shows them (13.0.0, libwebp 1.6): the
// bit streams are read by golang.org/x/image, colours are converted as libwebp converts them. Of an
// animation it is the first frame on its canvas.
package webp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Config is what a file's headers say.
type Config struct {
	Width, Height int         // canvas
	Mode          raster.Mode // RGB or RGBA
	Frames        int
	MemoryBytes   int64

	frame frame
}

// frame is one bit stream and where it lies on the canvas.
type frame struct {
	x, y, w, h int
	lossless   bool
	opaque     bool   // lossless: the stream says that it has no alpha
	stream     []byte // VP8 or VP8L
	alpha      []byte // content of ALPH, may be nil
}

var errTruncated = errors.New("truncated")

// chunk splits the first chunk off b. Chunks are padded to an even size; the last padding may be missing.
func chunk(b []byte) (kind string, data, rest []byte, err error) {
	if len(b) < 8 {
		return "", nil, nil, errTruncated
	}
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	if uint64(len(b)) < n+8 {
		return "", nil, nil, errTruncated
	}
	return kindOf(b[:4]), b[8 : 8+n], b[min(8+n+n&1, uint64(len(b))):], nil
}

// kindOf interns the names that matter.
func kindOf(b []byte) string {
	for _, k := range [...]string{"VP8 ", "VP8L", "VP8X", "ALPH", "ANMF"} {
		if string(b) == k {
			return k
		}
	}
	return ""
}

// ReadConfig reads a file's headers.
func ReadConfig(data []byte) (Config, error) {
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WEBP" {
		return Config{}, errors.New("not a WebP file")
	}
	size := uint64(binary.LittleEndian.Uint32(data[4:])) + 8
	if size < 12 || uint64(len(data)) < size {
		return Config{}, errTruncated
	}
	c, err := parse(data[12:size])
	if err != nil {
		return Config{}, err
	}
	f := c.frame
	if f.x+f.w > c.Width || f.y+f.h > c.Height {
		return Config{}, errors.New("the frame does not fit on the canvas")
	}
	c.MemoryBytes = c.memory()
	return c, nil
}

func parse(b []byte) (Config, error) {
	kind, data, rest, err := chunk(b)
	if err != nil {
		return Config{}, err
	}
	if kind == "VP8X" {
		return extended(data, rest)
	}
	c := Config{Frames: 1, Mode: raster.RGB}
	if err := c.frame.take(b); err != nil {
		return c, err
	}
	c.Width, c.Height = c.frame.w, c.frame.h
	if c.frame.lossless && !c.frame.opaque {
		c.Mode = raster.RGBA
	}
	return c, nil
}

const (
	flagAnimation = 1 << 1
	flagAlpha     = 1 << 4
)

// extended reads a file with a VP8X header.
func extended(head, b []byte) (Config, error) {
	if len(head) < 10 {
		return Config{}, errTruncated
	}
	c := Config{Frames: 1, Mode: raster.RGB, Width: 1 + int(u24(head[4:])), Height: 1 + int(u24(head[7:]))}
	alpha := head[0]&flagAlpha != 0
	if head[0]&flagAnimation != 0 {
		if err := c.animation(b); err != nil {
			return c, err
		}
	} else {
		if err := c.frame.take(b); err != nil {
			return c, err
		}
		if c.frame.w != c.Width || c.frame.h != c.Height {
			return c, errors.New("the image is not of its canvas' size")
		}
		alpha = alpha || c.frame.alpha != nil
		if c.frame.lossless {
			alpha = !c.frame.opaque
		}
	}
	if alpha {
		c.Mode = raster.RGBA
	}
	return c, nil
}

// animation reads the first frame and counts them all.
func (c *Config) animation(b []byte) error {
	c.Frames = 0
	for len(b) >= 8 {
		kind, data, rest, err := chunk(b)
		if err != nil {
			break
		}
		if kind == "ANMF" {
			if c.Frames == 0 {
				if err := c.firstFrame(data); err != nil {
					return err
				}
			}
			c.Frames++
		}
		b = rest
	}
	if c.Frames == 0 {
		return errors.New("an animation without frames")
	}
	return nil
}

func (c *Config) firstFrame(b []byte) error {
	const header = 16
	if len(b) < header {
		return errTruncated
	}
	if err := c.frame.take(b[header:]); err != nil {
		return err
	}
	if c.frame.w != 1+int(u24(b[6:])) || c.frame.h != 1+int(u24(b[9:])) {
		return errors.New("a frame is not of the size that it states")
	}
	c.frame.x, c.frame.y = 2*int(u24(b)), 2*int(u24(b[3:]))
	return nil
}

func u24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

// take finds the bit stream and its alpha in a sequence of chunks.
func (f *frame) take(b []byte) error {
	for {
		kind, data, rest, err := chunk(b)
		if err != nil {
			return err
		}
		switch kind {
		case "ALPH":
			f.alpha = data
		case "VP8 ":
			f.stream = data
			return f.lossySize()
		case "VP8L":
			f.stream, f.lossless, f.alpha = data, true, nil
			return f.losslessSize()
		}
		b = rest
	}
}

func (f *frame) lossySize() error {
	b := f.stream
	if len(b) < 10 {
		return errTruncated
	}
	if b[0]&1 != 0 || string(b[3:6]) != "\x9d\x01\x2a" {
		return errors.New("a VP8 stream that does not begin with a key frame")
	}
	f.w = int(binary.LittleEndian.Uint16(b[6:]) & 0x3fff)
	f.h = int(binary.LittleEndian.Uint16(b[8:]) & 0x3fff)
	return f.check()
}

func (f *frame) losslessSize() error {
	b := f.stream
	if len(b) < 5 {
		return errTruncated
	}
	v := binary.LittleEndian.Uint32(b[1:])
	if b[0] != 0x2f || v>>29 != 0 {
		return errors.New("not a VP8L stream")
	}
	f.w, f.h = int(v&0x3fff)+1, int(v>>14&0x3fff)+1
	f.opaque = v>>28&1 == 0
	return nil
}

func (f *frame) check() error {
	if f.w == 0 || f.h == 0 {
		return fmt.Errorf("impossible size %dx%d", f.w, f.h)
	}
	return nil
}

// memory is what decoding needs: the canvas, and the decoder's own image (4:2:0 planes in whole
// macroblocks, or 4 bytes a pixel twice, for it decodes in place but grows its buffer), alpha likewise.
func (c Config) memory() int64 {
	n := int64(c.Width) * int64(c.Height) * int64(c.Mode.Channels())
	f := c.frame
	pixels := int64(f.w) * int64(f.h)
	if f.lossless {
		return n + 8*pixels
	}
	n += int64(f.w+16) * int64(f.h+16) * 3 / 2
	if c.Mode == raster.RGBA && f.alpha != nil {
		n += 9 * pixels
	}
	return n
}
