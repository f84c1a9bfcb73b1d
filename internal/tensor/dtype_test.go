package tensor

import (
	"math"
	"testing"
)

func TestFP16RoundTripsEveryValue(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := FP16ToFloat32(h)
		if f != f {
			if g := FP16ToFloat32(Float32ToFP16(f)); g == g {
				t.Fatalf("%#04x: NaN became %g", h, g)
			}
			continue
		}
		if got := Float32ToFP16(f); got != h {
			t.Fatalf("%#04x -> %g -> %#04x", h, f, got)
		}
	}
}

func TestFP16RoundsToNearestEven(t *testing.T) {
	for _, c := range []struct {
		in   float32
		want uint16
	}{
		{1 + 0x1p-11, 0x3c00}, {1 + 3*0x1p-11, 0x3c02}, {65504, 0x7bff}, {65519, 0x7bff},
		{65520, 0x7c00}, {-1e9, 0xfc00}, {0x1p-25, 0}, {0x1.8p-25, 1}, {3 * 0x1p-25, 2},
		{float32(math.Copysign(0, -1)), 0x8000},
	} {
		if got := Float32ToFP16(c.in); got != c.want {
			t.Errorf("%g: %#04x, want %#04x", c.in, got, c.want)
		}
	}
}

func TestBF16(t *testing.T) {
	for _, c := range []struct {
		in   float32
		want uint16
	}{
		{1, 0x3f80}, {1 + 0x1p-8, 0x3f80}, {1 + 3*0x1p-8, 0x3f82}, {1 + 0x1.8p-8, 0x3f81},
		{math.MaxFloat32, 0x7f80}, {float32(math.Inf(-1)), 0xff80},
	} {
		if got := Float32ToBF16(c.in); got != c.want {
			t.Errorf("%g: %#04x, want %#04x", c.in, got, c.want)
		}
	}
	if f := BF16ToFloat32(Float32ToBF16(float32(math.NaN()))); f == f {
		t.Errorf("NaN became %g", f)
	}
}

func TestNamesRoundTrip(t *testing.T) {
	for d := Bool; d <= Bytes; d++ {
		if Parse(d.String()) != d {
			t.Errorf("%v does not parse back", d)
		}
	}
	if Parse("INVALID") != Invalid || Parse("float32") != Invalid {
		t.Error("an unknown name parsed")
	}
}

func TestAligned(t *testing.T) {
	for n := 1; n < 200; n += 7 {
		f := AlignedFloat32s(n)
		if len(f) != n {
			t.Fatalf("len %d, want %d", len(f), n)
		}
		b := BytesOf(f)
		if len(b) != 4*n || &Float32s(b)[0] != &f[0] {
			t.Fatal("views differ")
		}
	}
}
