package cardjpeg

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestLayout: the structs that Go fills and the kernels read have the same size; the kernels assert theirs.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"Pass", unsafe.Sizeof(pass{}), 56},
		{"Pass.outputs", unsafe.Offsetof(pass{}.outputs), 24},
		{"Pass.columns", unsafe.Offsetof(pass{}.columns), 48},
		{"Decoded", unsafe.Sizeof(decoded{}), 16},
		{"MarkArgs", unsafe.Sizeof(markArgs{}), 24},
		{"PassArgs", unsafe.Sizeof(passArgs{}), 8},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, the kernels have %d", c.name, c.got, c.want)
		}
	}
}

// host is kernels/resize.cu, compiled for the processor.
type host struct {
	pass func(g *passArgs, x, y int32) int32
	mark func(g *markArgs, x, check int32) int32
}

// hostKernels compiles the kernels' own source with the machine's C++ compiler.
func hostKernels(t *testing.T) *host {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("no C++ compiler: the kernels' source is not run on the processor")
	}
	so := filepath.Join(t.TempDir(), "resize.so")
	if out, err := exec.Command(compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-x", "c++", "-o", so,
		filepath.Join("testdata", "host.cc")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lib, err := dynlib.Open(so)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = lib.Close() }) // of a test's own library
	h := new(host)
	for name, fn := range map[string]any{"host_pass": &h.pass, "host_mark": &h.mark} {
		if err := lib.Bind(fn, name); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// hostLane is a lane whose device's memory is the processor's.
func hostLane(size, pixels int) (a *lane, pixelMemory, output []byte) {
	k := &kernels{outBytes: int(aligned(3 * int64(size) * int64(size)))}
	pixelMemory, output = tensor.AlignedBytes(pixels), tensor.AlignedBytes(flagBytes+maxBatch*k.outBytes)
	a = &lane{kernel: k, files: make([]byte, 1<<20), tables: tensor.AlignedBytes(1 << 20),
		pixels: driver.Address(pixelMemory), output: driver.Address(output)}
	a.table = driver.Address(a.tables)
	return a, pixelMemory, output
}

// TestKernelsOnTheProcessor runs the kernels' source on what a lane plans, and compares with the resize in Go: to the
// byte.
func TestKernelsOnTheProcessor(t *testing.T) {
	h := hostKernels(t)
	for _, how := range []preproc.Resize{preproc.Shortest, preproc.Squash, preproc.Longest} {
		p := onProcessor(t, plan32(how))
		var batch []*waiter
		for i, size := range [][2]int{{70, 50}, {33, 120}, {32, 32}, {20, 31}, {400, 40}, {40, 400}, {1, 1}, {90, 32}} {
			task, ok := p.Task(turnedPhoto(t, size[0], size[1], 1+i))
			if !ok {
				t.Fatalf("%v is no task", size)
			}
			batch = append(batch, &waiter{task: task})
		}
		a, pixels, output := hostLane(32, 1<<20)
		pl := a.plan(batch)
		marks := markArgs{images: pl.at[2], flags: a.output, count: int32(len(batch))}
		h.mark(&marks, 1, 0)
		h.mark(&marks, 1, 1)
		for i := range batch {
			if flag(output, i) != 1 {
				t.Errorf("%s: image %d was not decoded, and nobody noticed", how, i)
			}
		}
		for i, w := range batch {
			var im raster.Image
			if err := new(jpeg.Decoder).Decode(w.task.Data, &im); err != nil {
				t.Fatal(err)
			}
			copy(pixels[driver.Pointer(pl.images[i].At)-a.pixels:], im.Pix)
		}
		h.mark(&marks, 1, 1)
		for i, list := range pl.passes {
			most := int64(0)
			for _, q := range list {
				most = max(most, int64(q.outputs)*int64(q.lines))
			}
			h.pass(&passArgs{pl.at[i]}, int32(blocks(most)), int32(len(list)))
		}
		for i, w := range batch {
			got, want := newRow(tensor.FormatUint8HWC), newRow(tensor.FormatUint8HWC)
			if _, err := p.Into(w.task.Data, want); err != nil {
				t.Fatal(err)
			}
			if err := p.Finish(&w.task, output[flagBytes+i*a.outBytes():][:3*w.task.OutWidth*w.task.OutHeight], got); err != nil {
				t.Fatal(err)
			}
			if flag(output, i) != 0 || !bytes.Equal(got.memory, want.memory) {
				t.Errorf("%s, image %d (%dx%d): flag %d, pixels equal: %v", how, i, w.task.Width, w.task.Height, flag(output, i), bytes.Equal(got.memory, want.memory))
			}
		}
		runtime.KeepAlive(pixels)
		runtime.KeepAlive(a)
	}
}

// TestPlanStaysInside: nothing that the kernels and nvJPEG are told to touch lies outside of the lane's memory, and images do
// not overlap.
func TestPlanStaysInside(t *testing.T) {
	p := onProcessor(t, plan32(preproc.Shortest))
	a, _, _ := hostLane(32, 4<<20)
	a.room = need{files: 1 << 20, pixels: 4 << 20, tables: 1 << 20, images: maxBatch}
	var batch []*waiter
	var sum need
	for i := 0; ; i++ {
		task, ok := p.Task(turnedPhoto(t, 50+7*i, 40+11*(i%5), 1+i%8))
		if !ok {
			t.Fatal("no task")
		}
		n := needOf(&task)
		if !sum.plus(n).within(a.room) {
			break
		}
		sum = sum.plus(n)
		batch = append(batch, &waiter{task: task})
	}
	if len(batch) < 5 {
		t.Fatalf("a batch of %d", len(batch))
	}
	pl := a.plan(batch)
	if int64(pl.tables) > sum.tables {
		t.Errorf("tables of %d bytes, %d were reckoned", pl.tables, sum.tables)
	}
	end := a.pixels
	for i, im := range pl.images {
		at := driver.Pointer(im.At)
		if at < end {
			t.Errorf("image %d at %#x begins before %#x", i, at, end)
		}
		task := &batch[i].task
		mid := pl.passes[0][i].dst
		if mid < at+driver.Pointer(3*task.Width*task.Height) {
			t.Errorf("image %d at %#x reaches into what is between the passes at %#x", i, at, mid)
		}
		end = mid + driver.Pointer(middle(task))
	}
	if used := int64(end - a.pixels); used > sum.pixels {
		t.Errorf("%d bytes of pixels, %d were reckoned", used, sum.pixels)
	}
}

func TestNeedOfHugeImages(t *testing.T) {
	task, ok := onProcessor(t, plan32(preproc.Shortest)).Task(photo(t, 64, 48, 1))
	if !ok {
		t.Fatal("no task")
	}
	task.Width, task.Height = 60000, 60000
	if needOf(&task).within(need{1 << 50, 1 << 50, 1 << 50, 1 << 50}) {
		t.Error("an image of 10 GB has a place")
	}
}

// TestLaunches: a batch is marked, checked, and resized in two launches for all its images.
func TestLaunches(t *testing.T) {
	p, g := pretend(t, plan32(preproc.Shortest), &fake{}, Options{Mode: Card})
	defer checkClosed(t, p, g)
	g.Launched()
	if _, err := p.Into(photo(t, 64, 48, 1), newRow(tensor.FormatUint8HWC)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range g.Launched() {
		names = append(names, l.Name)
	}
	if got, want := len(names), 4; got != want || names[0] != "resize_mark" || names[1] != "resize_check" || names[3] != "resize_pass" {
		t.Errorf("launches %q", names)
	}
}
