package jpeg

import (
	"bytes"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// photograph is a 4:2:0 file, or a grey one.
func photograph(t testing.TB, grey bool) []byte {
	t.Helper()
	r := image.Rect(0, 0, 70, 50)
	colour, l := image.NewRGBA(r), image.NewGray(r)
	for i := range 70 * 50 {
		x, y := i%70, i/70
		colour.SetRGBA(x, y, color.RGBA{uint8(3 * x), uint8(5 * y), uint8(x * y), 255})
		l.SetGray(x, y, color.Gray{Y: uint8(x * y)})
	}
	var b bytes.Buffer
	im := image.Image(colour)
	if grey {
		im = l
	}
	if err := stdjpeg.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPlain(t *testing.T) {
	whole, grey := photograph(t, false), photograph(t, true)
	// A frame header begins with its marker, length (two bytes), precision, height, width, components.
	frame := bytes.Index(whole, []byte{0xff, mSOF0})
	scan := bytes.Index(whole, []byte{0xff, mSOS})
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(whole)
		copy(b[at:], to)
		return b
	}
	insert := func(at int, what ...byte) []byte {
		return append(append(bytes.Clone(whole[:at]), what...), whole[at:]...)
	}
	renamed := bytes.Clone(whole)
	for i, id := range []byte("RGB") {
		renamed[frame+10+3*i], renamed[scan+5+2*i] = id, id
	}
	first := scan + 2 + int(whole[scan+2])<<8 + int(whole[scan+3]) // of the samples' bytes
	for _, c := range []struct {
		name string
		data []byte
		want bool
	}{
		{"4:2:0", whole, true},
		{"grey", grey, true},
		{"bytes after the end", append(bytes.Clone(whole), 1, 2, 3), true},
		{"4:2:2", change(frame+11, 0x21), true},
		{"4:1:1", change(frame+11, 0x41), false},
		{"chroma of two", change(frame+11, 0x22, 0, 2, 0x21), false},
		{"extended", change(frame+1, mSOF1), false},
		{"progressive", change(frame+1, mSOF2), false},
		{"red, green, blue", renamed, false},
		{"truncated", whole[:len(whole)-2], false},
		{"cut in the middle", whole[:len(whole)/2], false},
		{"ends on 0xff", append(bytes.Clone(whole[:len(whole)-2]), 0xff), false},
		{"a stray restart marker", insert(first, 0xff, mRST0), false},
		{"restart markers are missing", insert(scan, 0xff, mDRI, 0, 4, 0, 1), false},
		{"a marker in the samples", insert(first, 0xff, 0xe0), false},
		{"a PNG", []byte("\x89PNG\r\n\x1a\n"), false},
		{"nothing", nil, false},
	} {
		if got := Plain(c.data); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestPlainDecodes: a plain file's markers are those that decoding finds, restart markers included; only what lies between
// them may be damaged.
func TestPlainDecodes(t *testing.T) {
	plain, restarts := 0, 0
	for _, c := range goldenCases(t) {
		if !Plain(c.JPEG) {
			continue
		}
		plain++
		if bytes.Contains(c.JPEG, []byte{0xff, mDRI, 0, 4}) {
			restarts++
		}
		if err := new(Decoder).Decode(c.JPEG, new(raster.Image)); (err != nil || c.Error != "") && !strings.HasPrefix(c.Name, "damaged") {
			t.Errorf("%s is plain, but: %v, Pillow %q", c.Name, err, c.Error)
		}
	}
	if plain < 10 || restarts < 1 {
		t.Errorf("%d plain files, %d of them with restart markers", plain, restarts)
	}
}

func FuzzPlain(f *testing.F) {
	f.Add(photograph(f, false))
	f.Add(photograph(f, true))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !Plain(data) {
			return
		}
		if _, err := ReadConfig(data); err != nil {
			t.Errorf("plain, but %v", err)
		}
	})
}
