package embedapi

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

func checkFloat(t *testing.T, f float32) {
	t.Helper()
	if f-f != 0 {
		return
	}
	got, want := string(appendFloat(nil, f)), string(strconv.AppendFloat(nil, float64(f), 'g', -1, 32))
	if got != want {
		t.Fatalf("%x: %s, want %s", math.Float32bits(f), got, want)
	}
}

func TestAppendFloat(t *testing.T) {
	for _, f := range []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.1, 0.01, 0.001, 1e-4, 1e-5, 0.5, 0.25, 0.3, 0.099999994, 0.99999994, 0.0099999998, 123.5, 1e20, 3e-45, math.MaxFloat32} {
		for d := -3; d <= 3; d++ {
			checkFloat(t, math.Float32frombits(math.Float32bits(f)+uint32(d)))
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	low, high := math.Float32bits(9e-5), math.Float32bits(1.1)
	n := 2_000_000
	if testing.Short() {
		n = 50_000
	}
	for range n {
		checkFloat(t, math.Float32frombits(low+rng.Uint32N(high-low)|rng.Uint32()&(1<<31)))
	}
	for n := range 10_000 { // short decimals
		checkFloat(t, float32(n)/10_000)
		checkFloat(t, float32(n)/1e7)
	}
}

func FuzzAppendFloat(f *testing.F) {
	f.Add(uint32(0x3dcccccd))
	f.Fuzz(func(t *testing.T, bits uint32) { checkFloat(t, math.Float32frombits(bits)) })
}
