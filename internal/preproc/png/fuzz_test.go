package png

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// FuzzDecode: no panic, and an image of the size and mode that the header promised. (That the pixels
// are right is what the golden files of package preproc say.)
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../testdata/images/*.png")
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
		c, err := ReadConfig(data)
		if err != nil || int64(c.Width)*int64(c.Height) > 1<<18 {
			return
		}
		if Decode(data, &im) != nil {
			return
		}
		if im.Width != c.Width || im.Height != c.Height || im.Mode != c.Mode ||
			len(im.Pix) != c.Width*c.Height*c.Mode.Channels() {
			t.Fatalf("%dx%d %s with %d bytes, the header says %dx%d %s",
				im.Width, im.Height, im.Mode, len(im.Pix), c.Width, c.Height, c.Mode)
		}
	})
}
