package cardjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// card is a GPU that decodes.
type card struct {
	owner  *Pipeline
	number int
	gpu    driver.GPU
	kernel *kernels
	lanes  []*lane

	running sync.WaitGroup // lanes, those excepted that are hung
	hung    atomic.Int32   // lanes whose batch never returned: they cannot be freed
	warned  sync.Once
	closing sync.Once
	closed  error
}

// openCard takes a card's memory and has every lane decode a picture.
func openCard(p *Pipeline, number int) (c *card, err error) {
	g, err := p.o.open(number)
	if err != nil {
		return nil, err
	}
	c = &card{owner: p, number: number, gpu: g}
	err = driver.Do(g, func() error {
		if err := c.load(); err != nil {
			return err
		}
		for _, a := range c.lanes {
			if err := c.prove(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	p.o.Logger.Info("the card decodes JPEG", "card", number, "name", g.Info().Name, "backend", c.lanes[0].codec.Backend(),
		"device_bytes", p.o.Memory)
	return c, nil
}

func (c *card) load() (err error) {
	p := c.owner
	if c.kernel, err = loadKernels(c.gpu, p.Plan().Size); err != nil {
		return fmt.Errorf("load the kernels: %w", err)
	}
	for range lanes {
		codec, err := p.o.codec(c.gpu)
		if err != nil {
			return err
		}
		a, err := newLane(c.gpu, codec, c.kernel, p.o.Memory/lanes)
		if err != nil {
			return err
		}
		c.lanes = append(c.lanes, a)
	}
	return nil
}

// start has the lanes take from the line, once each has a thread where the card's context is current.
func (c *card) start() (err error) {
	begun := make(chan error, lanes)
	for _, a := range c.lanes {
		c.owner.line.join(a)
		c.running.Add(1)
		go c.serve(a, begun)
	}
	for range c.lanes {
		err = errors.Join(err, <-begun)
	}
	return err
}

// serve runs a lane until it quits, on one thread; begun is told when it begins, or why it cannot.
func (c *card) serve(a *lane, begun chan<- error) {
	began, hung := false, false
	err := driver.Do(c.gpu, func() error {
		began = true
		begun <- nil
		for {
			batch := c.owner.line.take(a)
			if batch == nil {
				return nil
			}
			var err error
			if hung, err = c.work(a, batch); hung || driver.Fatal(err) {
				return err
			}
		}
	})
	if hung {
		return // it was counted as gone when its time was over
	}
	c.running.Done()
	switch {
	case !began:
		begun <- err
	case err != nil:
		c.fail(err)
	}
}

// work runs one batch and tells its waiters. It is hung if nobody waited any more when it returned.
func (c *card) work(a *lane, batch []*waiter) (hung bool, err error) {
	var over atomic.Bool // the batch was answered: by this goroutine, or because its time is over
	timer := time.AfterFunc(c.owner.o.Timeout, func() {
		if over.CompareAndSwap(false, true) {
			c.hang(batch)
		}
	})
	defer timer.Stop()
	start := time.Now()
	run := &run{}
	run.batch(a, batch)
	took := time.Since(start)
	if !over.CompareAndSwap(false, true) {
		return true, nil
	}
	returned := run.returned(len(batch))
	if run.err != nil {
		took = 0
		c.warn(run.err, returned)
	}
	c.owner.line.measured(a, len(batch), returned, took, time.Now())
	run.answer(batch)
	return false, run.err
}

// run is a batch's outcome. Its waiters' results lie in the lane until they are copied.
type run struct {
	err     error
	results [][]byte
	copies  sync.WaitGroup
}

func (r *run) batch(a *lane, batch []*waiter) {
	tasks := make([]*waiter, len(batch)) // the waiters' own must not be written to after they left
	for i, w := range batch {
		tasks[i] = &waiter{task: w.task}
	}
	if r.err = a.run(tasks); r.err != nil {
		return
	}
	for _, t := range tasks {
		r.results = append(r.results, t.pix)
	}
}

// returned is how many of n images have no result.
func (r *run) returned(n int) int {
	if r.err != nil {
		return n
	}
	none := 0
	for _, pix := range r.results {
		if pix == nil {
			none++
		}
	}
	return none
}

// answer gives each waiter its result and waits until all have been copied.
func (r *run) answer(batch []*waiter) {
	for i, w := range batch {
		if r.err != nil || r.results[i] == nil {
			w.answer <- back
			continue
		}
		w.pix, w.copied = r.results[i], r.copies.Done
		r.copies.Add(1)
		w.answer <- done
	}
	r.copies.Wait()
}

// warn tells the first failure aloud, the others to who debugs: files that nvJPEG refuses are usual.
func (c *card) warn(err error, returned int) {
	first := false
	c.warned.Do(func() { first = true })
	if first {
		c.owner.o.Logger.Warn("a batch of JPEG files failed on the card, the processor decodes it", "card", c.number, "images", returned, "error", err)
		return
	}
	c.owner.o.Logger.Debug("a batch of JPEG files failed on the card", "card", c.number, "images", returned, "error", err)
}

// hang gives up a batch that does not return, and the card with it. Its results would go to the lane's own
// memory, which is never used again.
func (c *card) hang(batch []*waiter) {
	c.hung.Add(1)
	c.running.Done()
	c.owner.line.quit(c.lanes...)
	c.owner.o.Logger.Error("a batch of JPEG files did not return: the card decodes no more", "card", c.number,
		"images", len(batch), "after", c.owner.o.Timeout)
	for _, w := range batch {
		w.answer <- back
	}
}

// fail gives up a card whose context is lost, and lets go of it, so that its engine can make a new one.
func (c *card) fail(err error) {
	c.owner.line.quit(c.lanes...)
	c.owner.o.Logger.Error("the card failed and decodes no more JPEG files", "card", c.number, "error", err)
	go func() { _ = c.close() }() // not here: it waits for the lanes; after a failure it tells nothing new
}

// close ends the lanes and frees everything. What a hung lane uses stays: freeing would hang as well.
func (c *card) close() error {
	c.closing.Do(func() {
		c.owner.line.quit(c.lanes...)
		c.running.Wait()
		if c.hung.Load() > 0 {
			c.closed = fmt.Errorf("card %d: a batch never returned, its memory cannot be freed", c.number)
			return
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c.closed = errors.Join(c.gpu.Bind(), c.free()) // a lost context may refuse to be bound, and must be released all the same
	})
	return c.closed
}

func (c *card) free() (err error) {
	for _, a := range c.lanes {
		err = errors.Join(err, a.close())
	}
	if c.kernel != nil {
		err = errors.Join(err, c.gpu.Unload(c.kernel.module))
	}
	return errors.Join(err, c.gpu.Close())
}

// proofDifference is how far the mean of a channel may be from the processor's: pixels of another decoder
// differ by fractions of one level, channels that are swapped or lines that are shifted by tens.
const proofDifference = 3

// prove has a lane decode a picture and compares with the processor's.
func (c *card) prove(a *lane) error {
	data, err := picture()
	if err != nil {
		return err
	}
	p := c.owner
	task, ok := p.Task(data)
	if !ok {
		return errors.New("the picture to prove it with is no plain JPEG file") // a fault of this program
	}
	w := &waiter{task: task}
	if err := a.run([]*waiter{w}); err != nil {
		return err
	}
	if w.pix == nil {
		return fmt.Errorf("nvJPEG's backend %v decodes not even a common file", a.codec.Backend())
	}
	size := p.Plan().Size
	got, want := newHostRow(size), newHostRow(size)
	if _, err := p.Pipeline.Into(data, want); err != nil {
		return err
	}
	if err := p.Finish(&w.task, w.pix, got); err != nil {
		return err
	}
	if d := meanDifference(got, want); d > proofDifference {
		return fmt.Errorf("a picture comes out wrong: by %.1f levels on average", d)
	}
	return nil
}

// hostRow is a row in Go's memory.
type hostRow []byte

func newHostRow(size int) hostRow { return make(hostRow, tensor.FormatUint8HWC.Size(size, size)) }

func (hostRow) Format() tensor.Format { return tensor.FormatUint8HWC }
func (r hostRow) Bytes() []byte       { return r }
func (hostRow) Release()              {}

func meanDifference(a, b []byte) float64 {
	sum := 0
	for i := range a {
		sum += max(int(a[i])-int(b[i]), int(b[i])-int(a[i]))
	}
	return float64(sum) / float64(len(a))
}

// picture is a smooth one of many colours, 4:2:0.
func picture() ([]byte, error) {
	const w, h = 320, 240
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			im.SetRGBA(x, y, color.RGBA{R: uint8(x * 255 / w), G: uint8(y * 255 / h), B: uint8(255 - (x+y)*255/(w+h)), A: 255})
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, im, &jpeg.Options{Quality: 95})
	return b.Bytes(), err
}
