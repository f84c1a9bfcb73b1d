package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// photoLike is a scene with a photograph's statistics: gradients, edges, texture and noise.
func photoLike(w, h int) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	seed := uint32(1)
	for y := range h {
		for x := range w {
			fx, fy := float64(x)/float64(w), float64(y)/float64(h)
			v := 128 + 60*math.Sin(9*fx+4*fy*fy) + 25*math.Sin(80*fx*fy) + 12*math.Sin(300*fx)*math.Cos(260*fy)
			if math.Hypot(fx-0.6, fy-0.4) < 0.2 {
				v = 210 - v/3
			}
			seed = seed*1664525 + 1013904223
			n := float64(seed>>24)/16 - 8
			im.SetRGBA(x, y, color.RGBA{level(v + n), level(v*0.8 + 30*fy + n), level(v*0.6 + 70*fx + n), 255})
		}
	}
	return im
}

func level(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

// photoJPEG is photoLike at quality 90, 4:2:0, as image/jpeg writes it.
func photoJPEG(tb testing.TB, w, h int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, photoLike(w, h), &stdjpeg.Options{Quality: 90}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range [][2]int{{224, 224}, {640, 480}} {
		data := photoJPEG(b, size[0], size[1])
		name := fmt.Sprintf("%dx%d", size[0], size[1])
		for _, codec := range codecs(b) {
			b.Run(name+"/"+codec.Name(), func(b *testing.B) { benchCodec(b, codec, data) })
		}
		b.Run(name+"/image-jpeg", func(b *testing.B) { benchStd(b, data) })
	}
}

// BenchmarkPhoto decodes real photographs, small ones.
func BenchmarkPhoto(b *testing.B) {
	for _, name := range []string{"coffee-420-q90", "coffee-420-progressive"} {
		data := goldenFile(b, name)
		for _, codec := range codecs(b) {
			b.Run(name+"/"+codec.Name(), func(b *testing.B) { benchCodec(b, codec, data) })
		}
		b.Run(name+"/image-jpeg", func(b *testing.B) { benchStd(b, data) })
	}
}

func benchCodec(b *testing.B, codec *Codec, data []byte) {
	var im raster.Image
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := codec.Decode(data, &im); err != nil {
			b.Fatal(err)
		}
	}
}

// benchStd is the standard library with the conversion to RGB that its users write.
func benchStd(b *testing.B, data []byte) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		im, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		toRGB(im.(*image.YCbCr))
	}
}

func toRGB(im *image.YCbCr) []byte {
	w, h := im.Rect.Dx(), im.Rect.Dy()
	out := make([]byte, 3*w*h)
	for y := range h {
		for x := range w {
			i, j := im.YOffset(x, y), im.COffset(x, y)
			p := out[3*(y*w+x):]
			p[0], p[1], p[2] = color.YCbCrToRGB(im.Y[i], im.Cb[j], im.Cr[j])
		}
	}
	return out
}
