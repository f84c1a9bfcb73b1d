// Command gen writes the assembly of the two passes of resizing, for AVX2.
//
// A weight of 22 fractional bits does not fit the 16-bit multiplier that adds pairs (VPMADDWD), so it
// is split: weight = high*2048 + low, 0 <= low < 2048. The two sums are joined at the end, modulo
// 2^32, which is exact because the whole sum fits. Weights lie in pairs of taps: low0 low1, high0
// high1 (16 bits each), then those of the next two taps, padded with zeros to four taps.
package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	splitBits     = 11
	precisionBits = 22
)

func main() {
	ConstraintExpr("amd64,!noasm")
	vertical()
	horizontal(3)
	horizontal(4)
	Generate()
}

// dwords is a read-only vector of eight 32-bit values.
func dwords(name string, at func(i int) uint32) Mem {
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i := range 8 {
		DATA(4*i, U32(at(i)))
	}
	return m
}

// half is what rounds a sum, in every lane.
func half() Mem {
	if halfData == nil {
		m := dwords("half", func(int) uint32 { return 1 << (precisionBits - 1) })
		halfData = &m
	}
	return *halfData
}

var halfData *Mem

func zero(v VecVirtual) VecVirtual {
	VPXOR(v, v, v)
	return v
}

// vertical: 32 columns at a time, the last block overlapping the one before.
func vertical() {
	TEXT("verticalAVX2", attr.NOSPLIT, "func(dst *byte, n int, src *byte, step int, words *int32, taps int)")
	Pragma("noescape")
	Doc("verticalAVX2 sets n bytes, at least 32, to the weighted sum of taps rows of src, step bytes apart.")
	dst := Load(Param("dst"), GP64())
	n := Load(Param("n"), GP64())
	src := Load(Param("src"), GP64())
	words := Load(Param("words"), GP64())
	x := GP64()
	XORQ(x, x)

	Label("block")
	var low, high [4]VecVirtual
	for i := range low {
		low[i] = YMM()
		VMOVDQU(half(), low[i])
		high[i] = zero(YMM())
	}
	p, w, taps, step := GP64(), GP64(), GP64(), GP64()
	Comment("two rows at a time; a last single row is paired with itself, its second weight is zero")
	LEAQ(Mem{Base: src, Index: x, Scale: 1}, p)
	MOVQ(words, w)
	Load(Param("taps"), taps)
	Load(Param("step"), step)
	none := zero(YMM())
	single := GP64()
	XORQ(single, single)

	Label("pair")
	CMPQ(taps, Imm(1))
	CMOVQEQ(single, step)
	a, b, even := YMM(), YMM(), YMM()
	VMOVDQU(Mem{Base: p}, a)
	VMOVDQU(Mem{Base: p, Index: step, Scale: 1}, b)
	VPUNPCKLBW(b, a, even)
	VPUNPCKHBW(b, a, a)
	kl, kh := YMM(), YMM()
	VPBROADCASTD(Mem{Base: w}, kl)
	VPBROADCASTD(Mem{Base: w, Disp: 4}, kh)
	for i := range low {
		from, v := even, YMM()
		if i >= 2 {
			from = a
		}
		if i%2 == 0 {
			VPUNPCKLBW(none, from, v)
		} else {
			VPUNPCKHBW(none, from, v)
		}
		t := YMM()
		VPMADDWD(kl, v, t)
		VPADDD(t, low[i], low[i])
		VPMADDWD(kh, v, t)
		VPADDD(t, high[i], high[i])
	}
	LEAQ(Mem{Base: p, Index: step, Scale: 2}, p)
	ADDQ(Imm(8), w)
	SUBQ(Imm(2), taps)
	JG(LabelRef("pair"))

	for i := range low {
		VPSLLD(Imm(splitBits), high[i], high[i])
		VPADDD(high[i], low[i], low[i])
		VPSRAD(Imm(precisionBits), low[i], low[i])
	}
	VPACKSSDW(low[1], low[0], low[0])
	VPACKSSDW(low[3], low[2], low[2])
	VPACKUSWB(low[2], low[0], low[0])
	VMOVDQU(low[0], Mem{Base: dst, Index: x, Scale: 1})

	last := GP64()
	LEAQ(Mem{Base: n, Disp: -32}, last)
	CMPQ(x, last)
	JGE(LabelRef("done"))
	ADDQ(Imm(32), x)
	CMPQ(x, last)
	CMOVQGT(last, x)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}

// shuffle makes 16-bit pairs of the same channel of pixels 0 and 1 (low lane) and 2 and 3 (high lane)
// of four pixels of c bytes.
func shuffle(c int) Mem {
	m := GLOBL("pairs"+string(rune('0'+c)), attr.RODATA|attr.NOPTR)
	for lane := range 2 {
		for ch := range 4 {
			at := 16*lane + 4*ch
			first, second := byte(0x80), byte(0x80)
			if ch < c {
				first, second = byte(2*lane*c+ch), byte((2*lane+1)*c+ch)
			}
			for i, v := range []byte{first, 0x80, second, 0x80} {
				DATA(at+i, U8(v))
			}
		}
	}
	return m
}

// horizontal: four rows at once share the weights, four taps at a time.
func horizontal(c int) {
	name := "horizontal" + string(rune('0'+c)) + "AVX2"
	TEXT(name, attr.NOSPLIT, "func(dst *byte, dstStep int, src *byte, srcStep int, shift int, spans *[2]int32, count int, words *int32)")
	Pragma("noescape")
	Doc(name+" scales four rows of pixels of "+string(rune('0'+c))+" bytes. A span's first pixel lies shift bytes before where its",
		"number says. Up to 16 bytes behind the last pixel of a row are read.")
	dst := Load(Param("dst"), GP64())
	ds := Load(Param("dstStep"), GP64())
	src := Load(Param("src"), GP64())
	ss := Load(Param("srcStep"), GP64())
	shift := Load(Param("shift"), GP64())
	SUBQ(shift, src)
	spans := Load(Param("spans"), GP64())
	count := Load(Param("count"), GP64())
	words := Load(Param("words"), GP64())
	ss3 := GP64()
	LEAQ(Mem{Base: ss, Index: ss, Scale: 2}, ss3)

	mask, lows, highs := YMM(), YMM(), YMM()
	VMOVDQU(shuffle(c), mask)
	index := func(name string, base uint32) Mem {
		return dwords(name, func(i int) uint32 { return base + uint32(i/4)*2 })
	}
	suffix := string(rune('0' + c))
	VMOVDQU(index("lows"+suffix, 0), lows)
	VMOVDQU(index("highs"+suffix, 1), highs)

	Label("span")
	p, groups := GP64(), GP64()
	MOVLQSX(Mem{Base: spans}, p)
	MOVLQSX(Mem{Base: spans, Disp: 4}, groups)
	if c == 3 {
		LEAQ(Mem{Base: p, Index: p, Scale: 2}, p)
	} else {
		SHLQ(Imm(2), p)
	}
	ADDQ(src, p)
	var low, high [4]VecVirtual
	for i := range low {
		low[i], high[i] = zero(YMM()), zero(YMM())
	}

	Label("taps")
	k, kl, kh := YMM(), YMM(), YMM()
	VBROADCASTI128(Mem{Base: words}, k)
	VPERMD(k, lows, kl)
	VPERMD(k, highs, kh)
	rows := [4]Mem{{Base: p}, {Base: p, Index: ss, Scale: 1}, {Base: p, Index: ss, Scale: 2}, {Base: p, Index: ss3, Scale: 1}}
	for i, row := range rows {
		v, t := YMM(), YMM()
		VBROADCASTI128(row, v)
		VPSHUFB(mask, v, v)
		VPMADDWD(kl, v, t)
		VPADDD(t, low[i], low[i])
		VPMADDWD(kh, v, v)
		VPADDD(v, high[i], high[i])
	}
	ADDQ(Imm(16), words)
	ADDQ(Imm(uint64(4*c)), p)
	DECQ(groups)
	JNZ(LabelRef("taps"))

	var sum [4]VecVirtual
	for i := range low {
		VPSLLD(Imm(splitBits), high[i], high[i])
		VPADDD(high[i], low[i], low[i])
		sum[i] = XMM()
		VEXTRACTI128(Imm(1), low[i], sum[i])
		VPADDD(low[i].AsX(), sum[i], sum[i])
		VPADDD(half(), sum[i], sum[i])
		VPSRAD(Imm(precisionBits), sum[i], sum[i])
	}
	VPACKSSDW(sum[1], sum[0], sum[0])
	VPACKSSDW(sum[3], sum[2], sum[2])
	VPACKUSWB(sum[2], sum[0], sum[0])
	d := GP64()
	MOVQ(dst, d)
	for i := range 4 {
		if c == 3 {
			VPEXTRW(Imm(uint64(2*i)), sum[0], Mem{Base: d})
			VPEXTRB(Imm(uint64(4*i+2)), sum[0], Mem{Base: d, Disp: 2})
		} else {
			VPEXTRD(Imm(uint64(i)), sum[0], Mem{Base: d})
		}
		if i < 3 {
			ADDQ(ds, d)
		}
	}
	ADDQ(Imm(uint64(c)), dst)
	ADDQ(Imm(8), spans)
	DECQ(count)
	JNZ(LabelRef("span"))
	VZEROUPPER()
	RET()
}
