package preproc

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// golden is one line of testdata/golden.json, made by testdata/golden.py.
type golden struct {
	File, Plan    string
	Mode          raster.Mode
	Width, Height int
	Decoded       string // SHA-256 of the decoded pixels
	RGB           string // of the model's input in bytes
	Float32       string // of the normalised planes
}

func readGolden(t testing.TB) []golden {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Pillow string
		Images []golden
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if file.Pillow != "13.0.0" || len(file.Images) < 100 {
		t.Fatalf("golden file of Pillow %s with %d cases", file.Pillow, len(file.Images))
	}
	return file.Images
}

func readImage(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "images", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// memRow is a row in Go's memory.
type memRow struct {
	format tensor.Format
	mem    []byte
}

func newRow(f tensor.Format, size int) *memRow {
	return &memRow{f, tensor.AlignedBytes(f.Size(size, size))}
}

func (r *memRow) Format() tensor.Format { return r.format }
func (r *memRow) Bytes() []byte         { return r.mem }
func (r *memRow) Release()              {}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func clip224() Plan { return PlanFor(model.Config{ImageSize: 224}) }

func planOf(name string) Plan {
	p := clip224()
	switch name {
	case "bilinear":
		p.Filter = resize.Bilinear
	case "squash":
		p.Resize = Squash
	case "longest":
		p.Resize = Longest
	case "exif":
		p.EXIF = true
	}
	return p
}

func newPipeline(t testing.TB, p Plan, l Limits) *Pipeline {
	t.Helper()
	pipe, err := New(p, Options{Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return pipe
}

// TestGolden compares every image under every plan with Pillow's and open_clip's bytes.
func TestGolden(t *testing.T) {
	for _, g := range readGolden(t) {
		t.Run(g.File+"/"+g.Plan, func(t *testing.T) {
			p := newPipeline(t, planOf(g.Plan), Limits{})
			data := readImage(t, g.File)
			checkDecoded(t, p, g, data)
			row := newRow(tensor.FormatUint8HWC, 224)
			info, err := p.Into(data, row)
			if err != nil {
				t.Fatal(err)
			}
			if info.Width != g.Width || info.Height != g.Height || !strings.HasSuffix(g.File, "."+short(info.Format)) {
				t.Errorf("%+v, want %dx%d", info, g.Width, g.Height)
			}
			if digest(row.mem) != g.RGB {
				t.Error("the model's input differs from open_clip's")
			}
			floats := newRow(tensor.FormatFloat32CHW, 224)
			if _, err := p.Into(data, floats); err != nil {
				t.Fatal(err)
			}
			if digest(floats.mem) != g.Float32 {
				t.Error("the normalised input differs from open_clip's")
			}
		})
	}
}

func short(f Format) string {
	if f == JPEG {
		return "jpg"
	}
	return string(f)
}

func checkDecoded(t *testing.T, p *Pipeline, g golden, data []byte) {
	t.Helper()
	format, err := Sniff(data)
	if err != nil {
		t.Fatal(err)
	}
	var im raster.Image
	if err := p.decode(data, format, &im); err != nil {
		t.Fatal(err)
	}
	if im.Mode != g.Mode || im.Width != g.Width || im.Height != g.Height {
		t.Fatalf("%s %dx%d, want %s %dx%d", im.Mode, im.Width, im.Height, g.Mode, g.Width, g.Height)
	}
	if digest(im.Pix) != g.Decoded {
		t.Error("the decoded pixels differ from Pillow's")
	}
}
