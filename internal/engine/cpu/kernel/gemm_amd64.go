//go:build amd64 && !noasm

package kernel

//go:generate go run -C gen ./gemm

import (
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/cpufeat"
)

func init() {
	for p, convert := range map[Precision]func(dst, src []float32){F32: copyUnits, BF16: roundUnits} {
		gemms[p].Register(cpufeat.AVX2, &gemm{name: "avx2", rows: 6, cols: 16, convert: convert, tiles: tilesAVX2})
		gemms[p].Register(cpufeat.AVX512, &gemm{name: "avx512", rows: 13, cols: 32, convert: convert, tiles: tilesAVX512})
	}
	gemms[BF16].Register(cpufeat.AVX512BF16, &gemm{name: "avx512_bf16", rows: 13, cols: 32, pairs: true, convert: pairUnitsBF16, tiles: tilesBF16})
}

// pairUnitsBF16 is pairUnits, vectorised.
func pairUnitsBF16(dst, src []float32) {
	const step = 32
	whole := len(src) &^ (step - 1)
	if whole > 0 {
		pairsBF16(unsafe.SliceData(dst), unsafe.SliceData(src), whole)
	}
	if whole < len(src) {
		pairUnits(dst[whole/2:], src[whole:])
	}
}
