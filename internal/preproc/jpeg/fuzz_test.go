package jpeg

import (
	"bytes"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// FuzzDecode wants: no panic, no more memory than ReadConfig announces, every refusal a fault that blames
// the file, and one verdict and the same pixels whichever backend decodes.
func FuzzDecode(f *testing.F) {
	for _, c := range goldenCases(f) {
		f.Add(c.JPEG)
	}
	const limit = 1 << 16 // pixels
	turbo, _ := New(TurboJP)
	if turbo != nil {
		turbo.MaxPixels = limit
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, cfgErr := ReadConfig(data)
		d := Decoder{MaxPixels: limit}
		var im raster.Image
		err := d.Decode(data, &im)
		if cfgErr != nil && err == nil {
			t.Fatalf("decodes, although the header is refused: %v", cfgErr)
		}
		if got := d.held() + int64(cap(im.Pix)); got > cfg.MemoryBytes {
			t.Fatalf("holds %d bytes, claims %d", got, cfg.MemoryBytes)
		}
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.UnsupportedMedia && k != fault.TooLarge {
				t.Fatalf("kind %v: %v", k, err)
			}
		}
		// Two 0xFF before a stuffed zero are against the standard, and libjpeg-turbo then leaves coefficients
		// of a first attempt at the MCU in the second.
		if turbo != nil && !bytes.Contains(data, []byte{0xFF, 0xFF, 0}) {
			compareBackends(t, turbo, data, &im, err)
		}
	})
}

func compareBackends(t *testing.T, turbo *Codec, data []byte, im *raster.Image, goErr error) {
	t.Helper()
	var other raster.Image
	err := turbo.Decode(data, &other)
	if (err == nil) != (goErr == nil) {
		t.Fatalf("libjpeg-turbo: %v, Go: %v", err, goErr)
	}
	if err != nil {
		return
	}
	if n := maxDiff(im.Pix, other.Pix); n > 0 {
		t.Fatalf("%s %dx%d: differs from libjpeg-turbo by up to %d", im.Mode, im.Width, im.Height, n)
	}
}
