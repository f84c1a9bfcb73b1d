package preproc

import (
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// norm maps a byte of each channel to its normalised value: ((v/255) - mean) / std, every step rounded
// to float32 as torchvision's ToTensor and Normalize do.
type norm struct {
	single [3][256]float32
	half   [3][256]uint16 // the same, rounded to binary16
}

func newNorm(p Plan) *norm {
	n := new(norm)
	for c := range 3 {
		for v := range 256 {
			f := (float32(v)/255 - p.Mean[c]) / p.Std[c]
			n.single[c][v] = f
			n.half[c][v] = tensor.Float32ToFP16(f)
		}
	}
	return n
}

// float32s writes RGB pixels to planes.
func (n *norm) float32s(planes []float32, rgb []byte) {
	planar(planes, rgb, &n.single)
}

// float16s is float32s in binary16.
func (n *norm) float16s(planes []uint16, rgb []byte) {
	planar(planes, rgb, &n.half)
}

// planar splits RGB pixels into three planes, each value by its channel's table.
func planar[T float32 | uint16](planes []T, rgb []byte, table *[3][256]T) {
	n := len(rgb) / 3
	r, g, b := planes[:n], planes[n:2*n], planes[2*n:3*n]
	for i := range r {
		p := rgb[3*i:][:3:3]
		r[i], g[i], b[i] = table[0][p[0]], table[1][p[1]], table[2][p[2]]
	}
}

// halves views b as binary16 values in the machine's byte order.
func halves(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), len(b)/2)
}
