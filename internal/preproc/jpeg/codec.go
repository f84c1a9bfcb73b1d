package jpeg

import (
	"fmt"
	"sync"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Backend says which decoder a Codec uses.
type Backend string

const (
	Auto    Backend = "auto"  // libjpeg-turbo if it can be loaded, else Go
	GoCodec Backend = "go"    // the decoder in Go
	TurboJP Backend = "turbo" // libjpeg-turbo; an error if it cannot be loaded
)

// Codec decodes JPEG files from any number of goroutines.
type Codec struct {
	// MaxPixels refuses larger images before anything is allocated for them; 0 means no limit. Set it
	// before the first Decode.
	MaxPixels int64

	turbo *TurboLib // nil for Go
	why   error     // why turbo is nil although it was wanted
	pool  sync.Pool // of *Decoder
}

// New makes a codec.
func New(backend Backend) (*Codec, error) {
	c := &Codec{pool: sync.Pool{New: func() any { return new(Decoder) }}}
	switch backend {
	case GoCodec:
		return c, nil
	case Auto, TurboJP, "":
		c.turbo, c.why = Turbo()
	default:
		return nil, fmt.Errorf("JPEG backend %q is none of auto, go, turbo", backend)
	}
	if c.why != nil && backend == TurboJP {
		return nil, fmt.Errorf("JPEG backend turbo: %w", c.why)
	}
	return c, nil
}

// Name is "libjpeg-turbo" or "go".
func (c *Codec) Name() string {
	if c.turbo != nil {
		return "libjpeg-turbo"
	}
	return "go"
}

// Fallback is why an Auto codec does without libjpeg-turbo; nil if it has it or was not asked to.
func (c *Codec) Fallback() error { return c.why }

// Decode writes the image into dst, reusing its memory. After an error dst's pixels are undefined.
func (c *Codec) Decode(data []byte, dst *raster.Image) error {
	d := c.pool.Get().(*Decoder)
	defer c.pool.Put(d)
	d.MaxPixels = c.MaxPixels
	if c.turbo == nil {
		return d.Decode(data, dst)
	}
	if err := d.p.readHeader(data); err != nil {
		return err
	}
	if err := checkPixels(&d.p, c.MaxPixels); err != nil {
		return err
	}
	// Whatever libjpeg-turbo refuses or warns about, the decoder in Go judges, so that a file is good or
	// bad whichever library a machine has.
	if !d.p.turboCan() {
		return d.Decode(data, dst)
	}
	dst.Reset(d.p.mode(), d.p.width, d.p.height)
	if c.turbo.decode(data, dst) == nil {
		return nil
	}
	return d.Decode(data, dst)
}

// turboCan says whether libjpeg-turbo may have the file. It may not have one that lacks Huffman tables,
// for which it takes those of whatever file the handle decoded before, nor an incomplete progressive one,
// which its versions smooth differently.
func (p *parser) turboCan() bool {
	if p.multiScan() && p.skim() != nil {
		return false
	}
	return !p.standard && p.complete()
}
