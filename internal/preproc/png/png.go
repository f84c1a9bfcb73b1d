// Package png decodes PNG files into the modes and values that Pillow gives (13.0.0): palettes stay
// palettes, 16-bit grey stays 16 bits, other 16-bit samples keep their high byte, grey of fewer than 8
// bits is spread over the range, bilevel stays bilevel. Of an animated file it is the default image.
package png

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

const signature = "\x89PNG\r\n\x1a\n"

// Config is what a file's header says.
type Config struct {
	Width, Height int
	Mode          raster.Mode
	Frames        int   // of an animated file, else 1
	MemoryBytes   int64 // what decoding needs, the pixels included

	depth, colour byte
	interlaced    bool
}

// Colour types of IHDR.
const (
	grey      = 0
	trueColor = 2
	indexed   = 3
	greyAlpha = 4
	trueAlpha = 6
)

var errTruncated = errors.New("truncated")

// chunk is one chunk's type and content.
type chunk struct {
	kind string
	data []byte
	crc  uint32
}

// next splits the first chunk off b.
func next(b []byte) (c chunk, rest []byte, err error) {
	if len(b) < 12 {
		return c, nil, errTruncated
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if uint64(len(b)) < n+12 {
		return c, nil, errTruncated
	}
	return chunk{kindOf(b[4:8]), b[8 : 8+n], binary.BigEndian.Uint32(b[8+n:])}, b[12+n:], nil
}

// kindOf interns the names that matter, so that reading chunks allocates nothing.
func kindOf(b []byte) string {
	for _, k := range [...]string{"IDAT", "IHDR", "PLTE", "tRNS", "IEND", "acTL"} {
		if string(b) == k {
			return k
		}
	}
	if b[0]&0x20 == 0 {
		return "critical"
	}
	return "ancillary"
}

// check verifies the checksum of a chunk that decoding depends on; IDAT has zlib's own.
func (c chunk) check() error {
	if crc32.Update(crc32.ChecksumIEEE([]byte(c.kind)), crc32.IEEETable, c.data) != c.crc {
		return fmt.Errorf("wrong checksum of %s", c.kind)
	}
	return nil
}

// ReadConfig reads a file's header, up to its first pixels.
func ReadConfig(data []byte) (Config, error) {
	if len(data) < len(signature) || string(data[:len(signature)]) != signature {
		return Config{}, errors.New("not a PNG file")
	}
	c, rest, err := next(data[len(signature):])
	if err != nil {
		return Config{}, err
	}
	if c.kind != "IHDR" || len(c.data) != 13 {
		return Config{}, errors.New("no IHDR chunk")
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	cfg, err := parseHeader(c.data)
	if err == nil {
		cfg.Frames = frames(rest)
	}
	return cfg, err
}

func parseHeader(b []byte) (Config, error) {
	cfg := Config{
		Width: int(binary.BigEndian.Uint32(b)), Height: int(binary.BigEndian.Uint32(b[4:])),
		depth: b[8], colour: b[9], interlaced: b[12] != 0,
	}
	cfg.Mode = modeOf(cfg.depth, cfg.colour)
	switch {
	case cfg.Width <= 0 || cfg.Height <= 0 || cfg.Width > 1<<31-1 || cfg.Height > 1<<31-1:
		return cfg, fmt.Errorf("impossible size %dx%d", cfg.Width, cfg.Height)
	case cfg.Mode == "":
		return cfg, fmt.Errorf("no such format: %d bits of colour type %d", cfg.depth, cfg.colour)
	case b[10] != 0 || b[11] != 0 || b[12] > 1:
		return cfg, errors.New("unknown compression, filter or interlace method")
	}
	const inflate = 64 << 10
	cfg.MemoryBytes = int64(cfg.Width)*int64(cfg.Height)*int64(cfg.Mode.Channels()) +
		2*int64(cfg.rowBytes(cfg.Width)+16) + 4*int64(cfg.Width) + inflate
	return cfg, nil
}

// modeOf is Pillow's mode for a bit depth and colour type, empty if PNG has no such pair.
func modeOf(depth, colour byte) raster.Mode {
	type format struct{ depth, colour byte }
	switch (format{depth, colour}) {
	case format{1, grey}:
		return raster.Bit
	case format{2, grey}, format{4, grey}, format{8, grey}:
		return raster.L
	case format{16, grey}:
		return raster.I16
	case format{8, trueColor}, format{16, trueColor}:
		return raster.RGB
	case format{1, indexed}, format{2, indexed}, format{4, indexed}, format{8, indexed}:
		return raster.P
	case format{8, greyAlpha}:
		return raster.LA
	case format{16, greyAlpha}, format{8, trueAlpha}, format{16, trueAlpha}:
		return raster.RGBA
	}
	return ""
}

// samples is the number of samples of one pixel in the file.
func (c Config) samples() int {
	switch c.colour {
	case trueColor:
		return 3
	case greyAlpha:
		return 2
	case trueAlpha:
		return 4
	}
	return 1
}

// rowBytes is the size of a row of width pixels in the file, without its filter byte.
func (c Config) rowBytes(width int) int {
	return (width*c.samples()*int(c.depth) + 7) / 8
}

// pixelBytes is the distance to the pixel on the left that filters use, at least 1.
func (c Config) pixelBytes() int { return max(c.samples()*int(c.depth)/8, 1) }

// frames is the number of frames that acTL announces before the first IDAT.
func frames(b []byte) int {
	for {
		c, rest, err := next(b)
		if err != nil || c.kind == "IDAT" {
			return 1
		}
		if c.kind == "acTL" && len(c.data) >= 8 {
			return int(max(binary.BigEndian.Uint32(c.data), 1))
		}
		b = rest
	}
}
