package tensor

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestE4M3EqualsTorch: testdata/e4m3.py wrote what torch.float8_e4m3fn does.
func TestE4M3EqualsTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/e4m3.json")
	if err != nil {
		t.Fatal(err)
	}
	var torch struct {
		Codes, From []uint32
		To          []int // not bytes, which JSON would hold as base64
	}
	if err := json.Unmarshal(data, &torch); err != nil {
		t.Fatal(err)
	}
	if len(torch.Codes) != 256 || len(torch.From) < 3000 || len(torch.To) != len(torch.From) {
		t.Fatalf("%d codes, %d numbers, %d results", len(torch.Codes), len(torch.From), len(torch.To))
	}
	for code, bits := range torch.Codes {
		got, want := E4M3ToFloat32(uint8(code)), math.Float32frombits(bits)
		if got != got && want != want {
			continue
		}
		if math.Float32bits(got) != bits {
			t.Errorf("code %#02x is %g, torch says %g", code, got, want)
		}
	}
	for i, bits := range torch.From {
		if got := Float32ToE4M3(math.Float32frombits(bits)); int(got) != torch.To[i] {
			t.Errorf("%g becomes %#02x (%g), torch's %#02x", math.Float32frombits(bits), got, E4M3ToFloat32(got), torch.To[i])
		}
	}
}

func TestE4M3RoundTripsEveryCode(t *testing.T) {
	for i := range 256 {
		f := E4M3ToFloat32(uint8(i))
		if f != f {
			if i&0x7f != 0x7f || Float32ToE4M3(f)&0x7f != 0x7f {
				t.Errorf("%#02x: NaN became %#02x", i, Float32ToE4M3(f))
			}
			continue
		}
		if got := Float32ToE4M3(f); got != uint8(i) {
			t.Errorf("%#02x -> %g -> %#02x", i, f, got)
		}
	}
}

// TestE4M3IsNearest: no code is nearer than the one that was chosen.
func TestE4M3IsNearest(t *testing.T) {
	for i := range 4000 {
		f := float32(math.Exp(float64(i)/200-12)) * float32(1-2*(i%2))
		got := math.Abs(float64(E4M3ToFloat32(Float32ToE4M3(f)) - f))
		for code := range 256 {
			if d := math.Abs(float64(E4M3ToFloat32(uint8(code)) - f)); d < got && math.Abs(float64(f)) <= MaxE4M3 {
				t.Fatalf("%g becomes %g, %g is nearer", f, E4M3ToFloat32(Float32ToE4M3(f)), E4M3ToFloat32(uint8(code)))
			}
		}
	}
}
