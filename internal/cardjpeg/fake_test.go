package cardjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"io"
	"log/slog"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/cardjpeg/nvjpeg"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// codec decodes with the decoder in Go into a pretended GPU's memory.
type codec struct {
	gpu  *drivertest.GPU
	fake *fake
}

// fake is what the codecs of a test do.
type fake struct {
	refuse func(file []byte) bool     // by its header
	skip   func(file []byte) bool     // decoded, it is said, and nothing is written
	decode func(files [][]byte) error // before anything is decoded; may block
	mutate func(pix []byte)           // spoils what was decoded
	open   func() error               // instead of a codec
}

func (c *codec) Backend() nvjpeg.Backend { return nvjpeg.Hardware }

func (c *codec) Supports(file []byte) (bool, error) {
	return c.fake.refuse == nil || !c.fake.refuse(file), nil
}

func (c *codec) Decode(files [][]byte, to []nvjpeg.Image, _ uintptr) error {
	if c.fake.decode != nil {
		if err := c.fake.decode(files); err != nil {
			return err
		}
	}
	for i, f := range files {
		if c.fake.skip != nil && c.fake.skip(f) {
			continue
		}
		if err := c.one(f, to[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *codec) one(file []byte, to nvjpeg.Image) error {
	if _, err := c.gpu.View(driver.Address(file), len(file)); err != nil {
		return fmt.Errorf("a file that is not in pinned memory: %w", err)
	}
	var im raster.Image
	if err := new(jpeg.Decoder).Decode(file, &im); err != nil {
		return &nvjpeg.Error{Call: "nvjpegDecodeBatched", Status: 3}
	}
	row := 3 * im.Width
	if to.Pitch != row {
		return fmt.Errorf("a pitch of %d for rows of %d bytes", to.Pitch, row)
	}
	memory, err := c.gpu.View(driver.Pointer(to.At), row*im.Height)
	if err != nil {
		return err
	}
	for i := range im.Width * im.Height {
		for ch := range 3 {
			memory[3*i+ch] = im.Pix[i*im.Mode.Channels()+ch%im.Mode.Channels()]
		}
	}
	if c.fake.mutate != nil {
		c.fake.mutate(memory)
	}
	return nil
}

func (c *codec) Close() error {
	return nil
}

// compute does what kernels/resize.cu does, thread by thread, in the pretended GPU's memory.
func compute(g *drivertest.GPU) func(drivertest.Record) error {
	return func(r drivertest.Record) error {
		switch r.Name {
		case "resize_pass":
			return computePasses(g, r)
		case "resize_mark", "resize_check":
			return computeMarks(g, r)
		}
		return fmt.Errorf("no kernel %s", r.Name)
	}
}

// list is n structs in the device's memory.
func list[T any](g *drivertest.GPU, at driver.Pointer, n int) ([]T, error) {
	var one T
	b, err := g.View(at, n*int(unsafe.Sizeof(one)))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
}

func computePasses(g *drivertest.GPU, r drivertest.Record) error {
	args := *(*passArgs)(unsafe.Pointer(&r.Args[0]))
	all, err := list[pass](g, args.passes, int(r.Grid.Y))
	if err != nil {
		return err
	}
	for i := range all {
		p := &all[i]
		if count := int(p.outputs) * int(p.lines); int(r.Grid.X)*threads < count {
			return fmt.Errorf("%d blocks for %d pixels", r.Grid.X, count)
		}
		if err := computePass(g, p); err != nil {
			return err
		}
	}
	return nil
}

func computePass(g *drivertest.GPU, p *pass) error {
	spans, err := list[int32](g, p.taps, 3*int(p.outputs))
	if err != nil {
		return err
	}
	end := spans[len(spans)-1] + spans[len(spans)-2] // the weights follow each other
	taps, err := list[int32](g, p.taps, int(end))
	if err != nil {
		return err
	}
	last := spans[len(spans)-3] + spans[len(spans)-2] - 1 // sample; the first one is spans[0]
	for l := range int(p.lines) {
		src, err := stretch(g, offset(p.src, l*int(p.across)), int(spans[0])*int(p.step), int(last)*int(p.step))
		if err != nil {
			return err
		}
		dst, err := stretch(g, offset(p.dst, l*int(p.acrossOut)), 0, int(p.outputs-1)*int(p.stepOut))
		if err != nil {
			return err
		}
		for o := range int(p.outputs) {
			weights := taps[spans[3*o+2]:][:spans[3*o+1]]
			for c := range 3 {
				sum := int32(1) << 21
				for j, w := range weights {
					sum += int32(src(int(spans[3*o])+j, int(p.step))[c]) * w
				}
				dst(o, int(p.stepOut))[c] = byte(min(max(sum>>22, 0), 255))
			}
		}
	}
	return nil
}

// stretch is the pixels between two offsets from an address; the result finds pixel i of a step.
func stretch(g *drivertest.GPU, at driver.Pointer, from, to int) (func(i, step int) []byte, error) {
	low := min(from, to)
	b, err := g.View(offset(at, low), max(from, to)-low+3)
	return func(i, step int) []byte { return b[i*step-low:][:3] }, err
}

func computeMarks(g *drivertest.GPU, r drivertest.Record) error {
	args := *(*markArgs)(unsafe.Pointer(&r.Args[0]))
	images, err := list[decoded](g, args.images, int(args.count))
	if err != nil {
		return err
	}
	flags, err := list[int32](g, args.flags, int(args.count))
	if err != nil {
		return err
	}
	for i, d := range images {
		left := int32(1)
		for k := range int64(16) {
			at := (d.count - 1) * k / 15
			v := uint32(at+1) * 2654435761
			pixel, err := g.View(offset(d.pixels, int(3*at)), 3)
			if err != nil {
				return err
			}
			mark := []byte{byte(v >> 8), byte(v >> 16), byte(v >> 24)}
			if r.Name == "resize_mark" {
				copy(pixel, mark)
			} else if !bytes.Equal(pixel, mark) {
				left = 0
			}
		}
		if r.Name == "resize_check" {
			flags[i] = left
		}
	}
	return nil
}

// plan32 is a plan of a small size.
func plan32(how preproc.Resize) preproc.Plan {
	return preproc.Plan{Size: 32, Resize: how, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.25, 0.25, 0.25}, EXIF: true}
}

func onProcessor(t testing.TB, plan preproc.Plan) *preproc.Pipeline {
	t.Helper()
	p, err := preproc.New(plan, preproc.Options{JPEG: jpeg.GoCodec})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pretend is a pipeline with the pretended card 0 open.
func pretend(t testing.TB, plan preproc.Plan, f *fake, o Options) (*Pipeline, *drivertest.GPU) {
	t.Helper()
	p, g := pretendClosed(t, plan, f, o)
	if err := p.Open(0); err != nil {
		t.Fatal(err)
	}
	return p, g
}

func pretendClosed(t testing.TB, plan preproc.Plan, f *fake, o Options) (*Pipeline, *drivertest.GPU) {
	t.Helper()
	g := drivertest.New()
	g.Compute = compute(g)
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Memory == 0 {
		o.Memory = 8 << 20
	}
	o.open = func(int) (driver.GPU, error) { return g, nil }
	o.codec = codecOn(g, f)
	p, err := New(onProcessor(t, plan), o)
	if err != nil {
		t.Fatal(err)
	}
	return p, g
}

// codecOn makes codecs for a GPU.
func codecOn(g *drivertest.GPU, f *fake) func(driver.GPU) (nvjpeg.Codec, error) {
	return func(driver.GPU) (nvjpeg.Codec, error) {
		if f.open != nil {
			if err := f.open(); err != nil {
				return nil, err
			}
		}
		return &codec{gpu: g, fake: f}, nil
	}
}

// checkClosed closes a pipeline and wants nothing left on its card.
func checkClosed(t testing.TB, p *Pipeline, g *drivertest.GPU) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if l := g.Leaks(); len(l) > 0 {
		t.Errorf("left open: %v", l)
	}
}

// photo is a JPEG file; seed makes its pixels.
func photo(t testing.TB, w, h, seed int) []byte {
	t.Helper()
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		x, y := i%w, i/w
		im.SetRGBA(x, y, color.RGBA{uint8(2*x + seed), uint8(3*y + 5*seed), uint8(x ^ y), 255})
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func greyPhoto(t testing.TB, w, h int) []byte {
	t.Helper()
	im := image.NewGray(image.Rect(0, 0, w, h))
	for i := range im.Pix {
		im.Pix[i] = byte(i * i)
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// turnedPhoto is one whose EXIF tells an orientation.
func turnedPhoto(t testing.TB, w, h, orientation int) []byte {
	t.Helper()
	b := photo(t, w, h, orientation)
	exif := []byte("\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	exif[29] = byte(orientation)
	return append(append(bytes.Clone(b[:2]), exif...), b[2:]...)
}

// row is a row in Go's memory.
type row struct {
	format tensor.Format
	memory []byte
}

func newRow(f tensor.Format) *row    { return &row{f, tensor.AlignedBytes(f.Size(32, 32))} }
func (r *row) Format() tensor.Format { return r.format }
func (r *row) Bytes() []byte         { return r.memory }
func (r *row) Release()              {}

// errLost is a context that is gone.
var errLost = &driver.Error{Call: "cuStreamSynchronize", Code: 719, Name: "CUDA_ERROR_LAUNCH_FAILED", Text: "unspecified launch failure"}

var errBad = errors.New("nvJPEG failed")
