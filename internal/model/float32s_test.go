package model

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// all16 is every 16-bit pattern, little-endian.
func all16() []byte {
	b := make([]byte, 0, 2<<16)
	for i := range 1 << 16 {
		b = binary.LittleEndian.AppendUint16(b, uint16(i))
	}
	return b
}

func TestFloat32sOfEveryHalf(t *testing.T) {
	for d, want := range map[tensor.DType]func(uint16) float32{
		tensor.FP16: tensor.FP16ToFloat32, tensor.BF16: tensor.BF16ToFloat32,
	} {
		got := Tensor{DType: d, Shape: []int{256, 256}, Data: all16()}.Float32s(nil)
		for i, f := range got {
			if math.Float32bits(f) != math.Float32bits(want(uint16(i))) {
				t.Fatalf("%s %#04x: got %g (%#x), want %g", d, i, f, math.Float32bits(f), want(uint16(i)))
			}
		}
	}
}

func TestFloat32sOfFP32(t *testing.T) {
	want := []float32{1, -2, float32(math.Inf(1)), 1e-45}
	memory := make([]float32, 6)
	aligned := asBytes(memory)[4:20]
	for i, f := range want {
		binary.LittleEndian.PutUint32(aligned[4*i:], math.Float32bits(f))
	}
	view := Tensor{DType: tensor.FP32, Shape: []int{2, 2}, Data: aligned}.Float32s(nil)
	if !slices.Equal(view, want) {
		t.Errorf("view %v", view)
	}
	if littleEndian && unsafe.SliceData(view) != &memory[1] {
		t.Error("an aligned tensor was copied")
	}
	dst := make([]float32, 1, 8)
	if got := (Tensor{DType: tensor.FP32, Shape: []int{4}, Data: aligned}).Float32s(dst); !slices.Equal(got, want) || &got[0] != &dst[0] {
		t.Errorf("into dst: %v", got)
	}
	odd := asBytes(make([]float32, 6))[1:17]
	copy(odd, aligned)
	if got := (Tensor{DType: tensor.FP32, Shape: []int{4}, Data: odd}).Float32s(nil); !slices.Equal(got, want) {
		t.Errorf("unaligned: %v", got)
	}
	if got := (Tensor{DType: tensor.FP32, Shape: []int{0, 4}}).Float32s(nil); len(got) != 0 {
		t.Errorf("empty: %v", got)
	}
}

func BenchmarkFloat32sFP16(b *testing.B) { benchmarkFloat32s(b, tensor.FP16) }
func BenchmarkFloat32sBF16(b *testing.B) { benchmarkFloat32s(b, tensor.BF16) }

func benchmarkFloat32s(b *testing.B, d tensor.DType) {
	t := Tensor{DType: d, Shape: []int{768, 768}, Data: bytes.Repeat([]byte{0x12, 0x34, 0x57, 0xa1}, 768*384)}
	dst := make([]float32, t.Len())
	b.SetBytes(int64(len(t.Data)))
	for b.Loop() {
		t.Float32s(dst)
	}
}
