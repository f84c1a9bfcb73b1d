//go:build !race

package preproc

import (
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// After warm-up images cost no allocation, where the decoder is this project's. (Under the race
// detector sync.Pool forgets on purpose.)
func TestNoAllocation(t *testing.T) {
	p, err := New(clip224(), Options{JPEG: jpeg.GoCodec})
	if err != nil {
		t.Fatal(err)
	}
	row := newRow(tensor.FormatFloat32CHW, 224)
	for name, allowed := range map[string]float64{
		"photo.jpg": 1, "progressive.jpg": 1, // the header's parser
		"p.gif": 0, "interlaced.gif": 0,
	} {
		data := readImage(t, name)
		n := testing.AllocsPerRun(50, func() {
			if _, err := p.Into(data, row); err != nil {
				t.Fatal(err)
			}
		})
		if n > allowed {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	pix := make([]byte, 300*200*3)
	if n := testing.AllocsPerRun(50, func() {
		if err := p.PixelsInto(pix, 300, 200, row); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("pixels: %v allocations", n)
	}
}
