package preproc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	stdgif "image/gif"
	stdjpeg "image/jpeg"
	stdpng "image/png"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		data string
		want string // format, or what the refusal says
	}{
		{"\xff\xd8\xff\xe0", "jpeg"}, {"\x89PNG\r\n\x1a\n", "png"}, {"GIF87a", "gif"}, {"GIF89a", "gif"},
		{"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"},
		{"", "empty image"}, {"BM\x00\x00", "BMP"}, {"II*\x00", "TIFF"}, {"MM\x00*", "TIFF"},
		{"\x00\x00\x00\x18ftypheic", "HEIC"}, {"\x00\x00\x00\x18ftypmif1", "HEIC"}, {"\x00\x00\x00\x1cftypavif", "AVIF"},
		{"\x00\x00\x00\x1cftypisom", "MP4"}, {"%PDF-1.7", "PDF"}, {"<svg xmlns=", "SVG"},
		{"<?xml version='1.0'?>\n<svg>", "SVG"}, {"\n <!DOCTYPE html>", "HTML"}, {`{"images":[]}`, "JSON"},
		{"\xff\x0a", "JPEG XL"}, {"RIFF\x00\x00\x00\x00WAVE", "not an image in a known format"}, {"hello", "not an image"},
	} {
		f, err := Sniff([]byte(c.data))
		if err != nil {
			kind := fault.UnsupportedMedia
			if c.data == "" {
				kind = fault.Invalid
			}
			if fault.KindOf(err) != kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v, want %q", c.data, err, c.want)
			}
			continue
		}
		if string(f) != c.want {
			t.Errorf("%q: %s, want %s", c.data, f, c.want)
		}
	}
}

// bomb is a PNG whose header promises w x h pixels.
func bomb(w, h uint32) []byte {
	ihdr := []byte("IHDR")
	ihdr = binary.BigEndian.AppendUint32(ihdr, w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	b = append(b, ihdr...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
	return append(b, "\x00\x00\x00\x04IDAT\x78\x9c\x00\x00\x00\x00\x00\x00"...)
}

func TestLimits(t *testing.T) {
	photo := readImage(t, "photo.jpg")
	for name, c := range map[string]struct {
		data   []byte
		limits Limits
		want   string
	}{
		"bytes":       {photo, Limits{Bytes: len(photo) - 1}, "bytes, the limit"},
		"pixels":      {photo, Limits{Pixels: 320*213 - 1}, "320x213 pixels, the limit"},
		"bomb":        {bomb(60000, 60000), Limits{}, "60000x60000 pixels, the limit"},
		"huge bomb":   {bomb(1<<31-1, 1<<31-1), Limits{}, "the limit"},
		"extreme":     {bomb(1, 100000), Limits{}, "resized copy of 224x22400000"},
		"gif frames":  {readImage(t, "animated.gif"), Limits{Frames: 1}, "more than 1 frames"},
		"webp frames": {readImage(t, "animated.webp"), Limits{Frames: 1}, "more than 1 frames"},
		"png frames":  {readImage(t, "animated.png"), Limits{Frames: 1}, "more than 1 frames"},
	} {
		p := newPipeline(t, clip224(), c.limits)
		_, err := p.Into(c.data, newRow(tensor.FormatUint8HWC, 224))
		_, ferr := p.Footprint(c.data)
		for _, err := range []error{err, ferr} {
			if fault.KindOf(err) != fault.TooLarge || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		}
	}
	if _, err := newPipeline(t, clip224(), Limits{Frames: 2, Bytes: len(photo), Pixels: 336 * 224}).Into(photo, newRow(tensor.FormatUint8HWC, 224)); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

func TestCorrupt(t *testing.T) {
	p := newPipeline(t, clip224(), Limits{})
	row := newRow(tensor.FormatUint8HWC, 224)
	for _, name := range []string{"rgb.png", "p4.png", "rgb8_adam7.png", "p.gif", "interlaced.gif", "lossy.webp", "alpha.webp", "lossless.webp", "photo.jpg", "progressive.jpg"} {
		data := readImage(t, name)
		for _, n := range []int{12, 20, 40, len(data) / 3, len(data) / 2, len(data) * 9 / 10} {
			_, err := p.Into(data[:n], row)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Item != -1 {
				t.Errorf("%s cut to %d of %d bytes: %v", name, n, len(data), err)
			}
		}
	}
	flipped := bytes.Clone(readImage(t, "rgb.png"))
	flipped[17] ^= 1 // width, without its checksum
	if _, err := p.Into(flipped, row); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a wrong checksum: %v", err)
	}
}

func TestWrongRow(t *testing.T) {
	p := newPipeline(t, clip224(), Limits{})
	for _, row := range []*memRow{newRow(tensor.FormatUint8HWC, 225), {tensor.FormatInvalid, nil}} {
		if _, err := p.Into(readImage(t, "rgb.png"), row); fault.KindOf(err) != fault.Internal {
			t.Errorf("%s of %d bytes: %v", row.format, len(row.mem), err)
		}
	}
}

// An image of pixels must give what the same image in a file gives, in every row format.
func TestPixelsInto(t *testing.T) {
	p := newPipeline(t, clip224(), Limits{})
	data := readImage(t, "rgb.png")
	var im raster.Image
	if err := p.decode(data, PNG, &im); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(im.Pix)
	for _, f := range []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW, tensor.FormatFloat16CHW} {
		a, b := newRow(f, 224), newRow(f, 224)
		if _, err := p.Into(data, a); err != nil {
			t.Fatal(err)
		}
		if err := p.PixelsInto(im.Pix, im.Width, im.Height, b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.mem, b.mem) {
			t.Errorf("%s differs", f)
		}
	}
	if !bytes.Equal(before, im.Pix) {
		t.Error("the caller's pixels were written to")
	}
	for _, c := range []struct{ n, w, h int }{{3, 2, 1}, {0, 0, 0}, {3, -1, -1}, {3, 1, 1 << 40}} {
		if err := p.PixelsInto(make([]byte, c.n), c.w, c.h, newRow(tensor.FormatUint8HWC, 224)); fault.KindOf(err) == fault.Internal {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestFloat16IsRoundedFloat32(t *testing.T) {
	p := newPipeline(t, clip224(), Limits{})
	single, half := newRow(tensor.FormatFloat32CHW, 224), newRow(tensor.FormatFloat16CHW, 224)
	for _, r := range []*memRow{single, half} {
		if _, err := p.Into(readImage(t, "lossy.webp"), r); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range tensor.Float32s(single.mem) {
		if got := binary.NativeEndian.Uint16(half.mem[2*i:]); got != tensor.Float32ToFP16(f) {
			t.Fatalf("value %d: %#x, want %v", i, got, f)
		}
	}
}

// Both JPEG decoders must give the model the same input.
func TestJPEGBackends(t *testing.T) {
	if _, err := jpeg.New(jpeg.TurboJP); err != nil {
		if os.Getenv("VITRINE_REQUIRE_TURBO") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, name := range []string{"photo.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"} {
		var rows []*memRow
		for _, backend := range []jpeg.Backend{jpeg.GoCodec, jpeg.TurboJP} {
			p, err := New(clip224(), Options{JPEG: backend})
			if err != nil {
				t.Fatal(err)
			}
			row := newRow(tensor.FormatUint8HWC, 224)
			if _, err := p.Into(readImage(t, name), row); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		if !bytes.Equal(rows[0].mem, rows[1].mem) {
			t.Errorf("%s: the decoders differ", name)
		}
	}
}

func TestConcurrent(t *testing.T) {
	p := newPipeline(t, clip224(), Limits{})
	var wg sync.WaitGroup
	goldens := readGolden(t)
	for worker := range 4 {
		wg.Go(func() {
			row := newRow(tensor.FormatUint8HWC, 224)
			for i := worker; i < len(goldens); i += 3 {
				if goldens[i].Plan != "shortest" {
					continue
				}
				data, err := os.ReadFile("testdata/images/" + goldens[i].File)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := p.Into(data, row); err != nil || digest(row.mem) != goldens[i].RGB {
					t.Errorf("%s: %v or another result", goldens[i].File, err)
				}
			}
		})
	}
	wg.Wait()
}

// checkered is a large image that compresses well.
func checkered() *image.Paletted {
	im := image.NewPaletted(image.Rect(0, 0, 1200, 850), color.Palette{color.Black, color.White, color.RGBA{200, 10, 30, 255}})
	for i := range im.Pix {
		im.Pix[i] = byte((i%1200/16 + i/1200/16) % 3)
	}
	return im
}

// What a fresh pipeline allocates for an image must stay within what Footprint says, apart from fixed
// tables and from the bookkeeping of decompressors.
func TestFootprint(t *testing.T) {
	var png, gif, jpg bytes.Buffer
	im := checkered()
	if err := errors.Join(stdpng.Encode(&png, im), stdgif.Encode(&gif, im, nil), stdjpeg.Encode(&jpg, im, nil)); err != nil {
		t.Fatal(err)
	}
	rgba := image.NewNRGBA(im.Rect)
	for i := range rgba.Pix {
		rgba.Pix[i] = byte(i / 4096)
	}
	var alpha bytes.Buffer
	if err := stdpng.Encode(&alpha, rgba); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"palette png": png.Bytes(), "rgba png": alpha.Bytes(), "gif": gif.Bytes(), "jpeg": jpg.Bytes(),
		"lossy webp": readImage(t, "lossy.webp"), "alpha webp": readImage(t, "alpha.webp"), "lossless webp": readImage(t, "lossless_alpha.webp"),
	} {
		p, err := New(planOf("exif"), Options{JPEG: jpeg.GoCodec})
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.Footprint(data)
		if err != nil {
			t.Fatal(err)
		}
		row := newRow(tensor.FormatFloat32CHW, 224)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := p.Into(data, row); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		const fixed = 512 << 10
		if got := int64(after.TotalAlloc - before.TotalAlloc); got > want+fixed {
			t.Errorf("%s: %d bytes allocated, the footprint is %d", name, got, want)
		}
	}
}
