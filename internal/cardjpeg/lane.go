package cardjpeg

import (
	"errors"
	"fmt"
	"time"

	"github.com/vitrine-project/vitrine/internal/cardjpeg/nvjpeg"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
)

const (
	// lanes is how many batches a card works on at once: while one's pixels are resized and copied the other
	// one's files are decoded.
	lanes = 2
	// maxBatch is the most images of a batch. nvJPEG's hybrid backend decodes Huffman codes on the card
	// only in batches of about a hundred.
	maxBatch = 128
)

// Sizes of a lane's memory beside the decoded images, in bytes.
const (
	fileBytes  = 16 << 20
	tableBytes = 8 << 20
)

// lane is one batch at a time on a card, with memory for the largest, all of it taken at the start.
type lane struct {
	gpu    driver.GPU
	stream driver.Stream
	codec  nvjpeg.Codec
	kernel *kernels
	room   need

	files  []byte         // pinned: the batch's files
	tables []byte         // pinned: what the kernels read, and
	table  driver.Pointer // where they read it
	pixels driver.Pointer // decoded images and what is between the two passes
	output driver.Pointer // flags, then results of outBytes each
	result []byte         // pinned: a copy of that

	// The line's lock guards what it measures.
	rate meter     // images a second
	took meter     // seconds a batch
	last time.Time // when a batch ended
}

// outBytes is the largest result.
func (a *lane) outBytes() int { return a.kernel.outBytes }

// newLane takes memory; on an error nothing stays allocated.
func newLane(g driver.GPU, codec nvjpeg.Codec, k *kernels, pixelBytes int64) (a *lane, err error) {
	a = &lane{gpu: g, codec: codec, kernel: k, room: need{files: fileBytes, pixels: pixelBytes, tables: tableBytes, images: maxBatch}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
			a = nil
		}
	}()
	if a.stream, err = g.NewStream(); err != nil {
		return a, err
	}
	results := flagBytes + maxBatch*k.outBytes
	for _, m := range []struct {
		to    *[]byte
		bytes int
	}{{&a.files, fileBytes}, {&a.tables, tableBytes}, {&a.result, results}} {
		if *m.to, err = g.AllocHost(m.bytes); err != nil {
			return a, fmt.Errorf("%d MiB of pinned memory: %w", m.bytes>>20, err)
		}
	}
	for _, m := range []struct {
		to    *driver.Pointer
		bytes int
	}{{&a.table, tableBytes}, {&a.pixels, int(pixelBytes)}, {&a.output, results}} {
		if *m.to, err = g.Alloc(m.bytes); err != nil {
			return a, fmt.Errorf("%d MiB on the device: %w", m.bytes>>20, err)
		}
	}
	return a, nil
}

func (a *lane) close() (err error) {
	for _, b := range [][]byte{a.files, a.tables, a.result} {
		if b != nil {
			err = errors.Join(err, a.gpu.FreeHost(b))
		}
	}
	for _, p := range []driver.Pointer{a.table, a.pixels, a.output} {
		if p != 0 {
			err = errors.Join(err, a.gpu.Free(p))
		}
	}
	if a.stream != 0 {
		err = errors.Join(err, a.gpu.CloseStream(a.stream))
	}
	if a.codec != nil {
		err = errors.Join(err, a.codec.Close())
	}
	return err
}

// patienceHalf is the time without a batch after which the memory of how long one took has faded to a half:
// otherwise one batch that happened to be slow could keep a card out for ever.
const patienceHalf = time.Second

// patience is how long a line the processor must have before the lane takes from it. The line's lock is held.
func (a *lane) patience(now time.Time) time.Duration {
	if a.took == 0 {
		return 0
	}
	took := time.Duration(float64(a.took) * float64(time.Second))
	return took >> min(max(now.Sub(a.last), 0)/patienceHalf, 62)
}

// run decodes and resizes a batch. It leaves the results in the waiters' pix, nil where the card could not,
// and returns only when the card is through with everything.
func (a *lane) run(batch []*waiter) error {
	batch, err := a.supported(batch)
	if err != nil || len(batch) == 0 {
		return err
	}
	p := a.plan(batch)
	err = a.launch(p)
	if wait := a.gpu.Synchronize(a.stream); wait != nil {
		return errors.Join(err, wait)
	}
	if err != nil {
		return err
	}
	for i, w := range batch {
		if flag(a.result, i) == 0 {
			w.pix = a.result[flagBytes+i*a.outBytes():][:3*w.task.OutWidth*w.task.OutHeight]
		}
	}
	return nil
}

// supported leaves out what nvJPEG cannot.
func (a *lane) supported(batch []*waiter) (can []*waiter, err error) {
	for _, w := range batch {
		ok, err := a.codec.Supports(w.task.Data)
		if err != nil {
			return nil, err
		}
		if ok {
			can = append(can, w)
		}
	}
	return can, nil
}

// launch starts everything in the lane's stream.
func (a *lane) launch(p *plan) error {
	if err := a.gpu.CopyInAsync(a.table, a.tables[:p.tables], a.stream); err != nil {
		return err
	}
	if err := a.kernel.mark(a, p); err != nil {
		return err
	}
	// The engines that decode write without waiting for the stream: the marks must be there before.
	if err := a.gpu.Synchronize(a.stream); err != nil {
		return err
	}
	if err := a.codec.Decode(p.files, p.images, uintptr(a.stream)); err != nil {
		return err
	}
	if err := a.kernel.resize(a, p); err != nil {
		return err
	}
	return a.gpu.CopyOutAsync(a.result[:flagBytes+len(p.files)*a.outBytes()], a.output, a.stream)
}
