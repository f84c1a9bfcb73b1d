package preproc

import "github.com/vitrine-project/vitrine/internal/fault"

// Limits bound what one image may cost. They are checked on its headers, before anything is decoded.
// A zero field takes its default.
type Limits struct {
	Bytes  int   // size of the file; 32 MiB
	Pixels int64 // width times height, of the image and of its resized copy; 50 million
	Frames int   // of an animation, although only the first is used; 1000
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 32 << 20
	}
	if l.Pixels == 0 {
		l.Pixels = 50_000_000
	}
	if l.Frames == 0 {
		l.Frames = 1000
	}
	return l
}

func (l Limits) checkBytes(n int) error {
	if n > l.Bytes {
		return fault.New(fault.TooLarge, "image of %d bytes, the limit is %d", n, l.Bytes)
	}
	return nil
}

func (l Limits) checkPixels(what string, width, height int) error {
	if width < 1 || height < 1 {
		return fault.New(fault.Invalid, "%s of %dx%d pixels", what, width, height)
	}
	if int64(height) > l.Pixels/int64(width) {
		return fault.New(fault.TooLarge, "%s of %dx%d pixels, the limit is %d pixels", what, width, height, l.Pixels)
	}
	return nil
}

func (l Limits) checkFrames(n int) error {
	if n > l.Frames {
		return fault.New(fault.TooLarge, "animation of more than %d frames", l.Frames)
	}
	return nil
}
