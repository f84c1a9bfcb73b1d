package png

import (
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// decoder is the memory that decoding reuses.
type decoder struct {
	cfg      Config
	idat     idatReader
	inflate  io.ReadCloser
	row, up  []byte // file rows with their filter byte: the current one and the one above
	expanded []byte // one interlaced row in the image's mode
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// Decode decodes a file into dst. Width and height must have been checked against a limit before, by
// ReadConfig: this allocates what they ask for.
func Decode(data []byte, dst *raster.Image) error {
	cfg, err := ReadConfig(data)
	if err != nil {
		return err
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	defer d.idat.drop()
	d.cfg = cfg
	dst.Reset(cfg.Mode, cfg.Width, cfg.Height)
	if err := d.header(data[len(signature):], dst); err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	if cfg.interlaced {
		return d.interlaced(dst)
	}
	return d.plain(dst)
}

// header reads the chunks before the pixels and leaves idat at the first of them.
func (d *decoder) header(b []byte, dst *raster.Image) error {
	for {
		c, rest, err := next(b)
		if err != nil {
			return err
		}
		switch c.kind {
		case "IDAT":
			if d.cfg.Mode == raster.P && len(dst.Palette) < 3 {
				return errors.New("no palette")
			}
			d.idat = idatReader{data: c.data, rest: rest}
			return nil
		case "PLTE":
			if err := c.check(); err != nil {
				return err
			}
			if d.cfg.Mode == raster.P {
				dst.Palette = c.data[:min(len(c.data), 768)]
			}
		case "tRNS":
			if d.cfg.Mode == raster.P {
				dst.PaletteAlpha = c.data[:min(len(c.data), 256)]
			}
		case "IEND":
			return errors.New("no pixels")
		case "critical":
			return errors.New("unknown critical chunk")
		}
		b = rest
	}
}

// open begins decompression.
func (d *decoder) open() error {
	if d.inflate == nil {
		z, err := zlib.NewReader(&d.idat)
		if err != nil {
			return err
		}
		d.inflate = z
		return nil
	}
	return d.inflate.(zlib.Resetter).Reset(&d.idat, nil)
}

// start sizes the row buffers for rows of width pixels; the row above the first one is zero.
func (d *decoder) start(width int) {
	n := 1 + d.cfg.rowBytes(width)
	if cap(d.row) < n || cap(d.up) < n {
		d.row, d.up = make([]byte, n), make([]byte, n)
	}
	d.row, d.up = d.row[:n], d.up[:n]
	clear(d.up)
}

// nextRow returns the next row of the file, unfiltered. It is valid until the call after the next.
func (d *decoder) nextRow() ([]byte, error) {
	if _, err := io.ReadFull(d.inflate, d.row); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if err := unfilter(d.row[0], d.row[1:], d.up[1:], d.cfg.pixelBytes()); err != nil {
		return nil, err
	}
	row := d.row[1:]
	d.row, d.up = d.up, d.row
	return row, nil
}

func (d *decoder) plain(dst *raster.Image) error {
	d.start(dst.Width)
	n := dst.Width * dst.Mode.Channels()
	for y := range dst.Height {
		row, err := d.nextRow()
		if err != nil {
			return fmt.Errorf("row %d: %w", y, err)
		}
		d.cfg.unpack(dst.Pix[y*n:][:n], row)
	}
	return nil
}

// adam7 are the interlacing passes: first pixel and step on each axis.
var adam7 = [7]struct{ x0, y0, dx, dy int }{
	{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
}

func (d *decoder) interlaced(dst *raster.Image) error {
	c := dst.Mode.Channels()
	if cap(d.expanded) < dst.Width*c {
		d.expanded = make([]byte, dst.Width*c)
	}
	for i, p := range adam7 {
		w := (dst.Width - p.x0 + p.dx - 1) / p.dx
		if w <= 0 {
			continue
		}
		d.start(w)
		line := d.expanded[:w*c]
		for y := p.y0; y < dst.Height; y += p.dy {
			row, err := d.nextRow()
			if err != nil {
				return fmt.Errorf("pass %d, row %d: %w", i+1, y, err)
			}
			d.cfg.unpack(line, row)
			scatter(dst.Pix[y*dst.Width*c:][:dst.Width*c], line, p.x0*c, p.dx*c, c)
		}
	}
	return nil
}

// scatter writes pixels of c bytes at every step bytes of row, from byte at.
func scatter(row, pixels []byte, at, step, c int) {
	for len(pixels) > 0 {
		copy(row[at:at+c], pixels[:c])
		at += step
		pixels = pixels[c:]
	}
}

// idatReader joins the content of consecutive IDAT chunks.
type idatReader struct {
	data []byte // what is left of the current chunk
	rest []byte // the file after it
}

// drop forgets the file, so that a pooled decoder does not keep it alive.
func (r *idatReader) drop() { *r = idatReader{} }

func (r *idatReader) fill() error {
	for len(r.data) == 0 {
		c, rest, err := next(r.rest)
		if err != nil || c.kind != "IDAT" {
			return io.EOF
		}
		r.data, r.rest = c.data, rest
	}
	return nil
}

// Read implements io.Reader.
func (r *idatReader) Read(p []byte) (int, error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// ReadByte implements io.ByteReader, which keeps the decompressor from buffering on its own.
func (r *idatReader) ReadByte() (byte, error) {
	if len(r.data) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	c := r.data[0]
	r.data = r.data[1:]
	return c, nil
}
