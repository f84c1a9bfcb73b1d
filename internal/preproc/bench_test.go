package preproc

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// photoPNG is a 640x480 PNG of the golden photograph, scaled up.
func photoPNG(b *testing.B) []byte {
	b.Helper()
	var small raster.Image
	p := newPipeline(b, clip224(), Limits{})
	if err := p.decode(readImage(b, "photo.jpg"), JPEG, &small); err != nil {
		b.Fatal(err)
	}
	im := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	for i := range im.Pix {
		x, y, c := i/4%640, i/4/640, i%4
		im.Pix[i] = 255
		if c < 3 {
			im.Pix[i] = small.Pix[(y*small.Height/480*small.Width+x*small.Width/640)*3+c]
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, im); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	p := newPipeline(b, clip224(), Limits{})
	for _, c := range []struct {
		name   string
		format Format
		data   []byte
	}{
		{"png/640x480", PNG, photoPNG(b)},
		{"png/150x100", PNG, readImage(b, "rgb.png")},
		{"gif/150x100", GIF, readImage(b, "p.gif")},
		{"webp/451x300", WebP, readImage(b, "lossy.webp")},
		{"webp/61x45-lossless", WebP, readImage(b, "lossless.webp")},
		{"jpeg/320x213", JPEG, readImage(b, "photo.jpg")},
	} {
		b.Run(c.name, func(b *testing.B) {
			var im raster.Image
			b.ReportAllocs()
			for b.Loop() {
				if err := p.decode(c.data, c.format, &im); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(im.Pix)))
		})
	}
}

func BenchmarkInto(b *testing.B) {
	for _, format := range []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW} {
		for _, backend := range []jpeg.Backend{jpeg.Auto, jpeg.GoCodec} {
			b.Run(format.String()+"/"+string(backend)+"/320x213", func(b *testing.B) {
				p, err := New(clip224(), Options{JPEG: backend})
				if err != nil {
					b.Fatal(err)
				}
				data, row := readImage(b, "photo.jpg"), newRow(format, 224)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Into(data, row); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkPixelsInto(b *testing.B) {
	p := newPipeline(b, clip224(), Limits{})
	pix, row := make([]byte, 640*480*3), newRow(tensor.FormatFloat32CHW, 224)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.PixelsInto(pix, 640, 480, row); err != nil {
			b.Fatal(err)
		}
	}
}
