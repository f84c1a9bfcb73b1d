package preproc

import (
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/gif"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/png"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
	"github.com/vitrine-project/vitrine/internal/preproc/webp"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Info is what was found out about an image on its way.
type Info struct {
	Format        Format
	Width, Height int // as stored in the file
	Decode        time.Duration
	Preprocess    time.Duration
}

// Options are what a pipeline is made with beside its plan.
type Options struct {
	Limits Limits
	JPEG   jpeg.Backend // empty means jpeg.Auto
}

// Pipeline carries out a plan. It is safe for concurrent use and allocates nothing per image once its
// scratch memory has grown, except in libraries: the WebP bit streams and inflate's code tables. Its errors are *fault.Error
// that name no item.
type Pipeline struct {
	plan    Plan
	limits  Limits
	jpeg    *jpeg.Codec
	norm    *norm
	scratch sync.Pool // *scratch
}

// scratch is the memory of one image under way.
type scratch struct {
	decoded, turned, resized raster.Image
	rgb                      []byte // size x size pixels
	resize                   resize.Scratch
}

// keepBytes is how much memory a scratch may hold to be used again; one that an unusually large image
// has grown is left to the garbage collector.
const keepBytes = 32 << 20

func (s *scratch) bytes() int {
	return cap(s.decoded.Pix) + cap(s.turned.Pix) + cap(s.resized.Pix) + cap(s.rgb) + s.resize.Bytes()
}

// release forgets what belongs to the request and keeps the memory.
func (p *Pipeline) release(s *scratch) {
	if s.bytes() > keepBytes {
		return
	}
	for _, im := range []*raster.Image{&s.decoded, &s.turned, &s.resized} {
		im.Palette, im.PaletteAlpha = nil, nil
	}
	p.scratch.Put(s)
}

// New checks a plan and returns a pipeline for it.
func New(plan Plan, o Options) (*Pipeline, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	j, err := jpeg.New(o.JPEG)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "JPEG decoder")
	}
	p := &Pipeline{plan: plan, limits: o.Limits.withDefaults(), jpeg: j, norm: newNorm(plan)}
	p.scratch.New = func() any { return &scratch{rgb: make([]byte, 3*plan.Size*plan.Size)} }
	return p, nil
}

// Plan is the plan that the pipeline carries out.
func (p *Pipeline) Plan() Plan { return p.plan }

// JPEG names the JPEG decoder in use.
func (p *Pipeline) JPEG() string { return p.jpeg.Name() }

// Footprint is the memory in bytes that Into needs at its peak for this image, from its headers alone.
// It fails for what Into would refuse by its headers: a format that is not read, an exceeded limit.
func (p *Pipeline) Footprint(data []byte) (int64, error) {
	h, err := p.inspect(data)
	if err != nil {
		return 0, err
	}
	return h.footprint(p.plan.Size), nil
}

// Into decodes and preprocesses an image file into row, whose content is undefined after an error.
// data is only read, and not kept.
func (p *Pipeline) Into(data []byte, row tensor.Row) (Info, error) {
	start := time.Now()
	h, err := p.inspect(data)
	info := Info{Format: h.format, Width: h.width, Height: h.height}
	if err != nil {
		return info, err
	}
	if err := p.checkRow(row); err != nil {
		return info, err
	}
	s := p.scratch.Get().(*scratch)
	defer p.release(s)
	if err := p.decode(data, h.format, &s.decoded); err != nil {
		return info, corrupt(h.format, err)
	}
	if s.decoded.Width != h.width || s.decoded.Height != h.height {
		return info, fault.New(fault.Invalid, "corrupt %s image: contradicting sizes", names[h.format])
	}
	decoded := time.Now()
	info.Decode = decoded.Sub(start)
	im := &s.decoded
	if h.orientation != 1 {
		upright(&s.turned, im, h.orientation)
		im = &s.turned
	}
	p.place(im, h.geometry, row, s)
	info.Preprocess = time.Since(decoded)
	return info, nil
}

// PixelsInto preprocesses width x height RGB pixels, three bytes each in rows from the top, into row.
// pix is only read, and not kept.
func (p *Pipeline) PixelsInto(pix []byte, width, height int, row tensor.Row) error {
	if err := p.limits.checkPixels("image", width, height); err != nil {
		return err
	}
	if len(pix) != 3*width*height {
		return fault.New(fault.Invalid, "%d bytes for %dx%d RGB pixels, want %d", len(pix), width, height, 3*width*height)
	}
	g := p.plan.geometry(width, height)
	if err := p.limits.checkPixels("image's resized copy", g.width, g.height); err != nil {
		return err
	}
	if err := p.checkRow(row); err != nil {
		return err
	}
	s := p.scratch.Get().(*scratch)
	defer p.release(s)
	p.place(&raster.Image{Mode: raster.RGB, Width: width, Height: height, Pix: pix, Transparent: -1}, g, row, s)
	return nil
}

// checkRow refuses a row that the result does not fit, which only a fault of the server can bring.
func (p *Pipeline) checkRow(row tensor.Row) error {
	want := row.Format().Size(p.plan.Size, p.plan.Size)
	if want == 0 || len(row.Bytes()) != want {
		return fault.New(fault.Internal, "a row of %d bytes in format %s for %dx%d pixels",
			len(row.Bytes()), row.Format(), p.plan.Size, p.plan.Size)
	}
	return nil
}

func (p *Pipeline) decode(data []byte, format Format, dst *raster.Image) error {
	switch format {
	case PNG:
		return png.Decode(data, dst)
	case GIF:
		return gif.Decode(data, dst)
	case WebP:
		return webp.Decode(data, dst)
	}
	return p.jpeg.Decode(data, dst)
}

// place resizes, crops or pads, converts to RGB and normalises, in open_clip's order, into row.
func (p *Pipeline) place(im *raster.Image, g geometry, row tensor.Row, s *scratch) {
	resize.Into(&s.resized, im, g.width, g.height, g.part, p.plan.Filter, &s.resize)
	p.finish(&s.resized, g, row, s)
}

// finish is place after resizing.
func (p *Pipeline) finish(small *raster.Image, g geometry, row tensor.Row, s *scratch) {
	if small.Width != p.plan.Size || small.Height != p.plan.Size {
		pad(&s.turned, small, p.plan.Size, g.x, g.y)
		small = &s.turned
	}
	if row.Format() == tensor.FormatUint8HWC {
		toRGB(row.Bytes(), small)
		return
	}
	rgb := small.Pix
	if small.Mode != raster.RGB {
		rgb = s.rgb
		toRGB(rgb, small)
	}
	if row.Format() == tensor.FormatFloat16CHW {
		p.norm.float16s(halves(row.Bytes()), rgb)
		return
	}
	p.norm.float32s(tensor.Float32s(row.Bytes()), rgb)
}

// pad centres src on a size x size canvas of zeros in its own mode: black, but paper white for CMYK
// and the first colour of a palette, as in open_clip.
func pad(dst, src *raster.Image, size, x, y int) {
	dst.Reset(src.Mode, size, size)
	dst.Palette = src.Palette
	clear(dst.Pix)
	c := src.Mode.Channels()
	n := src.Width * c
	for j := range src.Height {
		copy(dst.Pix[((y+j)*size+x)*c:][:n], src.Pix[j*n:][:n])
	}
}
