package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// littleEndian tells whether this machine stores floats as the files do.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Len is the number of elements.
func (t Tensor) Len() int { return product(t.Shape) }

// Float32s returns the elements as float32, exactly: every stored type is a subset of it.
//
// With dst nil, an aligned FP32 tensor is returned as a view of Data: it must not be written and ends
// with Model.Close. In every other case the result is the caller's: dst's memory where it is large
// enough, else new memory. Types other than FP32, FP16 and BF16 do not occur in a loaded model; they panic.
func (t Tensor) Float32s(dst []float32) []float32 {
	n := t.Len()
	if t.DType == tensor.FP32 && dst == nil && littleEndian && aligned(t.Data) {
		if n == 0 {
			return []float32{}
		}
		return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(t.Data))), n)
	}
	if cap(dst) < n {
		dst = make([]float32, n)
	}
	dst = dst[:n]
	t.convert(dst, 0)
	return dst
}

// convert fills dst with the elements from first on.
func (t Tensor) convert(dst []float32, first int) {
	size := t.DType.Size()
	src := t.Data[first*size : (first+len(dst))*size]
	switch t.DType {
	case tensor.FP32:
		convertFP32(dst, src)
	case tensor.FP16:
		convertFP16(dst, src)
	case tensor.BF16:
		convertBF16(dst, src)
	default:
		panic(fmt.Sprintf("tensor %q: no conversion from %s to float32", t.Name, t.DType))
	}
}

func aligned(b []byte) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%4 == 0 }

// asBytes views floats as the memory they are.
func asBytes(f []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

func convertFP32(dst []float32, src []byte) {
	if littleEndian {
		copy(asBytes(dst), src)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func convertBF16(dst []float32, src []byte) {
	for i := range dst {
		s := src[:2]
		src = src[2:]
		dst[i] = math.Float32frombits(uint32(s[0])<<16 | uint32(s[1])<<24)
	}
}

// convertFP16 moves sign, exponent and mantissa to float32's places. A normal number needs its
// exponent's bias changed from 15 to 127; a subnormal one has its value after a multiplication with
// 2^112, which is exact; infinities and NaNs keep an exponent of all ones.
func convertFP16(dst []float32, src []byte) {
	for i := range dst {
		s := src[:2]
		src = src[2:]
		h := uint32(s[0]) | uint32(s[1])<<8
		sign, rest := h&0x8000<<16, h&0x7fff<<13
		switch h & 0x7c00 {
		default:
			dst[i] = math.Float32frombits(sign | (rest + 112<<23))
		case 0:
			dst[i] = math.Float32frombits(sign|rest) * 0x1p112
		case 0x7c00:
			dst[i] = math.Float32frombits(sign | 0x7f800000 | rest)
		}
	}
}
