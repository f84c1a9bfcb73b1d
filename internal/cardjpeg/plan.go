package cardjpeg

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/cardjpeg/nvjpeg"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
)

// alignment of everything in a lane's memory.
const alignment = 256

func aligned(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// need is how much of a lane's memory images take, in bytes.
type need struct{ files, pixels, tables, images int64 }

// needOf is computed from what the file declares, before anything is allocated or copied.
func needOf(t *preproc.Task) need {
	decoded := 3 * int64(t.Width) * int64(t.Height)
	if decoded > math.MaxInt32 { // the kernels' steps have 32 bits
		decoded = math.MaxInt64 / 4
	}
	return need{
		files:  aligned(int64(len(t.Data))),
		pixels: aligned(decoded) + aligned(middle(t)),
		tables: passBytes*2 + decodedBytes + 2*alignment + 4*int64(t.Steps.Horizontal.Words()+t.Steps.Vertical.Words()),
		images: 1,
	}
}

// middle is the size of what is between the two passes.
func middle(t *preproc.Task) int64 {
	if t.Steps.VerticalFirst {
		from, to := t.Steps.Horizontal.Reads()
		return 3 * int64(to-from) * int64(t.OutHeight)
	}
	from, to := t.Steps.Vertical.Reads()
	return 3 * int64(to-from) * int64(t.OutWidth)
}

func (n need) plus(m need) need {
	return need{n.files + m.files, n.pixels + m.pixels, n.tables + m.tables, n.images + m.images}
}

func (n need) within(room need) bool {
	return n.files <= room.files && n.pixels <= room.pixels && n.tables <= room.tables && n.images <= room.images
}

// pass is Pass of kernels/resize.cu.
type pass struct {
	src, dst, taps     driver.Pointer
	outputs, lines     int32
	step, across       int32
	stepOut, acrossOut int32
	columns, _         int32
}

// decoded is Decoded of kernels/resize.cu.
type decoded struct {
	pixels driver.Pointer
	count  int64
}

const (
	passBytes    = int64(unsafe.Sizeof(pass{}))
	decodedBytes = int64(unsafe.Sizeof(decoded{}))
	flagBytes    = 4 * maxBatch
)

// flag is what resize_check found for image i: 1 where the decoder wrote nothing.
func flag(result []byte, i int) uint32 { return binary.LittleEndian.Uint32(result[4*i:]) }

// plan is a batch laid out in a lane's memory.
type plan struct {
	files  [][]byte // in pinned memory
	images []nvjpeg.Image

	passes [2][]pass
	marks  []decoded
	at     [3]driver.Pointer // of both lists of passes, and of marks
	tables int               // bytes
}

// plan copies a batch's files and tables to pinned memory. It fits: the line has seen to that.
func (a *lane) plan(batch []*waiter) *plan {
	p := &plan{}
	n := int64(len(batch))
	first, second := int64(0), aligned(n*passBytes)
	marks := second + aligned(n*passBytes)
	free := marks + aligned(n*decodedBytes)
	p.at = [3]driver.Pointer{a.table, a.table + driver.Pointer(second), a.table + driver.Pointer(marks)}
	packed := map[resize.Taps]driver.Pointer{}
	taps := func(t resize.Taps) driver.Pointer {
		at, ok := packed[t]
		if !ok {
			at = a.table + driver.Pointer(free)
			t.Pack(unsafe.Slice((*int32)(unsafe.Pointer(&a.tables[free])), t.Words()))
			free += 4 * int64(t.Words())
			packed[t] = at
		}
		return at
	}
	var file, pixel int64
	for i, w := range batch {
		t := &w.task
		p.files = append(p.files, a.files[file:][:copy(a.files[file:], t.Data)])
		file += aligned(int64(len(t.Data)))
		from := a.pixels + driver.Pointer(pixel)
		mid := from + driver.Pointer(aligned(3*int64(t.Width)*int64(t.Height)))
		pixel = int64(mid-a.pixels) + aligned(middle(t))
		p.images = append(p.images, nvjpeg.Image{At: uint64(from), Pitch: 3 * t.Width})
		p.marks = append(p.marks, decoded{from, int64(t.Width) * int64(t.Height)})
		one, two := passes(t, from, mid, a.output+driver.Pointer(flagBytes+i*a.outBytes()))
		one.taps, two.taps = taps(horizontalIf(!t.Steps.VerticalFirst, t)), taps(horizontalIf(t.Steps.VerticalFirst, t))
		p.passes[0], p.passes[1] = append(p.passes[0], one), append(p.passes[1], two)
	}
	put(a.tables[first:], p.passes[0])
	put(a.tables[second:], p.passes[1])
	put(a.tables[marks:], p.marks)
	p.tables = int(free)
	return p
}

// put copies structs as they are, for the device to read.
func put[T any](to []byte, list []T) {
	copy(to, unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(unsafe.Sizeof(list[0]))))
}

func horizontalIf(horizontal bool, t *preproc.Task) resize.Taps {
	if horizontal {
		return t.Steps.Horizontal
	}
	return t.Steps.Vertical
}

// passes are the two passes of a task from the decoded pixels over mid to out, without their taps. The first reads the
// pixels in the upright image's order and computes what the second reads.
func passes(t *preproc.Task, from, mid, out driver.Pointer) (one, two pass) {
	start, right, down := 3*t.Start, int32(3*t.Right), int32(3*t.Down)
	width, height := int32(t.OutWidth), int32(t.OutHeight)
	if t.Steps.VerticalFirst {
		low, high := t.Steps.Horizontal.Reads()
		row := int32(3 * (high - low))
		one = pass{src: offset(from, start+low*int(right)), dst: mid, outputs: height, lines: int32(high - low),
			step: down, across: right, stepOut: row, acrossOut: 3, columns: 1}
		two = pass{src: offset(mid, -3*low), dst: out, outputs: width, lines: height,
			step: 3, across: row, stepOut: 3, acrossOut: 3 * width}
		return one, two
	}
	low, high := t.Steps.Vertical.Reads()
	one = pass{src: offset(from, start+low*int(down)), dst: mid, outputs: width, lines: int32(high - low),
		step: right, across: down, stepOut: 3, acrossOut: 3 * width}
	two = pass{src: offset(mid, -low*3*int(width)), dst: out, outputs: height, lines: width,
		step: 3 * width, across: 3, stepOut: 3 * width, acrossOut: 3, columns: 1}
	return one, two
}

// offset is an address some bytes on, or back.
func offset(p driver.Pointer, bytes int) driver.Pointer { return p + driver.Pointer(bytes) }
