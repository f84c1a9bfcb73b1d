package photo

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInputs(t *testing.T) {
	for _, c := range []struct {
		spec        string
		n, w, h     int
		about       string
		least, most int // bytes of a file
	}{
		{"photo:224x224:q85", 2, 224, 224, "photographs 224x224, JPEG quality 85, 2 images", 6000, 20000},
		{"photo:640x480", 2, 640, 480, "quality 85", 20000, 90000},
		{"photo:100x300:q30", 2, 100, 300, "quality 30", 1000, 6000},
		{"noise:224x224", 4, 224, 224, "noise 224x224, JPEG quality 85, 4 images", 30000, 80000},
		{"noise:1x1:q50:s3", 4, 1, 1, "noise", 300, 1000},
	} {
		images, about, err := Inputs(c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		if len(images) != c.n || !strings.Contains(about, c.about) {
			t.Errorf("%s: %d images, %q; want %d, %q", c.spec, len(images), about, c.n, c.about)
		}
		for _, m := range images {
			size, err := jpeg.DecodeConfig(bytes.NewReader(m.JPEG))
			if err != nil || size.Width != c.w || size.Height != c.h {
				t.Errorf("%s: %s is %dx%d, %v", c.spec, m.Name, size.Width, size.Height, err)
			}
			if len(m.JPEG) < c.least || len(m.JPEG) > c.most {
				t.Errorf("%s: %s has %d bytes, want %d to %d", c.spec, m.Name, len(m.JPEG), c.least, c.most)
			}
			if m.Width != 224 || m.Height != 224 || len(m.Pixels) != 3*224*224 || len(m.Tensor) != 3*224*224 {
				t.Errorf("%s: %d pixels, %d values", c.spec, len(m.Pixels), len(m.Tensor))
			}
		}
		again, _, err := Inputs(c.spec)
		if err != nil || !bytes.Equal(again[0].JPEG, images[0].JPEG) {
			t.Errorf("%s: not the same a second time", c.spec)
		}
	}
}

// Tensors are pixels less the mean of CLIP, by its deviation: (v/255 - mean) / std, planar.
func TestTensorIsOfPixels(t *testing.T) {
	images, _, err := Inputs("photo:224x224")
	if err != nil {
		t.Fatal(err)
	}
	mean, std := [3]float64{0.48145466, 0.4578275, 0.40821073}, [3]float64{0.26862954, 0.26130258, 0.27577711}
	m := images[0]
	for i := range 224 * 224 {
		for c := range 3 {
			want := (float64(m.Pixels[3*i+c])/255 - mean[c]) / std[c]
			if got := float64(m.Tensor[c*224*224+i]); math.Abs(got-want) > 1e-5 {
				t.Fatalf("pixel %d, channel %d: %v, want %v", i, c, got, want)
			}
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, _, errA := Inputs("noise:8x8:s1")
	b, _, errB := Inputs("noise:8x8:s2")
	if errA != nil || errB != nil || bytes.Equal(a[0].JPEG, b[0].JPEG) || bytes.Equal(a[0].JPEG, a[1].JPEG) {
		t.Error("noise repeats itself", errA, errB)
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [brackets]*")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 30, 20)), nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"b.jpg": b.Bytes(), "a.bin": b.Bytes(), "c.txt": []byte("text")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	images, about, err := Inputs("dir:" + dir)
	if err != nil || len(images) != 2 || images[0].Name != "a.bin" || !strings.HasPrefix(about, "JPEG files, 2 images") {
		t.Errorf("%d images, %q, %v", len(images), about, err)
	}
	if one, _, err := Inputs("dir:" + filepath.Join(dir, "b.jpg")); err != nil || len(one) != 1 {
		t.Errorf("one file gives %d images, %v", len(one), err)
	}
}

func TestRefused(t *testing.T) {
	for _, spec := range []string{"", "photo", "photo:0x5", "photo:5", "photo:9000x5", "photo:8x8:q0", "photo:8x8:z", "noise:8x8:s-1", "dir:/does/not/exist", "dir:" + t.TempDir(), "file:x"} {
		if _, _, err := Inputs(spec); err == nil {
			t.Errorf("%q was taken", spec)
		} else if !strings.Contains(err.Error(), "input") {
			t.Errorf("%q: %v does not say of what", spec, err)
		}
	}
}

func TestCrop(t *testing.T) {
	for _, c := range []struct {
		r, want image.Rectangle
		w, h    int
	}{
		{r: image.Rect(0, 0, 500, 400), w: 1, h: 1, want: image.Rect(50, 0, 450, 400)},
		{r: image.Rect(0, 0, 400, 500), w: 2, h: 1, want: image.Rect(0, 150, 400, 350)},
		{r: image.Rect(10, 10, 410, 310), w: 4, h: 3, want: image.Rect(10, 10, 410, 310)},
	} {
		if got := crop(c.r, c.w, c.h); got != c.want {
			t.Errorf("crop(%v, %d, %d) = %v, want %v", c.r, c.w, c.h, got, c.want)
		}
	}
}
