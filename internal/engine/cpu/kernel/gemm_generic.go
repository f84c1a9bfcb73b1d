package kernel

import "unsafe"

const genericTile = 4

func genericGemm(name string, convert func(dst, src []float32)) *gemm {
	g := &gemm{name: name, rows: genericTile, cols: genericTile, convert: convert}
	for i := range genericTile {
		g.tiles[i] = tileGeneric
	}
	return g
}

// tileGeneric computes a tile of 4 by 4 in registers. It computes four rows even where fewer are
// wanted, so that a row's arithmetic is the same in every tile.
func tileGeneric(t *tile) {
	var acc [genericTile][genericTile]float32
	for r := range t.rows {
		if t.in != nil {
			acc[r] = *(*[genericTile]float32)(unsafe.Add(t.in, r*t.inStride))
		}
	}
	multiplyGeneric(&acc, unsafe.Slice((*float32)(t.a), 3*aStride+int(t.k)), unsafe.Slice((*float32)(t.b), genericTile*int(t.k)))
	for r := range t.rows {
		if t.add != nil {
			for c, x := range (*[genericTile]float32)(unsafe.Add(t.add, r*t.addStride)) {
				acc[r][c] += x
			}
		}
		*(*[genericTile]float32)(unsafe.Add(t.out, r*t.outStride)) = acc[r]
	}
}

func multiplyGeneric(acc *[genericTile][genericTile]float32, a, b []float32) {
	k := len(b) / genericTile
	a0, a1, a2, a3 := a[:k], a[aStride:][:k], a[2*aStride:][:k], a[3*aStride:][:k]
	c00, c01, c02, c03 := acc[0][0], acc[0][1], acc[0][2], acc[0][3]
	c10, c11, c12, c13 := acc[1][0], acc[1][1], acc[1][2], acc[1][3]
	c20, c21, c22, c23 := acc[2][0], acc[2][1], acc[2][2], acc[2][3]
	c30, c31, c32, c33 := acc[3][0], acc[3][1], acc[3][2], acc[3][3]
	for i := range k {
		x := (*[genericTile]float32)(b[genericTile*i:])
		x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
		y := a0[i]
		c00, c01, c02, c03 = c00+y*x0, c01+y*x1, c02+y*x2, c03+y*x3
		y = a1[i]
		c10, c11, c12, c13 = c10+y*x0, c11+y*x1, c12+y*x2, c13+y*x3
		y = a2[i]
		c20, c21, c22, c23 = c20+y*x0, c21+y*x1, c22+y*x2, c23+y*x3
		y = a3[i]
		c30, c31, c32, c33 = c30+y*x0, c31+y*x1, c32+y*x2, c33+y*x3
	}
	*acc = [genericTile][genericTile]float32{
		{c00, c01, c02, c03}, {c10, c11, c12, c13}, {c20, c21, c22, c23}, {c30, c31, c32, c33},
	}
}
