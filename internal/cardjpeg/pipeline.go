// Package cardjpeg has cards decode JPEG files beside the processor: nvJPEG to RGB in the device's memory,
// then resize and crop there in the arithmetic of internal/preproc/resize, then the small result back to
// pinned memory, from where it is put into a row as preprocessing on the processor would have. What crosses
// the bus are files on the way up and model inputs on the way down. Engines know nothing of it: a row is a
// row, whoever wrote it.
//
// nvJPEG's pixels are not libjpeg's: another inverse DCT, another rounding of colours (docs/cuda.md has the
// difference). Everything after decoding is equal to the bit.
//
// Which decodes what: files that are not plain (jpeg.Plain), exceed the card's memory for them, or that the card
// failed at are the processor's. The others wait in one line (line.go).
package cardjpeg

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/cardjpeg/nvjpeg"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Mode says who decodes JPEG files.
type Mode string

const (
	// Shared has the processor and cards share them by measured rates.
	Shared Mode = "auto"
	// Card leaves to the processor only what no card can do.
	Card Mode = "nvjpeg"
)

// Options configure a Pipeline. Zero values are usable.
type Options struct {
	Mode    Mode          // "" means Shared
	Slots   int           // images that the processor decodes at once; 0 is one a processor
	Memory  int64         // bytes on each card for decoded images; 0 is DefaultMemory
	Library string        // file of libnvjpeg; "" looks for it
	Timeout time.Duration // after which a batch's card counts as lost; 0 is 30 s
	Logger  *slog.Logger  // nil means slog.Default

	// Tests put a pretended GPU and codec here.
	open  func(gpu int) (driver.GPU, error)
	codec func(driver.GPU) (nvjpeg.Codec, error)
}

// DefaultMemory is enough for two batches of 128 images of 1200 x 800 pixels.
const DefaultMemory = 768 << 20

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Shared
	}
	if o.Slots <= 0 {
		o.Slots = runtime.GOMAXPROCS(0)
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Pipeline is a preproc.Pipeline with the help of cards. It is safe for concurrent use.
type Pipeline struct {
	*preproc.Pipeline
	o    Options
	line *line

	mu    sync.Mutex
	cards map[int]*card // by number; nil for one that could not be opened again
}

// New is a pipeline without cards. It fails where nvJPEG cannot be loaded.
func New(p *preproc.Pipeline, o Options) (*Pipeline, error) {
	o = o.withDefaults()
	if o.open == nil {
		o.open = driver.Open
	}
	if o.codec == nil {
		var names []string
		if o.Library != "" {
			names = []string{o.Library}
		}
		library, err := nvjpeg.Load(names...)
		if err != nil {
			return nil, fmt.Errorf("nvJPEG (pip install nvidia-nvjpeg; --nvjpeg names its file): %w", err)
		}
		o.Logger.Info("nvJPEG", "library", library.Name(), "version", nvjpeg.VersionText(library.Version()))
		o.codec = func(driver.GPU) (nvjpeg.Codec, error) { return library.Open() }
	}
	return &Pipeline{Pipeline: p, o: o, line: newLine(o.Mode, o.Slots), cards: map[int]*card{}}, nil
}

// Slots is how many images should be under way at once: what the processor decodes, and for each lane of each card
// a batch that runs and one that waits.
func (p *Pipeline) Slots(gpus int) int { return p.o.Slots + gpus*lanes*2*maxBatch }

// Open has a card decode from now on, once it has proved that it can.
func (p *Pipeline) Open(gpu int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cards[gpu] != nil {
		return fmt.Errorf("card %d decodes already", gpu)
	}
	p.cards[gpu] = nil
	c, err := openCard(p, gpu)
	if err != nil {
		return fmt.Errorf("JPEG decoding on card %d: %w", gpu, err)
	}
	if err := c.start(); err != nil {
		return errors.Join(fmt.Errorf("JPEG decoding on card %d: %w", gpu, err), c.close())
	}
	p.cards[gpu] = c
	return nil
}

// Pause lets go of a card, so that its context can be made anew, and returns what takes it up again. Both do
// nothing for a card that was not opened. What waits goes elsewhere.
func (p *Pipeline) Pause(gpu int) (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, had := p.cards[gpu]
	if !had {
		return func() {}
	}
	if c != nil {
		if err := c.close(); err != nil { // usual for a card that failed
			p.o.Logger.Debug("closing the card's decoder", "card", gpu, "error", err)
		}
		p.cards[gpu] = nil
	}
	return func() {
		if err := p.Open(gpu); err != nil {
			p.o.Logger.Warn("the card decodes no more, the processor does", "card", gpu, "reason", err)
		}
	}
}

// Close lets go of all cards. No call may be under way, and none may follow.
func (p *Pipeline) Close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for gpu, c := range p.cards {
		if c != nil {
			err = errors.Join(err, c.close())
		}
		p.cards[gpu] = nil
	}
	if s := p.Stats(); s.Batches > 0 {
		p.o.Logger.Info("JPEG decoding", "processor", s.Processor, "cards", s.Cards, "batches", s.Batches, "given_back", s.Returned)
	}
	return err
}

// Stats is what was done where.
type Stats struct {
	Processor int64 // images
	Cards     int64 // images
	Batches   int64 // on cards
	Returned  int64 // images that a card gave back to the processor
}

// Stats is what was done where so far.
func (p *Pipeline) Stats() Stats {
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	return p.line.stats
}

// Decoded is Stats for the service's metrics.
func (p *Pipeline) Decoded() (processor, cards, returned int64) {
	s := p.Stats()
	return s.Processor, s.Cards, s.Returned
}

// Into decodes and preprocesses an image file into row, whose content is undefined after an error.
func (p *Pipeline) Into(data []byte, row tensor.Row) (preproc.Info, error) {
	if p.line.enterAtOnce() {
		return p.here(data, row)
	}
	w := newWaiter()
	w.task, w.offered = p.Task(data)
	start := time.Now()
	answer := p.line.enter(w)
	if answer == done {
		info := preproc.Info{Format: preproc.JPEG, Width: w.task.Width, Height: w.task.Height, Decode: time.Since(start)}
		start = time.Now()
		defer w.copied()
		err := p.Finish(&w.task, w.pix, row)
		info.Preprocess = time.Since(start)
		return info, err
	}
	if answer == back {
		w.offered = false
		p.line.enter(w)
	}
	return p.here(data, row)
}

// here decodes on the processor, in a slot that the caller has.
func (p *Pipeline) here(data []byte, row tensor.Row) (preproc.Info, error) {
	start := time.Now()
	defer func() { p.line.leave(time.Since(start)) }()
	return p.Pipeline.Into(data, row)
}

// PixelsInto preprocesses pixels, on the processor.
func (p *Pipeline) PixelsInto(pix []byte, width, height int, row tensor.Row) error {
	if !p.line.enterAtOnce() {
		p.line.enter(newWaiter())
	}
	defer p.line.leave(uncounted)
	return p.Pipeline.PixelsInto(pix, width, height, row)
}
