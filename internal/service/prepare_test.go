package service

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestCopyTensor reads values as the protocols send them, from an address that suits no float, by the
// way for machines of their byte order and by the one for others.
func TestCopyTensor(t *testing.T) {
	want := []float32{0, 1, -2.5, math.Pi, math.SmallestNonzeroFloat32, -math.MaxFloat32, float32(math.Inf(1))}
	src := []byte{0xff}
	for _, v := range want {
		src = binary.LittleEndian.AppendUint32(src, math.Float32bits(v))
	}
	for name, do := range map[string]func(row, src []byte){"machine": copyTensor, "by value": swapTensor} {
		row := tensor.AlignedBytes(4 * len(want))
		do(row, src[1:])
		if got := tensor.Float32s(row); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func BenchmarkCopyTensor(b *testing.B) {
	src := bytes.Repeat([]byte{1, 2, 3}, 4*224*224)
	row := tensor.AlignedBytes(len(src))
	for name, do := range map[string]func(row, src []byte){"machine": copyTensor, "by value": swapTensor} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				do(row, src)
			}
		})
	}
}
