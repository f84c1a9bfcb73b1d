package service

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// ways are those for machines of the protocols' byte order and for others.
var ways = map[string]func(row []byte, src tensor.Pieces){"machine": copyTensor, "by value": func(row []byte, src tensor.Pieces) {
	src.CopyTo(row)
	fromLittleEndian(row)
}}

// TestCopyTensor reads values as the protocols send them, from an address that suits no float.
func TestCopyTensor(t *testing.T) {
	want := []float32{0, 1, -2.5, math.Pi, math.SmallestNonzeroFloat32, -math.MaxFloat32, float32(math.Inf(1))}
	src := []byte{0xff}
	for _, v := range want {
		src = binary.LittleEndian.AppendUint32(src, math.Float32bits(v))
	}
	for name, do := range ways {
		row := tensor.AlignedBytes(4 * len(want))
		do(row, tensor.Whole(src[1:]))
		if got := tensor.Float32s(row); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func BenchmarkCopyTensor(b *testing.B) {
	src := bytes.Repeat([]byte{1, 2, 3}, 4*224*224)
	row := tensor.AlignedBytes(len(src))
	for name, do := range ways {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				do(row, tensor.Whole(src))
			}
		})
	}
}
