package preproc

import (
	"errors"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/exif"
	"github.com/vitrine-project/vitrine/internal/preproc/gif"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/png"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
	"github.com/vitrine-project/vitrine/internal/preproc/webp"
)

// header is what an image's headers say, checked against the limits.
type header struct {
	format        Format
	width, height int // as stored, before the orientation
	mode          raster.Mode
	memory        int64 // what decoding needs, the decoded pixels included
	frames        int
	orientation   int // 1 unless the plan honours it
	geometry      geometry
}

// inspect reads the headers of an image and refuses what exceeds a limit.
func (p *Pipeline) inspect(data []byte) (header, error) {
	if err := p.limits.checkBytes(len(data)); err != nil {
		return header{}, err
	}
	format, err := Sniff(data)
	if err != nil {
		return header{}, err
	}
	h, err := readHeader(format, data, p.limits)
	if err != nil {
		return header{}, corrupt(format, err)
	}
	if err := p.limits.checkPixels("image", h.width, h.height); err != nil {
		return header{}, err
	}
	if err := p.limits.checkFrames(h.frames); err != nil {
		return header{}, err
	}
	h.orientation = 1
	if p.plan.EXIF {
		h.orientation = exif.Orientation(data)
	}
	w, ht := h.width, h.height
	if turned(h.orientation) {
		w, ht = ht, w
	}
	h.geometry = p.plan.geometry(w, ht)
	return h, p.limits.checkPixels("image's resized copy", h.geometry.width, h.geometry.height)
}

func readHeader(format Format, data []byte, limits Limits) (header, error) {
	switch format {
	case PNG:
		c, err := png.ReadConfig(data)
		return header{format: format, width: c.Width, height: c.Height, mode: c.Mode, memory: c.MemoryBytes, frames: c.Frames}, err
	case GIF:
		c, err := gif.ReadConfig(data)
		return header{format: format, width: c.Width, height: c.Height, mode: c.Mode, memory: c.MemoryBytes,
			frames: gif.Frames(data, limits.Frames)}, err
	case WebP:
		c, err := webp.ReadConfig(data)
		return header{format: format, width: c.Width, height: c.Height, mode: c.Mode, memory: c.MemoryBytes, frames: c.Frames}, err
	}
	c, err := jpeg.ReadConfig(data)
	return header{format: format, width: c.Width, height: c.Height, mode: c.Mode, memory: c.MemoryBytes, frames: 1}, err
}

// footprint is the memory that an image needs at its peak: decoding, a turned copy, the rows between
// the two passes of resizing, and the small result in its own mode and in RGB.
func (h header) footprint(size int) int64 {
	c := int64(h.mode.Channels())
	n := h.memory + resize.MidBytes(h.mode, max(h.width, h.height), max(h.width, h.height), h.geometry.part)
	if h.orientation != 1 {
		n += int64(h.width) * int64(h.height) * c
	}
	return n + (c+3)*int64(size)*int64(size)
}

// corrupt makes a decoder's error the client's, unless the decoder has said whose it is.
func corrupt(format Format, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "corrupt %s image", names[format])
}

var names = map[Format]string{JPEG: "JPEG", PNG: "PNG", GIF: "GIF", WebP: "WebP"}
