package preproc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// FuzzInto feeds files of every format: no panic, no fault but the client's, and a footprint that a
// small pixel limit bounds.
func FuzzInto(f *testing.F) {
	files, err := filepath.Glob("testdata/images/*")
	if err != nil || len(files) < 50 {
		f.Fatalf("%d images, %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 3000 {
			f.Add(b)
		}
	}
	const pixels, small = 1 << 18, 32
	plan := clip224()
	plan.Size, plan.EXIF = small, true
	p, err := New(plan, Options{Limits: Limits{Bytes: 1 << 20, Pixels: pixels, Frames: 50}, JPEG: jpeg.GoCodec})
	if err != nil {
		f.Fatal(err)
	}
	row := newRow(tensor.FormatFloat32CHW, small)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := p.Footprint(data)
		if err == nil && (n < 0 || n > 40*pixels+4<<20) {
			t.Fatalf("footprint of %d bytes", n)
		}
		if _, err := p.Into(data, row); err != nil {
			checkFault(t, err)
		}
	})
}

func checkFault(t *testing.T, err error) {
	t.Helper()
	var ft *fault.Error
	if !errors.As(err, &ft) || ft.Item != -1 {
		t.Fatalf("%T: %v", err, err)
	}
	if ft.Kind != fault.Invalid && ft.Kind != fault.TooLarge && ft.Kind != fault.UnsupportedMedia {
		t.Fatalf("%s: %v", ft.Kind, err)
	}
}
