package cuda

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestCardWorker has the engine timed by another process (baselines/tensorrt/beside.py), in turn with other engines:
// it prints "ready", then for each line on standard input one line of JSON. Rows on the device have no interface that
// users could call, so that this is a test and no command.
//
//	device N R   microseconds of R runs of N rows on the device, each a launch and a wait
//	stream N R   the mean of R launches without waiting in between, as one number in a list
//	host N R     microseconds of R runs from pinned rows to floats
//	pixels N F   writes the bytes of the first N images to F
//	embed N F    writes their embeddings to F, float32
func TestCardWorker(t *testing.T) {
	precision := os.Getenv("VITRINE_CARD_WORKER")
	if precision == "" {
		t.Skip("VITRINE_CARD_WORKER is not set to a precision")
	}
	c, ok := model.Preset("ViT-B-32-quickgelu")
	if !ok {
		t.Fatal("no such preset")
	}
	e := openCard(t, synthetic(t, c, false), Options{Precision: engine.Precision(precision), Instances: 1, MaxBatch: 512})
	w := &worker{e: e}
	if err := w.open(t); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := w.do(in.Text())
		if err != nil {
			t.Fatalf("%q: %v", in.Text(), err)
		}
		line, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(line))
	}
}

// worker holds rows of the same pixels in pinned memory and on the device.
type worker struct {
	e        *Engine
	rows     []tensor.Row
	out      [][]float32
	memory   driver.Pointer
	device   []driver.Pointer
	from, to driver.Event
}

// workerImages are as many different images as there are; larger batches repeat them.
const workerImages = 16

func (w *worker) open(t *testing.T) error {
	s := w.e.spec
	first, _ := filled(t, w.e, workerImages)
	defer func() {
		for _, r := range first {
			r.Release()
		}
	}()
	for i := range s.MaxBatch {
		r, err := w.e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			return err
		}
		copy(r.Bytes(), first[i%workerImages].Bytes())
		w.rows, w.out = append(w.rows, r), append(w.out, make([]float32, s.Dim()))
	}
	return driver.Do(w.e.gpu, w.toDevice)
}

func (w *worker) toDevice() (err error) {
	g := w.e.gpu
	each := rowBytes(tensor.FormatUint8HWC, w.e.spec.Width)
	if w.memory, err = g.Alloc(each * len(w.rows)); err != nil {
		return err
	}
	for i, r := range w.rows {
		at := w.memory + driver.Pointer(i*each)
		if err := g.CopyIn(at, r.Bytes()); err != nil {
			return err
		}
		w.device = append(w.device, at)
	}
	if w.from, err = g.NewEvent(); err != nil {
		return err
	}
	w.to, err = g.NewEvent()
	return err
}

func (w *worker) close() error {
	for _, r := range w.rows {
		r.Release()
	}
	return driver.Do(w.e.gpu, func() error {
		return errors.Join(w.e.gpu.Free(w.memory), w.e.gpu.CloseEvent(w.from), w.e.gpu.CloseEvent(w.to))
	})
}

// do answers one line.
func (w *worker) do(line string) (answer []float64, err error) {
	var what, file string
	var n int
	if _, err := fmt.Sscan(line, &what, &n, &file); err != nil {
		return nil, err
	}
	if n < 1 || n > len(w.rows) {
		return nil, fmt.Errorf("%d images: want 1 to %d", n, len(w.rows))
	}
	switch what {
	case "pixels":
		return []float64{}, w.write(file, n, func(i int) []byte { return w.rows[i].Bytes() })
	case "embed":
		if _, err := w.e.Run(context.Background(), w.rows[:n], w.out[:n]); err != nil {
			return nil, err
		}
		return []float64{}, w.write(file, n, func(i int) []byte { return tensor.BytesOf(w.out[i]) })
	}
	var times int
	if _, err := fmt.Sscan(file, &times); err != nil {
		return nil, err
	}
	switch what {
	case "host":
		return repeated(times, func() error { _, err := w.e.Run(context.Background(), w.rows[:n], w.out[:n]); return err })
	case "device", "stream":
		r := <-w.e.idle
		defer func() { w.e.idle <- r }()
		err = driver.Do(w.e.gpu, func() error {
			answer, err = w.onDevice(r, what == "stream", n, times)
			return err
		})
		return answer, err
	}
	return nil, fmt.Errorf("no command %q", what)
}

func (w *worker) write(file string, n int, part func(i int) []byte) error {
	var all []byte
	for i := range n {
		all = append(all, part(i)...)
	}
	return os.WriteFile(file, all, 0o644)
}

// onDevice launches the graph of n rows that lie on the device.
func (w *worker) onDevice(r *instance, stream bool, n, times int) ([]float64, error) {
	i := slices.Index(r.batches, n)
	if i < 0 {
		return nil, fmt.Errorf("batches of %d are not planned: %v", n, r.batches)
	}
	g := w.e.gpu
	r.fill(tensor.FormatUint8HWC, w.device[:n])
	launch := func() error { return g.LaunchGraph(r.graphs[i], r.stream) }
	if !stream {
		return repeated(times, func() error { return errors.Join(launch(), g.Synchronize(r.stream)) })
	}
	err := g.Record(w.from, r.stream)
	for range times {
		err = errors.Join(err, launch())
	}
	if err := errors.Join(err, g.Record(w.to, r.stream), g.Synchronize(r.stream)); err != nil {
		return nil, err
	}
	ms, err := g.Elapsed(w.from, w.to)
	return []float64{1000 * float64(ms) / float64(times)}, err
}

// repeated times f, microseconds.
func repeated(times int, f func() error) (us []float64, err error) {
	for range times {
		start := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		us = append(us, float64(time.Since(start).Nanoseconds())/1e3)
	}
	return us, nil
}

// TestWorkerLines: what the worker answers, on a pretended card.
func TestWorkerLines(t *testing.T) {
	g := drivertest.New()
	g.Takes = func(string) float32 { return 0.5 }
	e := pretend(t, synthetic(t, small(model.GELU), false), g, Options{Instances: 1, MaxBatch: 32})
	w := &worker{e: e}
	if err := w.open(t); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f")
	for line, want := range map[string]int{"device 32 3": 3, "stream 2 5": 1, "host 3 4": 4, "pixels 20 " + file: 0, "embed 2 " + file + "e": 0} {
		got, err := w.do(line)
		if err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", line, got, err)
		}
		if line[0] == 's' && got[0] != 14*500 { // kernels of half a millisecond
			t.Errorf("%s: %v", line, got)
		}
	}
	pixels, err := os.ReadFile(file)
	if each := 64 * 64 * 3; err != nil || len(pixels) != 20*each || !slices.Equal(pixels[:each], pixels[16*each:17*each]) || slices.Equal(pixels[:each], pixels[each:2*each]) {
		t.Errorf("%d bytes of pixels, want 20 images of which the 17th is the first: %v", len(pixels), err)
	}
	if s, err := os.Stat(file + "e"); err != nil || s.Size() != 2*4*64 {
		t.Errorf("embeddings: %v, %v", s, err)
	}
	for _, line := range []string{"", "device 3 1", "device 64 1", "host 0 1", "host 1 x", "what 1 1"} {
		if _, err := w.do(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}
