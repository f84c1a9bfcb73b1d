// Command vector writes the assembly of the elementwise kernels (LayerNorm, GELU, softmax) and of
// attention's small products, for AVX-512 and for AVX2, from one description.
//
// Every function works in steps of 16 float32 values: one ZMM or two YMM registers.
package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const step = 16

// isa is an instruction set: how wide a register is, and how large a block of attention's product
// its register file holds.
type isa struct {
	suffix  string
	lanes   int
	columns []int // widths of column blocks in registers, widest first
	vec     func() VecVirtual
}

var isas = []isa{
	{"AVX512", 16, []int{4, 1}, ZMM},
	{"AVX2", 8, []int{2}, YMM},
}

func (s isa) wide() bool { return s.lanes == 16 }

// per is the number of registers in one step.
func (s isa) per() int { return step / s.lanes }

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, s := range isas {
		layerNorm(s)
		gelu(s)
		quickGELU(s)
		softmax(s)
		mulRows(s)
	}
	Generate()
}

var globals = map[string]Mem{}

// table is a read-only array of n copies of a 32-bit value.
func table(bits uint32, n int) Mem {
	name := fmt.Sprintf("v%d_%08x", n, bits)
	if m, ok := globals[name]; ok {
		return m
	}
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i := range n {
		DATA(4*i, U32(bits))
	}
	globals[name] = m
	return m
}

// function holds the constants of the function that is being written: in registers where there are
// 32 of them, else in memory.
type function struct {
	isa
	held map[uint32]Op
}

func begin(s isa, name, doc, signature string) *function {
	TEXT(name+s.suffix, attr.NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + s.suffix + " " + doc)
	return &function{isa: s, held: map[uint32]Op{}}
}

func (f *function) end() {
	VZEROUPPER()
	RET()
}

// constants makes values available to value; called before the first loop.
func (f *function) constants(values ...float32) {
	for _, v := range values {
		f.bits(math.Float32bits(v))
	}
}

func (f *function) bits(b uint32) {
	if f.wide() {
		f.held[b] = f.broadcast(b)
	} else {
		f.held[b] = table(b, f.lanes)
	}
}

// broadcast puts a constant in a register of its own.
func (f *function) broadcast(b uint32) VecVirtual {
	r := f.vec()
	VBROADCASTSS(table(b, 1), r)
	return r
}

func (f *function) hold(v float32) VecVirtual { return f.broadcast(math.Float32bits(v)) }

func (f *function) value(v float32) Op { return f.valueBits(math.Float32bits(v)) }

func (f *function) valueBits(b uint32) Op {
	op, ok := f.held[b]
	if !ok {
		panic(fmt.Sprintf("constant %#x was not prepared", b))
	}
	return op
}

// zero is a register of zeroes. The wide one is loaded: avo takes a wide register xored with itself
// for one that is live from the function's start.
func (f *function) zero() VecVirtual {
	if f.wide() {
		return f.broadcast(0)
	}
	r := f.vec()
	VXORPS(r, r, r)
	return r
}

func pointer(name string) GPVirtual {
	r := GP64()
	Load(Param(name).Base(), r)
	return r
}

func length(name string) GPVirtual {
	r := GP64()
	Load(Param(name).Len(), r)
	return r
}

// loop runs body for i = 0, 16, ... below n; body gets the index of each register of a step.
func (f *function) loop(name string, n GPVirtual, body func(i GPVirtual, v int)) {
	i := GP64()
	XORQ(i, i)
	Label(name)
	CMPQ(i, n)
	JGE(LabelRef(name + "_done"))
	for v := range f.per() {
		body(i, v)
	}
	ADDQ(Imm(step), i)
	JMP(LabelRef(name))
	Label(name + "_done")
}

// at addresses register v of the step at index i.
func (f *function) at(base, i GPVirtual, v int) Mem {
	return Mem{Base: base, Index: i, Scale: 4, Disp: 4 * v * f.lanes}
}

// fold reduces the registers in acc with op; the result fills the four lanes of an XMM register.
func (f *function) fold(op func(...Op), acc []VecVirtual) Register {
	sum := acc[0]
	for _, a := range acc[1:] {
		op(a, sum, sum)
	}
	half := sum.AsY()
	if f.wide() {
		y := YMM()
		VEXTRACTF64X4(Imm(1), sum, y)
		op(half, y, y)
		half = y
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), half, x)
	op(half.(interface{ AsX() Register }).AsX(), x, x)
	VPERMILPS(Imm(0x4e), x, t)
	op(t, x, x)
	VPERMILPS(Imm(0xb1), x, t)
	op(t, x, x)
	return x
}

func (f *function) accumulators() []VecVirtual {
	var acc []VecVirtual
	for range f.per() {
		acc = append(acc, f.zero())
	}
	return acc
}

// layerNorm: mean and variance in two passes, then y = (x - mean) / sqrt(variance + eps) * gamma + beta.
func layerNorm(s isa) {
	f := begin(s, "layerNorm", "normalises one row; len(src) is a multiple of 16, dst may be src.",
		"func(dst, src, gamma, beta []float32, eps float32)")
	dst, src, gamma, beta, n := pointer("dst"), pointer("src"), pointer("gamma"), pointer("beta"), length("src")
	count := XMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(n, count, count)

	acc := f.accumulators()
	f.loop("sum", n, func(i GPVirtual, v int) { VADDPS(f.at(src, i, v), acc[v], acc[v]) })
	total := f.fold(VADDPS, acc)
	VDIVSS(count, total, total)
	mean := f.vec()
	VBROADCASTSS(total, mean)

	acc = f.accumulators()
	f.loop("square", n, func(i GPVirtual, v int) {
		d := f.vec()
		VMOVUPS(f.at(src, i, v), d)
		VSUBPS(mean, d, d)
		VFMADD231PS(d, d, acc[v])
	})
	total = f.fold(VADDPS, acc)
	VDIVSS(count, total, total)
	eps, one := XMM(), XMM()
	Load(Param("eps"), eps)
	VADDSS(eps, total, total)
	VSQRTSS(total, total, total)
	VMOVSS(table(math.Float32bits(1), 1), one)
	VDIVSS(total, one, one)
	scale := f.vec()
	VBROADCASTSS(one, scale)

	f.loop("write", n, func(i GPVirtual, v int) {
		d, g := f.vec(), f.vec()
		VMOVUPS(f.at(src, i, v), d)
		VMOVUPS(f.at(gamma, i, v), g)
		VSUBPS(mean, d, d)
		VMULPS(scale, d, d)
		VFMADD213PS(f.at(beta, i, v), g, d)
		VMOVUPS(d, f.at(dst, i, v))
	})
	f.end()
}

// exp2Coefficients is the polynomial of degree 6 closest to 2^f on [-0.5, 0.5] in relative error
// (1.9e-9 before rounding, 1e-7 in float32).
var exp2Coefficients = []float32{
	1, 0.6931471824645996, 0.24022646248340607, 0.05550328642129898,
	0.009618489071726799, 0.0013399930903688073, 0.0001534581242594868,
}

func (f *function) exp2Constants() {
	f.constants(exp2Coefficients...)
	if f.wide() {
		f.constants(-200)
		return
	}
	f.constants(-127, 127)
	f.bits(127)
}

// exp2 replaces t by 2^t: t = n + f with n an integer and |f| <= 0.5; far below the range it is 0.
func (f *function) exp2(t VecVirtual) {
	n, p := f.vec(), f.vec()
	if f.wide() {
		VMAXPS(f.value(-200), t, t)
		VRNDSCALEPS(Imm(8), t, n)
	} else {
		VMAXPS(f.value(-127), t, t)
		VMINPS(f.value(127), t, t)
		VROUNDPS(Imm(8), t, n)
	}
	VSUBPS(n, t, t)
	f.polynomial(exp2Coefficients, t, p)
	if f.wide() {
		VSCALEFPS(n, p, t)
		return
	}
	VCVTPS2DQ(n, n)
	VPADDD(f.valueBits(127), n, n)
	VPSLLD(Imm(23), n, n)
	VMULPS(n, p, t)
}

// polynomial sets p to c[0] + c[1] x + c[2] x^2 ... by Horner's rule.
func (f *function) polynomial(c []float32, x, p VecVirtual) {
	VMOVUPS(f.value(c[len(c)-1]), p)
	for i := len(c) - 2; i >= 0; i-- {
		VFMADD213PS(f.value(c[i]), x, p)
	}
}

// gelu: x Phi(x) = max(x, 0) - |x| erfc(|x|/sqrt 2) / 2, where erfc(z) = (a1 t + ... + a5 t^5) exp(-z^2),
// t = 1/(1 + 0.3275911 z), error 1.5e-7 (Abramowitz and Stegun, 7.1.26). This form is accurate
// relative to x on both sides of 0.
func gelu(s isa) {
	a := []float32{0, 0.254829592 / 2, -0.284496736 / 2, 1.421413741 / 2, -1.453152027 / 2, 1.061405429 / 2}
	square := float32(-math.Log2E / 2)
	f := begin(s, "gelu", "replaces x by x Phi(x); len(x) is a multiple of 16.", "func(x []float32)")
	data, n := pointer("x"), length("x")
	f.exp2Constants()
	f.constants(a...)
	f.constants(square)
	f.bits(0x7fffffff)
	one, slope := f.hold(1), f.hold(float32(0.3275911/math.Sqrt2))
	f.loop("loop", n, func(i GPVirtual, v int) {
		x, abs, e, t, p := f.vec(), f.vec(), f.vec(), f.vec(), f.vec()
		VMOVUPS(f.at(data, i, v), x)
		if f.wide() {
			VPANDD(f.valueBits(0x7fffffff), x, abs)
		} else {
			VANDPS(f.valueBits(0x7fffffff), x, abs)
		}
		VMULPS(abs, abs, e)
		VMULPS(f.value(square), e, e)
		f.exp2(e)
		VMOVAPS(abs, t)
		VFMADD213PS(one, slope, t)
		VDIVPS(t, one, t)
		f.polynomial(a, t, p)
		VMULPS(e, p, p)
		VMAXPS(f.value(0), x, x)
		VFNMADD231PS(p, abs, x)
		VMOVUPS(x, f.at(data, i, v))
	})
	f.end()
}

// quickGELU: x sigmoid(1.702 x) = x / (1 + exp(-1.702 x)).
func quickGELU(s isa) {
	slope := float32(-1.702 * math.Log2E)
	f := begin(s, "quickGELU", "replaces x by x sigmoid(1.702 x); len(x) is a multiple of 16.", "func(x []float32)")
	data, n := pointer("x"), length("x")
	f.exp2Constants()
	f.constants(slope)
	f.loop("loop", n, func(i GPVirtual, v int) {
		x, e := f.vec(), f.vec()
		VMOVUPS(f.at(data, i, v), x)
		VMULPS(f.value(slope), x, e)
		f.exp2(e)
		VADDPS(f.value(1), e, e)
		VDIVPS(e, x, x)
		VMOVUPS(x, f.at(data, i, v))
	})
	f.end()
}

// softmax: 2^((x - max) scale) over its sum.
func softmax(s isa) {
	f := begin(s, "softmax", "replaces x by 2^((x - max x) scale), divided by their sum; len(x) is a positive multiple of 16, scale positive.",
		"func(x []float32, scale float32)")
	data, n := pointer("x"), length("x")
	f.exp2Constants()
	scale := f.vec()
	VBROADCASTSS(NewParamAddr("scale", 24), scale)
	var acc []VecVirtual
	for v := range f.per() {
		a := f.vec()
		VMOVUPS(Mem{Base: data, Disp: 4 * v * f.lanes}, a)
		acc = append(acc, a)
	}
	f.loop("max", n, func(i GPVirtual, v int) { VMAXPS(f.at(data, i, v), acc[v], acc[v]) })
	top := f.vec()
	VBROADCASTSS(f.fold(VMAXPS, acc), top)

	acc = f.accumulators()
	f.loop("exp", n, func(i GPVirtual, v int) {
		e := f.vec()
		VMOVUPS(f.at(data, i, v), e)
		VSUBPS(top, e, e)
		VMULPS(scale, e, e)
		f.exp2(e)
		VADDPS(e, acc[v], acc[v])
		VMOVUPS(e, f.at(data, i, v))
	})
	total, one := f.fold(VADDPS, acc), XMM()
	VMOVSS(table(math.Float32bits(1), 1), one)
	VDIVSS(total, one, one)
	inverse := f.vec()
	VBROADCASTSS(one, inverse)
	f.loop("divide", n, func(i GPVirtual, v int) {
		e := f.vec()
		VMULPS(f.at(data, i, v), inverse, e)
		VMOVUPS(e, f.at(data, i, v))
	})
	f.end()
}

// product holds the registers of mulRows.
type product struct {
	*function
	lda, ldb, ldc  GPVirtual // bytes
	bcol, ccol, n  GPVirtual // the column block, and the columns left
	arow, crow, m  GPVirtual // the row block, and the rows left
	ap, ap3, bp, k GPVirtual // inside a block: row 0 of a, row 3 of a, the row of b, the depth left
	columns, rows  int
	acc            [][]VecVirtual
	name           string
}

// mulRows: blocks of 6 rows by 4 (AVX-512) or 2 (AVX2) registers of c stay in registers over the whole
// depth; one value of a is broadcast over a row of b. What is left over goes by single rows.
func mulRows(s isa) {
	f := begin(s, "mulRows", "sets c[m,n] = a[m,k] b[k,n]; n is rounded up to a multiple of 16 and k is positive.",
		"func(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int)")
	p := &product{function: f, bcol: pointer("b"), ccol: pointer("c"), arow: GP64(), crow: GP64(), m: GP64(),
		ap: GP64(), ap3: GP64(), bp: GP64(), k: GP64(), n: GP64()}
	p.lda, p.ldb, p.ldc = stride("lda"), stride("ldb"), stride("ldc")
	Load(Param("n"), p.n)
	for _, columns := range s.columns {
		p.columns = columns
		p.columnBlocks(columns == s.columns[len(s.columns)-1])
	}
	f.end()
}

func stride(name string) GPVirtual {
	r := GP64()
	Load(Param(name), r)
	SHLQ(Imm(2), r)
	return r
}

func (p *product) columnBlocks(last bool) {
	width := p.columns * p.lanes
	least := width
	if last {
		least = 1
	}
	start := fmt.Sprintf("columns%d", p.columns)
	Label(start)
	CMPQ(p.n, Imm(uint64(least)))
	JLT(LabelRef(start + "_done"))
	Load(Param("a").Base(), p.arow)
	MOVQ(p.ccol, p.crow)
	Load(Param("m"), p.m)
	for _, rows := range []int{6, 1} {
		p.rows = rows
		p.rowBlocks(fmt.Sprintf("%s_rows%d", start, rows))
	}
	ADDQ(U32(4*width), p.bcol)
	ADDQ(U32(4*width), p.ccol)
	SUBQ(Imm(uint64(width)), p.n)
	JMP(LabelRef(start))
	Label(start + "_done")
}

func (p *product) rowBlocks(start string) {
	Label(start)
	CMPQ(p.m, Imm(uint64(p.rows)))
	JLT(LabelRef(start + "_done"))
	p.block(start + "_depth")
	SUBQ(Imm(uint64(p.rows)), p.m)
	p.advance(p.arow, p.lda)
	p.advance(p.crow, p.ldc)
	JMP(LabelRef(start))
	Label(start + "_done")
}

// advance moves a pointer by one block of rows.
func (p *product) advance(at, ld GPVirtual) {
	if p.rows == 1 {
		ADDQ(ld, at)
		return
	}
	LEAQ(Mem{Base: at, Index: ld, Scale: 2}, at)
	LEAQ(Mem{Base: at, Index: ld, Scale: 4}, at)
}

func (p *product) block(loop string) {
	p.acc = nil
	for range p.rows {
		var row []VecVirtual
		for range p.columns {
			row = append(row, p.zero())
		}
		p.acc = append(p.acc, row)
	}
	MOVQ(p.arow, p.ap)
	p.third(p.ap, p.lda)
	MOVQ(p.bcol, p.bp)
	Load(Param("k"), p.k)
	Label(loop)
	p.depth()
	DECQ(p.k)
	JNZ(LabelRef(loop))
	p.third(p.crow, p.ldc)
	for r, row := range p.acc {
		for v, acc := range row {
			to := p.row(p.crow, p.ldc, r)
			to.Disp = 4 * v * p.lanes
			VMOVUPS(acc, to)
		}
	}
}

// third sets ap3 to row 3, from which rows 3 to 5 are addressed.
func (p *product) third(base, ld GPVirtual) {
	if p.rows > 3 {
		LEAQ(Mem{Base: base, Index: ld, Scale: 2}, p.ap3)
		ADDQ(ld, p.ap3)
	}
}

// row addresses row r of a block.
func (p *product) row(base, ld GPVirtual, r int) Mem {
	if r >= 3 {
		base, r = p.ap3, r-3
	}
	if r == 0 {
		return Mem{Base: base}
	}
	return Mem{Base: base, Index: ld, Scale: uint8(r)}
}

// depth adds one outer product to the block.
func (p *product) depth() {
	var b []VecVirtual
	for v := range p.columns {
		r := p.vec()
		VMOVUPS(Mem{Base: p.bp, Disp: 4 * v * p.lanes}, r)
		b = append(b, r)
	}
	for r := range p.rows {
		a := p.vec()
		VBROADCASTSS(p.row(p.ap, p.lda, r), a)
		for v := range p.columns {
			VFMADD231PS(b[v], a, p.acc[r][v])
		}
	}
	ADDQ(p.ldb, p.bp)
	ADDQ(Imm(4), p.ap)
	if p.rows > 3 {
		ADDQ(Imm(4), p.ap3)
	}
}
