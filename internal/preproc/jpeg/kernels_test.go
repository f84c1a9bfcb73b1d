package jpeg

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestDouble compares the lanes with the filter's definition at every width and at the extremes.
func TestDouble(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := 2; n < 70; n++ {
		near, far := make([]byte, n), make([]byte, n)
		for i := range near {
			near[i], far[i] = byte(r.Uint32()), byte(r.Uint32())
			if n%3 == 0 {
				near[i], far[i] = near[i]&1*255, far[i]&1*255
			}
		}
		got := make([]byte, 2*n)
		triangleHV(got, near, far)
		if want := doubleReference(near, far, 8, 7); !bytes.Equal(got, want) {
			t.Fatalf("width %d:\ngot  %v\nwant %v", n, got, want)
		}
		triangleH(got, near)
		if want := doubleReference(near, near, 4, 8); !bytes.Equal(got, want) {
			t.Fatalf("one line, width %d:\ngot  %v\nwant %v", n, got, want)
		}
	}
}

func doubleReference(near, far []byte, left, right int) []byte {
	s := func(i int) int {
		i = min(max(i, 0), len(near)-1)
		return 3*int(near[i]) + int(far[i])
	}
	var out []byte
	for i := range near {
		out = append(out, byte((3*s(i)+s(i-1)+left)/16), byte((3*s(i)+s(i+1)+right)/16))
	}
	return out
}

// TestColour goes through all 16.8 million YCbCr triples, both as pixels and as a line.
func TestColour(t *testing.T) {
	sat := func(v int) uint32 { return uint32(min(max(v, 0), 255)) }
	line := [maxComponents][]byte{make([]byte, 256), make([]byte, 256), make([]byte, 256)}
	rgb := make([]byte, 3*256)
	for cb := range 256 {
		for cr := range 256 {
			r := (91881*(cr-128) + 32768) >> 16
			g := (-22554*(cb-128) - 46802*(cr-128) + 32768) >> 16
			b := (116130*(cb-128) + 32768) >> 16
			for y := range 256 {
				line[0][y], line[1][y], line[2][y] = byte(y), byte(cb), byte(cr)
			}
			yccRow(rgb, &line, 256)
			for y := range 256 {
				want := sat(y+r) | sat(y+g)<<8 | sat(y+b)<<16
				if got := yccPixel(byte(y), byte(cb), byte(cr)); got != want {
					t.Fatalf("Y %d Cb %d Cr %d: %06x, want %06x", y, cb, cr, got, want)
				}
				if got := uint32(rgb[3*y]) | uint32(rgb[3*y+1])<<8 | uint32(rgb[3*y+2])<<16; got != want {
					t.Fatalf("Y %d Cb %d Cr %d in a line: %06x, want %06x", y, cb, cr, got, want)
				}
			}
		}
	}
}

func TestExtend(t *testing.T) {
	for _, c := range []struct {
		bits int32
		size uint
		want int32
	}{{0, 1, -1}, {1, 1, 1}, {0, 2, -3}, {1, 2, -2}, {2, 2, 2}, {3, 2, 3}, {0, 15, -32767}, {1 << 14, 15, 1 << 14}} {
		if got := extend(c.bits, c.size); got != c.want {
			t.Errorf("%d in %d bits: %d, want %d", c.bits, c.size, got, c.want)
		}
	}
}

func TestHasFF(t *testing.T) {
	for _, w := range []uint32{0, 0xFEFEFEFE, 0x7F7F7F7F, 0x00FE01FE, 0x80808080, 0xFE00FE01} {
		if hasFF(w) {
			t.Errorf("%08x", w)
		}
		for shift := 0; shift < 32; shift += 8 {
			if !hasFF(w | 0xFF<<shift) {
				t.Errorf("%08x", w|0xFF<<shift)
			}
		}
	}
}
