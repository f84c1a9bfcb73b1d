// Package decodetest holds what the tests of the image decoders share.
package decodetest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Header is what a decoder's ReadConfig promises of an image.
type Header struct {
	Width, Height int
	Mode          raster.Mode
}

// Fuzz holds a decoder to no panic, and to an image of the size and mode that the header promised. (That the pixels are right
// is what the golden files of package preproc say.) The seeds are the small files that pattern matches.
func Fuzz(f *testing.F, pattern string, read func([]byte) (Header, error), decode func([]byte, *raster.Image) error) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < 10 {
		f.Fatalf("%d images, %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4000 {
			f.Add(b)
		}
	}
	var im raster.Image
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := read(data)
		if err != nil || int64(h.Width)*int64(h.Height) > 1<<18 {
			return
		}
		if decode(data, &im) != nil {
			return
		}
		if im.Width != h.Width || im.Height != h.Height || im.Mode != h.Mode ||
			len(im.Pix) != h.Width*h.Height*h.Mode.Channels() {
			t.Fatalf("%dx%d %s with %d bytes, the header says %dx%d %s",
				im.Width, im.Height, im.Mode, len(im.Pix), h.Width, h.Height, h.Mode)
		}
	})
}
