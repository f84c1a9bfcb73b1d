package preproc

import (
	"bytes"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// withOrientation is a file with an EXIF orientation.
func withOrientation(t testing.TB, w, h, orientation int) []byte {
	t.Helper()
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		x, y := i%w, i/w
		im.SetRGBA(x, y, color.RGBA{uint8(2 * x), uint8(3 * y), uint8(x ^ y), 255})
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	exif := []byte("\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	exif[29] = byte(orientation) // the entry's value: two bytes at 28
	return append(append(bytes.Clone(b.Bytes()[:2]), exif...), b.Bytes()[2:]...)
}

// carryOut does a task as its comments say, with the decoder in Go, pixel by pixel.
func carryOut(t *testing.T, task *Task) []byte {
	t.Helper()
	var im raster.Image
	if err := new(jpeg.Decoder).Decode(task.Data, &im); err != nil {
		t.Fatal(err)
	}
	w, h := im.Width, im.Height
	if task.Right != 1 && task.Right != -1 {
		w, h = h, w
	}
	upright := raster.Image{Mode: raster.RGB, Width: w, Height: h, Transparent: -1}
	for y := range h {
		for x := range w {
			at := 3 * (task.Start + x*task.Right + y*task.Down)
			upright.Pix = append(upright.Pix, im.Pix[at:at+3]...)
		}
	}
	return resizedBy(task.Steps, &upright)
}

// resizedBy runs steps with the pixels of float64 sums, which are exact here.
func resizedBy(s resize.Steps, im *raster.Image) []byte {
	across := func(t resize.Taps, src []byte, lines, step, line int) []byte {
		out := make([]byte, 0, 3*lines*t.Len())
		for l := range lines {
			for i := range t.Len() {
				first, weights := t.Span(i)
				for c := range 3 {
					sum := float64(int(1) << (resize.PrecisionBits - 1))
					for j, w := range weights {
						sum += float64(w) * float64(src[(first+j)*step+l*line+c])
					}
					out = append(out, byte(min(max(int(sum)>>resize.PrecisionBits, 0), 255)))
				}
			}
		}
		return out // line by line: transposed after a vertical pass
	}
	w, h := s.Horizontal.Len(), s.Vertical.Len()
	if s.VerticalFirst {
		mid := across(s.Vertical, im.Pix, im.Width, 3*im.Width, 3) // of each column its h samples
		return across(s.Horizontal, mid, h, 3*h, 3)
	}
	mid := across(s.Horizontal, im.Pix, im.Height, 3, 3*im.Width)
	columns := across(s.Vertical, mid, w, 3*w, 3)
	out := make([]byte, len(columns))
	for x := range w {
		for y := range h {
			copy(out[3*(y*w+x):][:3], columns[3*(x*h+y):])
		}
	}
	return out
}

// TestTask: a task carried out elsewhere and finished gives Into's row, for every orientation, way of
// resizing and format.
func TestTask(t *testing.T) {
	for _, how := range []Resize{Shortest, Squash, Longest} {
		for _, exif := range []bool{false, true} {
			plan := Plan{Size: 32, Resize: how, Mean: clipMean, Std: clipStd, EXIF: exif}
			p, err := New(plan, Options{JPEG: jpeg.GoCodec})
			if err != nil {
				t.Fatal(err)
			}
			for orientation := 1; orientation <= 8; orientation++ {
				for _, size := range [][2]int{{70, 50}, {40, 90}, {32, 32}, {20, 31}} {
					data := withOrientation(t, size[0], size[1], orientation)
					task, ok := p.Task(data)
					if !ok {
						t.Fatalf("%v is no task", size)
					}
					pix := carryOut(t, &task)
					for _, f := range []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW, tensor.FormatFloat16CHW} {
						want, got := newRow(f, 32), newRow(f, 32)
						if _, err := p.Into(data, want); err != nil {
							t.Fatal(err)
						}
						if err := p.Finish(&task, pix, got); err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(got.mem, want.mem) {
							t.Errorf("%s, EXIF %v, orientation %d, %v, %v: rows differ", how, exif, orientation, size, f)
						}
					}
				}
			}
		}
	}
}

func TestTaskRefuses(t *testing.T) {
	p, err := New(Plan{Size: 32, Resize: Shortest, Std: clipStd}, Options{Limits: Limits{Pixels: 10_000}})
	if err != nil {
		t.Fatal(err)
	}
	photo := withOrientation(t, 70, 50, 1)
	for name, data := range map[string][]byte{
		"nothing": nil, "a PNG": readImage(t, "average.png"), "too large": withOrientation(t, 200, 100, 1), "truncated": photo[:len(photo)-9],
	} {
		if _, ok := p.Task(data); ok {
			t.Errorf("%s is a task", name)
		}
	}
	task, ok := p.Task(photo)
	if !ok {
		t.Fatal("a photograph is no task")
	}
	f := tensor.FormatUint8HWC
	if err := p.Finish(&task, make([]byte, 5), newRow(f, 32)); err == nil {
		t.Error("five bytes: want an error")
	}
	if err := p.Finish(&task, make([]byte, 3*32*32), &memRow{f, make([]byte, 7)}); err == nil {
		t.Error("a row of another size: want an error")
	}
}
