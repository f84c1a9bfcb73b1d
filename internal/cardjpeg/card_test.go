package cardjpeg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	_ "image/png" // testdata/photos
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/cardjpeg/nvjpeg"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// The tests that are called TestCard run on a GPU and skip where there is none; those that need nvJPEG take the file that
// VITRINE_NVJPEG names, or what the loader finds.

func needCard(t testing.TB) {
	t.Helper()
	if _, err := driver.Count(); errors.Is(err, driver.ErrNoDriver) {
		t.Skip(err)
	}
}

// onCard is a pipeline on GPU 0, or skips.
func onCard(t testing.TB, plan preproc.Plan, o Options) *Pipeline {
	t.Helper()
	needCard(t)
	o.Library, o.Logger = os.Getenv("VITRINE_NVJPEG"), slog.New(slog.NewTextHandler(io.Discard, nil))
	p, err := New(onProcessor224(t, plan), o)
	if err != nil {
		t.Skip(err)
	}
	if err := p.Open(0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// onProcessor224 is the processor's pipeline with the machine's fastest decoder.
func onProcessor224(t testing.TB, plan preproc.Plan) *preproc.Pipeline {
	t.Helper()
	p, err := preproc.New(plan, preproc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func plan224() preproc.Plan { return preproc.PlanFor(model.Config{ImageSize: 224}) }

// copying decodes with the decoder in Go and copies to the device: what is tested with it is the kernels.
type copying struct{ driver.GPU }

func (copying) Backend() nvjpeg.Backend       { return nvjpeg.Hardware }
func (copying) Supports([]byte) (bool, error) { return true, nil }
func (copying) Close() error                  { return nil }

func (c copying) Decode(files [][]byte, to []nvjpeg.Image, _ uintptr) error {
	for i, f := range files {
		var im raster.Image
		if err := new(jpeg.Decoder).Decode(f, &im); err != nil {
			return err
		}
		pix := im.Pix
		if im.Mode == raster.L {
			pix = make([]byte, 0, 3*len(im.Pix))
			for _, v := range im.Pix {
				pix = append(pix, v, v, v)
			}
		}
		if err := c.CopyIn(driver.Pointer(to[i].At), pix); err != nil {
			return err
		}
	}
	return nil
}

// TestCardKernels is the operator case of the resize: the machine code against the resize in Go, to the byte.
func TestCardKernels(t *testing.T) {
	needCard(t)
	for _, how := range []preproc.Resize{preproc.Shortest, preproc.Squash, preproc.Longest} {
		plan := plan224()
		plan.Resize, plan.EXIF = how, true
		p, err := New(onProcessor224(t, plan), Options{Mode: Card, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), open: driver.Open,
			codec: func(g driver.GPU) (nvjpeg.Codec, error) { return copying{g}, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Open(0); err != nil {
			t.Fatal(err)
		}
		for i, size := range [][2]int{{640, 480}, {480, 640}, {224, 224}, {225, 223}, {100, 80}, {4000, 300}, {300, 4000}, {3000, 2000}, {1, 1}, {17, 500}} {
			for orientation := 1; orientation <= 8; orientation++ {
				data := turnedPhoto(t, size[0], size[1], orientation)
				want, got := newHostRow(224), newHostRow(224)
				if _, err := p.Pipeline.Into(data, want); err != nil {
					t.Fatal(err)
				}
				if _, err := p.Into(data, got); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s, %v, orientation %d (case %d): rows differ", how, size, orientation, i)
				}
			}
		}
		if s := p.Stats(); s.Processor != 0 {
			t.Errorf("%s: done where: %+v", how, s)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// named is a file with a name for the table.
type named struct {
	name string
	data []byte
}

// photographs are those of testdata/photos: JPEG files as they are, all of them encoded again, and small files of every
// sampling.
func photographs(t testing.TB) (all []named) {
	t.Helper()
	folder := filepath.Join("..", "..", "testdata", "photos")
	for _, name := range []string{"astronaut.jpg", "coffee.jpg", "grey.jpg", "chelsea.png"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".jpg") {
			all = append(all, named{name, data})
		}
		im, _, err := image.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, quality := range []int{50, 75, 95} {
			var b bytes.Buffer
			if err := stdjpeg.Encode(&b, im, &stdjpeg.Options{Quality: quality}); err != nil {
				t.Fatal(err)
			}
			all = append(all, named{fmt.Sprintf("%s, 4:2:0, quality %d", name, quality), b.Bytes()})
		}
	}
	return append(all, samplings(t)...)
}

func samplings(t testing.TB) (all []named) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "preproc", "jpeg", "testdata", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Name string
			JPEG []byte
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Cases {
		if strings.HasPrefix(c.Name, "astronaut") && jpeg.Plain(c.JPEG) {
			all = append(all, named{c.Name, c.JPEG})
		}
	}
	return all
}

// TestCardPhotos prints how far the card's pixels and embeddings are from the processor's, as a table for docs/cuda.md, and
// fails beyond the contract. The embeddings are the processor's in float32: of synthetic weights, or of the folder
// that VITRINE_CARD_MODEL names.
func TestCardPhotos(t *testing.T) {
	needCard(t)
	m := cardModel(t)
	p := onCard(t, preproc.PlanFor(m.Config), Options{Mode: Card})
	e, err := cpu.New(m, cpu.Options{Precision: engine.FP32, MaxBatch: 2, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	fmt.Printf("backend %v, model %s\n\n| file | pixels that differ | mean | largest | 1 - cosine |\n|---|---|---|---|---|\n",
		p.cards[0].lanes[0].codec.Backend(), m.Source.Reference)
	for _, f := range photographs(t) {
		before := p.Stats().Cards
		rows := [2]hostRow{newHostRow(m.Config.ImageSize), newHostRow(m.Config.ImageSize)}
		if _, err := p.Pipeline.Into(f.data, rows[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Into(f.data, rows[1]); err != nil {
			t.Fatal(err)
		}
		if p.Stats().Cards == before {
			fmt.Printf("| %s | the processor's | | | |\n", f.name)
			continue
		}
		different, largest := 0, 0
		for i := range rows[0] {
			d := max(int(rows[0][i])-int(rows[1][i]), int(rows[1][i])-int(rows[0][i]))
			largest = max(largest, d)
			if d > 0 {
				different++
			}
		}
		away := 1 - cosine(embed(t, e, p.Pipeline, rows[0]), embed(t, e, p.Pipeline, rows[1]))
		fmt.Printf("| %s | %.1f %% | %.3f | %d | %.1e |\n", f.name, 100*float64(different)/float64(len(rows[0])),
			meanDifference(rows[0], rows[1]), largest, away)
		if away > 1e-3 {
			t.Errorf("%s: cosine %.6f", f.name, 1-away)
		}
	}
}

func cardModel(t testing.TB) *model.Model {
	t.Helper()
	var m *model.Model
	var err error
	if folder := os.Getenv("VITRINE_CARD_MODEL"); folder != "" {
		m, err = model.Open(t.Context(), folder, model.OpenOptions{})
	} else {
		c, _ := model.Preset("ViT-B-32-quickgelu")
		m, err = model.Synthetic(c, model.SyntheticOptions{Seed: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// embed computes the embedding of a row of pixels.
func embed(t testing.TB, e engine.Engine, p *preproc.Pipeline, pix hostRow) []float32 {
	t.Helper()
	r, err := e.NewRow(e.Spec().Formats[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	size := e.Spec().Width
	if err := p.PixelsInto(pix, size, size, r); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, e.Spec().Dim())
	if _, err := e.Run(t.Context(), []tensor.Row{r}, [][]float32{out}); err != nil {
		t.Fatal(err)
	}
	return out
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// TestCardRate prints how many images a second come out of each way of decoding, without a network and an engine: 13 KB of
// 224 x 224 pixels and 55 KB of 640 x 480, clients in a closed loop.
func TestCardRate(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	for _, size := range [][3]int{{224, 224, 85}, {640, 480, 85}, {4000, 3000, 85}} {
		files := scaled(t, size[0], size[1], size[2])
		for _, clients := range []int{16, 64, 256, 512} {
			fmt.Printf("%dx%d, %d bytes, %3d clients: processor %6.0f", size[0], size[1], len(files[0]), clients,
				rate(t, bounded(onProcessor224(t, plan224()), runtime.GOMAXPROCS(0)), files, clients))
			for _, mode := range []Mode{Card, Shared} {
				t.Run(fmt.Sprintf("%s/%dx%d/%d", mode, size[0], size[1], clients), func(t *testing.T) {
					p := onCard(t, plan224(), Options{Mode: mode})
					got := rate(t, p.Into, files, clients)
					s := p.Stats()
					fmt.Printf("   %s %6.0f (card %.0f %%, batches of %.1f)", mode, got,
						100*float64(s.Cards)/float64(s.Cards+s.Processor), float64(s.Cards)/float64(max(s.Batches, 1)))
				})
			}
			fmt.Println(" img/s")
		}
	}
}

type into func(data []byte, row tensor.Row) (preproc.Info, error)

// bounded lets so many decode at once, as the service does.
func bounded(p *preproc.Pipeline, slots int) into {
	free := make(chan struct{}, slots)
	return func(data []byte, row tensor.Row) (preproc.Info, error) {
		free <- struct{}{}
		defer func() { <-free }()
		return p.Into(data, row)
	}
}

// rate is images a second over two seconds, after one second of warming up.
func rate(t *testing.T, f into, files [][]byte, clients int) float64 {
	t.Helper()
	var count atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			r := newHostRow(224)
			for i := c; !stop.Load(); i++ {
				if _, err := f(files[i%len(files)], r); err != nil {
					t.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	time.Sleep(time.Second)
	from, start := count.Load(), time.Now()
	time.Sleep(2 * time.Second)
	n, took := count.Load()-from, time.Since(start)
	stop.Store(true)
	all.Wait()
	return float64(n) / took.Seconds()
}

// scaled are the photographs at a size.
func scaled(t testing.TB, w, h, quality int) (files [][]byte) {
	t.Helper()
	for _, f := range photographs(t)[:2] {
		im, err := stdjpeg.Decode(bytes.NewReader(f.data))
		if err != nil {
			t.Fatal(err)
		}
		b := im.Bounds()
		out := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				out.Set(x, y, im.At(b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h))
			}
		}
		var buffer bytes.Buffer
		if err := stdjpeg.Encode(&buffer, out, &stdjpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		files = append(files, buffer.Bytes())
	}
	return files
}

// TestCardStages prints the stages of a lane's batch: what nvJPEG takes for a header, a batch's decoding, its resizing.
func TestCardStages(t *testing.T) {
	if os.Getenv("VITRINE_CARD_SPEED") == "" {
		t.Skip("VITRINE_CARD_SPEED is not set")
	}
	p := onCard(t, plan224(), Options{Mode: Card, Memory: 4 << 30})
	c := p.cards[0]
	p.line.quit(c.lanes...)
	for _, size := range [][2]int{{224, 224}, {640, 480}, {1600, 1200}} {
		files := scaled(t, size[0], size[1], 85)
		for _, n := range []int{1, 8, 32, 128} {
			var batch []*waiter
			for i := range n {
				task, ok := p.Task(files[i%len(files)])
				if !ok {
					t.Fatal("no task")
				}
				batch = append(batch, &waiter{task: task})
			}
			if err := driver.Do(c.gpu, func() error { return c.lanes[0].stages(batch, fmt.Sprintf("%dx%d", size[0], size[1])) }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stages runs a batch some times and prints the median of each stage.
func (a *lane) stages(batch []*waiter, name string) error {
	times := make([][]float64, 5)
	for range 21 {
		marks := []time.Time{time.Now()}
		mark := func() error {
			err := a.gpu.Synchronize(a.stream)
			marks = append(marks, time.Now())
			return err
		}
		if _, err := a.supported(batch); err != nil {
			return err
		}
		err := errors.Join(mark(), nil)
		pl := a.plan(batch)
		err = errors.Join(err, mark(), a.gpu.CopyInAsync(a.table, a.tables[:pl.tables], a.stream), mark(),
			a.codec.Decode(pl.files, pl.images, uintptr(a.stream)), mark(),
			a.kernel.resize(a, pl), a.gpu.CopyOutAsync(a.result[:flagBytes+len(pl.files)*a.outBytes()], a.output, a.stream), mark())
		if err != nil {
			return err
		}
		for i := range times {
			times[i] = append(times[i], float64(marks[i+1].Sub(marks[i]).Microseconds()))
		}
	}
	fmt.Printf("%s, batch of %3d, µs:", name, len(batch))
	for i, what := range []string{"headers", "copies on the host", "tables", "decode", "resize and copy back"} {
		slices.Sort(times[i])
		fmt.Printf(" %s %.0f", what, times[i][len(times[i])/2])
	}
	fmt.Println()
	return nil
}
