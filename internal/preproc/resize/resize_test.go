package resize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// synthetic is the image that testdata/golden.py resizes: the same formula.
func synthetic(mode raster.Mode, w, h int) *raster.Image {
	im := new(raster.Image)
	im.Reset(mode, w, h)
	for i := range im.Pix {
		n := uint64(i)
		im.Pix[i] = byte(uint32(n*2654435761+n*n*40503) >> 24)
		if mode == raster.Bit {
			im.Pix[i] = im.Pix[i] >> 7 * 255
		}
	}
	return im
}

type golden struct {
	Mode     raster.Mode
	Src, Dst [2]int
	Filter   string
	SHA256   string
}

func (g golden) filter() Filter {
	if g.Filter == "bilinear" {
		return Bilinear
	}
	return Bicubic
}

func readGolden(t testing.TB) []golden {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Pillow  string
		Resizes []golden
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if file.Pillow != "13.0.0" || len(file.Resizes) < 100 {
		t.Fatalf("golden file of Pillow %s with %d cases", file.Pillow, len(file.Resizes))
	}
	return file.Resizes
}

// Every variant must give Pillow's pixels.
func TestPillow(t *testing.T) {
	variants.ForTest(func(v cpufeat.Variant[*passes]) {
		var s Scratch
		for _, g := range readGolden(t) {
			var dst raster.Image
			r := Rect{0, 0, g.Dst[0], g.Dst[1]}
			s.into(&dst, synthetic(g.Mode, g.Src[0], g.Src[1]), g.Dst[0], g.Dst[1], r, g.filter(), v.Impl)
			sum := sha256.Sum256(dst.Pix)
			if hex.EncodeToString(sum[:]) != g.SHA256 {
				t.Errorf("%s: %s %v to %v %s: pixels differ from Pillow's", v.Name(), g.Mode, g.Src, g.Dst, g.Filter)
			}
		}
	})
}

// Variants must agree on every shape, parts and both orders of the passes included, and must not read
// or write beyond the images.
func TestVariantsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	modes := []raster.Mode{raster.L, raster.LA, raster.RGB, raster.RGBA, raster.CMYK}
	for range 400 {
		mode := modes[rng.IntN(len(modes))]
		w, h, width, height := 1+rng.IntN(90), 1+rng.IntN(90), 1+rng.IntN(120), 1+rng.IntN(120)
		x, y := rng.IntN(width), rng.IntN(height)
		r := Rect{x, y, 1 + rng.IntN(width-x), 1 + rng.IntN(height-y)}
		var want raster.Image
		new(Scratch).into(&want, atPageEnd(t, synthetic(mode, w, h)), width, height, r, Bicubic, &passes{horizontal8, vertical8})
		variants.ForTest(func(v cpufeat.Variant[*passes]) {
			const canary = 0xa5
			n := len(want.Pix)
			got := raster.Image{Pix: bytes.Repeat([]byte{canary}, n+64)[:n]}
			new(Scratch).into(&got, atPageEnd(t, synthetic(mode, w, h)), width, height, r, Bicubic, v.Impl)
			if !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s: %s %dx%d to %dx%d, part %v: pixels differ", v.Name(), mode, w, h, width, height, r)
			}
			for _, b := range got.Pix[:n+64][n:] {
				if b != canary {
					t.Fatalf("%s: %s %dx%d to %dx%d: wrote behind the image", v.Name(), mode, w, h, width, height)
				}
			}
		})
	}
}

// A part must be the same pixels as the part of the whole.
func TestPart(t *testing.T) {
	var s Scratch
	for _, mode := range []raster.Mode{raster.L, raster.LA, raster.RGB, raster.RGBA, raster.I16, raster.P} {
		for _, size := range [][4]int{{90, 60, 45, 30}, {30, 20, 77, 51}, {50, 40, 50, 23}, {50, 40, 31, 40}, {50, 40, 50, 40}} {
			var whole, part, want raster.Image
			w, h := size[2], size[3]
			Into(&whole, synthetic(mode, size[0], size[1]), w, h, Rect{0, 0, w, h}, Bicubic, &s)
			r := Rect{X: w / 3, Y: h / 4, W: w / 2, H: h / 2}
			Into(&part, synthetic(mode, size[0], size[1]), w, h, r, Bicubic, &s)
			want.Reset(mode, r.W, r.H)
			crop(&want, &whole, r.X, r.Y)
			if string(part.Pix) != string(want.Pix) {
				t.Errorf("%s %v: the part %v differs", mode, size, r)
			}
		}
	}
}

func TestClip(t *testing.T) {
	for v := int32(-300); v < 600; v++ {
		want := byte(min(max(v, 0), 255))
		if got := clip(v << precisionBits >> 1 << 1); v > -512 && v < 512 && got != want {
			t.Fatalf("clip(%d) = %d, want %d", v, got, want)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := cache{tables: map[axis]*table{}}
	for n := range 400 {
		c.get(axis{in: 3000 + n, out: 224, n: 224})
	}
	if c.bytes > cacheBytes {
		t.Errorf("%d bytes kept, more than %d", c.bytes, cacheBytes)
	}
	sum := 0
	for _, t := range c.tables {
		sum += t.bytes()
	}
	if sum != c.bytes {
		t.Errorf("the books say %d bytes, the tables have %d", c.bytes, sum)
	}
}

func TestConcurrent(t *testing.T) {
	src := synthetic(raster.RGB, 100, 80)
	var want raster.Image
	Into(&want, src, 50, 40, Rect{0, 0, 50, 40}, Bicubic, new(Scratch))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var s Scratch
			var got raster.Image
			for range 50 {
				Into(&got, src, 50, 40, Rect{0, 0, 50, 40}, Bicubic, &s)
				if string(got.Pix) != string(want.Pix) {
					t.Error("pixels differ")
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkInto(b *testing.B) {
	for _, mode := range []raster.Mode{raster.L, raster.RGB, raster.RGBA} {
		b.Run(string(mode)+"/640x480", func(b *testing.B) {
			src := synthetic(mode, 640, 480)
			var dst raster.Image
			var s Scratch
			b.ReportAllocs()
			for b.Loop() {
				Into(&dst, src, 298, 224, Rect{37, 0, 224, 224}, Bicubic, &s)
			}
		})
	}
}
