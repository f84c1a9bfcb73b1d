// Package jpeg decodes JPEG to the pixels that Pillow, that is libjpeg-turbo in its default settings, gives:
// the integer inverse DCT ("islow"), triangle ("fancy") chroma upsampling and libjpeg's fixed-point colour
// conversion. There are two decoders with one result: libjpeg-turbo itself where it can be loaded, and one
// in Go for everything else; Codec picks.
//
// Read are baseline, extended sequential and progressive files with Huffman coding and 8 bits a sample, of
// one, three or four components. Arithmetic coding, lossless, hierarchical and 12-bit files are
// fault.UnsupportedMedia. A file that ends early is fault.Invalid, as in Pillow. So is one whose image data
// stops at a marker too early, or misses its restart markers: there Pillow fills up with grey, and the
// embedding of such an image would look like any other. All else passes as in Pillow, and with its pixels:
// bits that mean nothing, bytes between segments or after the end, unknown segments, odd progressions.
package jpeg

import (
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Config is what a file's header declares.
type Config struct {
	Width, Height int
	Components    int  // 1, 3 or 4
	Progressive   bool // needs all scans before the first pixel
	Mode          raster.Mode
	// MemoryBytes is the most that decoding allocates: pixels, sample strips, and the coefficients of a
	// file with several scans.
	MemoryBytes int64
}

// parsers are used again because of their 40 KB of Huffman tables, which stay built for files that share them.
var parsers = sync.Pool{New: func() any { return new(parser) }}

// ReadConfig parses the segments before the first scan. It allocates nothing that depends on the
// declared size.
func ReadConfig(data []byte) (Config, error) {
	p := parsers.Get().(*parser)
	defer func() {
		p.data = nil
		parsers.Put(p)
	}()
	if err := p.readHeader(data); err != nil {
		return Config{}, err
	}
	return p.config(), nil
}

// config is the header as the package's callers see it.
func (p *parser) config() Config {
	return Config{
		Width: p.width, Height: p.height, Components: p.ncomp,
		Progressive: p.progressive, Mode: p.mode(), MemoryBytes: p.memoryBytes(),
	}
}

// memoryBytes adds up what Decoder.prepare and raster.Image.Reset allocate.
func (p *parser) memoryBytes() int64 {
	n := int64(p.width) * int64(p.height) * int64(p.mode().Channels())
	for i := range p.ncomp {
		c := &p.comps[i]
		n += int64(c.stripLen()) + int64(c.lineLen(p.width))
		if p.multiScan() {
			n += 2 * int64(c.coefLen())
		}
	}
	return n
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "JPEG: "+format, args...)
}

func unsupported(format string, args ...any) error {
	return fault.New(fault.UnsupportedMedia, "JPEG: "+format, args...)
}
