//go:build !noasm

package resize

import "github.com/vitrine-project/vitrine/internal/cpufeat"

//go:generate go run -C gen . -out ../resize_amd64.s -stubs ../resize_amd64_gen.go -pkg resize

func init() {
	variants.Register(cpufeat.AVX2, &passes{horizontalSIMD, verticalSIMD})
}

// horizontalSIMD takes rows in fours, as long as 16 bytes follow the last of them, and leaves the rest,
// and pixels of one or two bytes, to the portable pass.
func horizontalSIMD(dst, src []byte, c, n, first int, t *table) {
	const behind = 16
	out := c * len(t.spans)
	for c >= 3 && len(src) >= 4*n+behind {
		if c == 3 {
			horizontal3AVX2(&dst[0], out, &src[0], n, first*c, &t.packed[0], len(t.packed), &t.words[0])
		} else {
			horizontal4AVX2(&dst[0], out, &src[0], n, first*c, &t.packed[0], len(t.packed), &t.words[0])
		}
		dst, src = dst[4*out:], src[4*n:]
	}
	horizontal8(dst, src, c, n, first, t)
}

// verticalSIMD leaves rows narrower than one block to the portable pass.
func verticalSIMD(dst, src []byte, n, step, first int, t *table, sum []int32) {
	const block = 32
	if n < block {
		vertical8(dst, src, n, step, first, t, sum)
		return
	}
	at := 0
	for i, s := range t.spans {
		row := src[(int(s.first)-first)*step:]
		_ = row[(int(s.n)-1)*step+n-1]
		verticalAVX2(&dst[i*n : i*n+n][0], n, &row[0], step, &t.words[at], int(s.n))
		at += 4 * int(t.packed[i][1])
	}
}
