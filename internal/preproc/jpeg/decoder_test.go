package jpeg

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// TestEveryTruncationIsRefused cuts files at each length: no prefix is an image, and none panics.
func TestEveryTruncationIsRefused(t *testing.T) {
	for _, codec := range codecs(t) {
		for _, name := range []string{"size-9x7-420", "size-17x15-422", "restart-1-block"} {
			data := goldenFile(t, name)
			var im raster.Image
			for n := range data {
				if err := codec.Decode(data[:n], &im); err == nil {
					t.Fatalf("%s, %s: %d of %d bytes decode", codec.Name(), name, n, len(data))
				}
			}
			if err := codec.Decode(data, &im); err != nil {
				t.Errorf("%s, %s whole: %v", codec.Name(), name, err)
			}
		}
	}
}

// patch is data with the bytes at off replaced; off counts from the segment's marker byte.
func patch(t *testing.T, data []byte, marker byte, off int, b ...byte) []byte {
	t.Helper()
	i := bytes.Index(data, []byte{0xFF, marker})
	if i < 0 {
		t.Fatalf("no marker %#02x", marker)
	}
	out := bytes.Clone(data)
	copy(out[i+1+off:], b)
	return out
}

func TestRefusals(t *testing.T) {
	grey, colour := goldenFile(t, "grey"), goldenFile(t, "restart-1-block")
	progressive := goldenFile(t, "astronaut-420-progressive")
	for _, c := range []struct {
		name string
		data []byte
		want fault.Kind
	}{
		{"empty", nil, fault.UnsupportedMedia},
		{"PNG", []byte("\x89PNG\r\n\x1a\n"), fault.UnsupportedMedia},
		{"12 bits", patch(t, grey, mSOF0, 3, 12), fault.UnsupportedMedia},
		{"lossless", patch(t, grey, mSOF0, 0, 0xC3), fault.UnsupportedMedia},
		{"hierarchical", patch(t, grey, mSOF0, 0, 0xC5), fault.UnsupportedMedia},
		{"arithmetic", patch(t, grey, mSOF0, 0, 0xC9), fault.UnsupportedMedia},
		{"height 0", patch(t, grey, mSOF0, 4, 0, 0), fault.Invalid},
		{"width 0", patch(t, grey, mSOF0, 6, 0, 0), fault.Invalid},
		{"too wide", patch(t, grey, mSOF0, 6, 0xFF, 0xFF), fault.TooLarge},
		{"component count", patch(t, grey, mSOF0, 8, 2), fault.Invalid},
		{"sampling factor 0", patch(t, colour, mSOF0, 10, 0x02), fault.Invalid},
		{"sampling 3 of 2", patch(t, colour, mSOF0, 10, 0x31, 1, 2, 0x21), fault.UnsupportedMedia},
		{"no quantisation table", patch(t, grey, mSOF0, 11, 3), fault.Invalid},
		{"quantisation slot 4", patch(t, grey, mDQT, 3, 4), fault.Invalid},
		{"Huffman slot 4", patch(t, grey, mDHT, 3, 4), fault.Invalid},
		{"Huffman counts", patch(t, grey, mDHT, 4, 3), fault.Invalid},
		{"scan of another component", patch(t, grey, mSOS, 4, 9), fault.Invalid},
		{"wrong restart marker", patch(t, colour, mRST0+2, 0, mRST0+5), fault.Invalid},
		{"end marker for a restart marker", patch(t, colour, mRST0+2, 0, mEOI), fault.Invalid},
		{"bit position 14", patch(t, progressive, mSOS, 12, 0x0E), fault.Invalid},
		{"segment of length 1", patch(t, grey, mDQT, 1, 0, 1), fault.Invalid},
		{"only the ends", []byte{0xFF, mSOI, 0xFF, mEOI}, fault.Invalid},
	} {
		for _, codec := range codecs(t) {
			var im raster.Image
			if err := codec.Decode(c.data, &im); fault.KindOf(err) != c.want || err == nil {
				t.Errorf("%s, %s: %v (%v), want kind %v", c.name, codec.Name(), err, fault.KindOf(err), c.want)
			}
		}
	}
}

// TestScanLimit repeats a cheap scan, as a file does that wants much work for few bytes.
func TestScanLimit(t *testing.T) {
	data := goldenFile(t, "grey-progressive")
	first := bytes.Index(data, []byte{0xFF, mSOS})
	second := first + 2 + bytes.Index(data[first+2:], []byte{0xFF, mDHT})
	bomb := bytes.Clone(data[:second])
	for range maxScans {
		bomb = append(bomb, data[first:second]...)
	}
	bomb = append(bomb, 0xFF, mEOI)
	for _, codec := range codecs(t) {
		var im raster.Image
		if err := codec.Decode(bomb, &im); err == nil || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", codec.Name(), err)
		}
	}
}

func TestMaxPixelsIsCheckedBeforeAllocation(t *testing.T) {
	huge := patch(t, goldenFile(t, "coffee-420-progressive"), mSOF2, 4, 0xFF, 0xDC, 0xFF, 0xDC)
	for _, codec := range codecs(t) {
		codec.MaxPixels = 50e6
		var im raster.Image
		err := codec.Decode(huge, &im)
		if err == nil || fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%s: %v", codec.Name(), err)
		}
		if cap(im.Pix) != 0 {
			t.Errorf("%s: %d bytes allocated", codec.Name(), cap(im.Pix))
		}
	}
	d := Decoder{MaxPixels: 50e6}
	if err := d.Decode(huge, &raster.Image{}); fault.KindOf(err) != fault.TooLarge || d.held() != 0 {
		t.Errorf("%v, %d bytes held", err, d.held())
	}
}

func TestWarmDecoderDoesNotAllocate(t *testing.T) {
	var d Decoder
	var im raster.Image
	for _, name := range []string{"coffee-420-q90", "coffee-420-progressive", "cmyk", "grey"} {
		data := goldenFile(t, name)
		decode := func() {
			if err := d.Decode(data, &im); err != nil {
				t.Fatal(err)
			}
		}
		decode()
		if n := testing.AllocsPerRun(5, decode); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestDecoderForgets decodes every pair of neighbours in the golden list with one decoder: a file must not
// see the tables, the predictions or the coefficients of the one before.
func TestDecoderForgets(t *testing.T) {
	cases := goldenCases(t)
	var warm Decoder
	for i := len(cases) - 1; i >= 0; i-- {
		var cold Decoder
		var a, b raster.Image
		errWarm, errCold := warm.Decode(cases[i].JPEG, &a), cold.Decode(cases[i].JPEG, &b)
		if (errWarm == nil) != (errCold == nil) {
			t.Fatalf("%s: warm %v, cold %v", cases[i].Name, errWarm, errCold)
		}
		if errCold == nil && !bytes.Equal(a.Pix, b.Pix) {
			t.Errorf("%s: a warm decoder gives other pixels", cases[i].Name)
		}
	}
}

// TestMissingTablesAreStandard decodes a file without Huffman tables after one that has its own: libjpeg
// would use those.
func TestMissingTablesAreStandard(t *testing.T) {
	var want raster.Image
	var d Decoder
	if err := d.Decode(goldenFile(t, "no-huffman-tables"), &want); err != nil {
		t.Fatal(err)
	}
	for _, codec := range codecs(t) {
		var im raster.Image
		for _, name := range []string{"optimized", "no-huffman-tables"} {
			if err := codec.Decode(goldenFile(t, name), &im); err != nil {
				t.Fatalf("%s, %s: %v", codec.Name(), name, err)
			}
		}
		if !bytes.Equal(im.Pix, want.Pix) {
			t.Errorf("%s: other pixels after a file with tables", codec.Name())
		}
	}
}

func TestCodecIsConcurrent(t *testing.T) {
	cases := goldenCases(t)
	for _, codec := range codecs(t) {
		want := make([]raster.Image, len(cases))
		for i, c := range cases {
			if c.Error == "" && !strings.HasPrefix(c.Name, "damaged-") {
				if err := codec.Decode(c.JPEG, &want[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				var im raster.Image
				for i := range cases {
					i = (i + worker*31) % len(cases)
					if want[i].Pix == nil {
						continue
					}
					if err := codec.Decode(cases[i].JPEG, &im); err != nil || !bytes.Equal(im.Pix, want[i].Pix) {
						t.Errorf("%s: %v, or other pixels", cases[i].Name, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestBackendChoice(t *testing.T) {
	if _, err := New("fast"); err == nil {
		t.Error("an unknown backend was accepted")
	}
	auto, err := New(Auto)
	if err != nil {
		t.Fatal(err)
	}
	_, loadErr := Turbo()
	if (auto.Fallback() == nil) != (loadErr == nil) || (auto.Name() == "go") != (loadErr != nil) {
		t.Errorf("auto is %s, falls back because of %v; the library: %v", auto.Name(), auto.Fallback(), loadErr)
	}
	if _, err := loadTurbo("libvitrine-no-turbojpeg.so"); err == nil {
		t.Error("a library that does not exist was loaded")
	}
}
