package webp

import (
	"bytes"
	"errors"
	"fmt"
	"image"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Decode decodes a file's (first) frame into dst. Width and height must have been checked against a
// limit before, by ReadConfig.
func Decode(data []byte, dst *raster.Image) (err error) {
	c, err := ReadConfig(data)
	if err != nil {
		return err
	}
	// The bit stream decoders are another project's, and what they read is hostile.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("corrupt stream: %v", r)
		}
	}()
	dst.Reset(c.Mode, c.Width, c.Height)
	if c.frame.w != c.Width || c.frame.h != c.Height {
		clear(dst.Pix)
	}
	if c.frame.lossless {
		return c.lossless(dst)
	}
	return c.lossy(dst)
}

// at is the memory of a frame's row y, from its first pixel on.
func (c Config) at(dst *raster.Image, y int) []byte {
	n := c.Mode.Channels()
	from := ((c.frame.y+y)*c.Width + c.frame.x) * n
	return dst.Pix[from : from+c.frame.w*n]
}

func (c Config) lossless(dst *raster.Image) error {
	m, err := vp8l.Decode(bytes.NewReader(c.frame.stream))
	if err != nil {
		return err
	}
	src, ok := m.(*image.NRGBA)
	if !ok {
		return fmt.Errorf("unexpected image type %T", m)
	}
	for y := range c.frame.h {
		row := src.Pix[y*src.Stride:][:4*c.frame.w]
		out := c.at(dst, y)
		if c.Mode == raster.RGB {
			dropAlpha(out, row)
			continue
		}
		copy(out, row)
		if c.frame.opaque {
			setAlpha(out, nil)
		}
	}
	return nil
}

func dropAlpha(dst, src []byte) {
	for ; len(src) >= 4 && len(dst) >= 3; dst, src = dst[3:], src[4:] {
		dst[0], dst[1], dst[2] = src[0], src[1], src[2]
	}
}

// setAlpha writes alpha to RGBA pixels, 255 where alpha is nil.
func setAlpha(dst, alpha []byte) {
	for i := 0; 4*i+3 < len(dst); i++ {
		if alpha == nil {
			dst[4*i+3] = 255
			continue
		}
		dst[4*i+3] = alpha[i]
	}
}

func (c Config) lossy(dst *raster.Image) error {
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(c.frame.stream), len(c.frame.stream))
	h, err := d.DecodeFrameHeader()
	if err != nil {
		return err
	}
	if h.Width != c.frame.w || h.Height != c.frame.h {
		return errors.New("contradicting sizes")
	}
	m, err := d.DecodeFrame()
	if err != nil {
		return err
	}
	c.colours(dst, m)
	if c.Mode != raster.RGBA {
		return nil
	}
	alpha, err := c.frame.readAlpha()
	if err != nil {
		return fmt.Errorf("alpha: %w", err)
	}
	for y := range c.frame.h {
		var row []byte
		if alpha != nil {
			row = alpha[y*c.frame.w:][:c.frame.w]
		}
		setAlpha(c.at(dst, y), row)
	}
	return nil
}
