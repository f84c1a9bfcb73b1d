package jpeg

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// goldenCase is one file and what Pillow makes of it; testdata/golden.py writes them.
type goldenCase struct {
	Name          string
	JPEG          []byte
	Mode          raster.Mode
	Width, Height int
	SHA256        string
	Error         string // Pillow's, or that the file is not read by choice, instead of pixels
}

func goldenCases(tb testing.TB) []goldenCase {
	tb.Helper()
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		tb.Fatal(err)
	}
	var doc struct{ Cases []goldenCase }
	if err := json.Unmarshal(raw, &doc); err != nil {
		tb.Fatal(err)
	}
	if len(doc.Cases) < 100 {
		tb.Fatalf("only %d golden cases", len(doc.Cases))
	}
	return doc.Cases
}

// goldenFile is one case's data.
func goldenFile(tb testing.TB, name string) []byte {
	tb.Helper()
	for _, c := range goldenCases(tb) {
		if c.Name == name {
			return c.JPEG
		}
	}
	tb.Fatalf("no golden case %q", name)
	return nil
}

// codecs are the backends of this machine.
func codecs(tb testing.TB) []*Codec {
	tb.Helper()
	g, err := New(GoCodec)
	if err != nil {
		tb.Fatal(err)
	}
	list := []*Codec{g}
	if t, err := New(TurboJP); err == nil {
		list = append(list, t)
	}
	return list
}

func needTurbo(tb testing.TB) *TurboLib {
	tb.Helper()
	lib, err := Turbo()
	if err != nil {
		tb.Skipf("libjpeg-turbo cannot be loaded, so it is not compared: %v", err)
	}
	return lib
}

func TestPixelsEqualPillow(t *testing.T) {
	for _, codec := range codecs(t) {
		t.Run(codec.Name(), func(t *testing.T) {
			var im raster.Image
			for _, c := range goldenCases(t) {
				err := codec.Decode(c.JPEG, &im)
				if c.Error != "" {
					wantRefusal(t, c, err)
					continue
				}
				if err != nil {
					// Pillow fills with grey where image data is missing; this package refuses.
					if !strings.HasPrefix(c.Name, "damaged-") || fault.KindOf(err) != fault.Invalid {
						t.Errorf("%s: %v", c.Name, err)
					}
					continue
				}
				if im.Mode != c.Mode || im.Width != c.Width || im.Height != c.Height {
					t.Errorf("%s: %s %dx%d, want %s %dx%d", c.Name, im.Mode, im.Width, im.Height, c.Mode, c.Width, c.Height)
					continue
				}
				if sum := sha256.Sum256(im.Pix); hex.EncodeToString(sum[:]) != c.SHA256 {
					t.Errorf("%s: the pixels are not Pillow's", c.Name)
				}
			}
		})
	}
}

// wantRefusal checks the kind of a fault: what is cut is Invalid, what is well-formed but not read
// UnsupportedMedia.
func wantRefusal(t *testing.T, c goldenCase, err error) {
	t.Helper()
	want := fault.UnsupportedMedia
	if strings.HasPrefix(c.Name, "cut-") {
		want = fault.Invalid
	}
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("%s: Pillow says %q, got %v (%v), want kind %v", c.Name, c.Error, err, fault.KindOf(err), want)
	}
}

// TestBackendsAgree reports by how much the backends differ, where the hash above says only that they do.
func TestBackendsAgree(t *testing.T) {
	lib := needTurbo(t)
	var d Decoder
	var a, b raster.Image
	worst := 0
	for _, c := range goldenCases(t) {
		if c.Error != "" || d.Decode(c.JPEG, &a) != nil || strings.HasPrefix(c.Name, "incomplete-") {
			continue // libjpeg-turbo's smoothing depends on its version
		}
		b.Reset(a.Mode, a.Width, a.Height)
		if err := lib.decode(c.JPEG, &b); err != nil {
			t.Logf("%s: left to Go: %v", c.Name, err)
			continue
		}
		if diff := maxDiff(a.Pix, b.Pix); diff > 0 {
			t.Errorf("%s: the backends differ by up to %d", c.Name, diff)
			worst = max(worst, diff)
		}
	}
	t.Logf("largest difference: %d", worst)
}

func maxDiff(a, b []byte) int {
	worst := 0
	for i, v := range a {
		worst = max(worst, int(v)-int(b[i]), int(b[i])-int(v))
	}
	return worst
}

func TestReadConfig(t *testing.T) {
	for _, c := range goldenCases(t) {
		cfg, err := ReadConfig(c.JPEG)
		if c.Error != "" {
			continue // some are good until after the header
		}
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if cfg.Width != c.Width || cfg.Height != c.Height || cfg.Mode != c.Mode {
			t.Errorf("%s: %+v, want %s %dx%d", c.Name, cfg, c.Mode, c.Width, c.Height)
		}
		if want := strings.Contains(c.Name, "progressive"); want && !cfg.Progressive {
			t.Errorf("%s: not called progressive", c.Name)
		}
	}
}

// TestMemoryBytes holds the claim against what a cold decoder really allocates for the image.
func TestMemoryBytes(t *testing.T) {
	for _, c := range goldenCases(t) {
		if c.Error != "" {
			continue
		}
		cfg, err := ReadConfig(c.JPEG)
		if err != nil {
			t.Fatal(err)
		}
		var d Decoder
		var im raster.Image
		if err := d.Decode(c.JPEG, &im); err != nil && !strings.HasPrefix(c.Name, "damaged-") {
			t.Fatal(err)
		}
		if got := d.held() + int64(cap(im.Pix)); got != cfg.MemoryBytes {
			t.Errorf("%s: holds %d bytes, claims %d", c.Name, got, cfg.MemoryBytes)
		}
	}
}

// held is the memory of the decoder's buffers.
func (d *Decoder) held() int64 {
	n := 0
	for i := range maxComponents {
		n += cap(d.strips[i]) + cap(d.lines[i]) + 2*cap(d.coefs[i])
	}
	return int64(n)
}

// TestReadConfigForgets reads every file's header with a parser that has read others, among them one that
// breaks off in each segment, and with a new one.
func TestReadConfigForgets(t *testing.T) {
	cases := goldenCases(t)
	for i, c := range cases {
		other := cases[(i+1)%len(cases)].JPEG
		_, _ = ReadConfig(other[:len(other)/(1+i%7)])
		got, gotErr := ReadConfig(c.JPEG)
		var p parser
		if err := p.readHeader(c.JPEG); (err == nil) != (gotErr == nil) || err == nil && got != p.config() {
			t.Errorf("%s: %+v, %v; a new parser: %+v, %v", c.Name, got, gotErr, p.config(), err)
		}
	}
}
