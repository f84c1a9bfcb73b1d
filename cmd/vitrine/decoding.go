package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/cardjpeg"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/service"
)

// onProcessor is --decode's default: other decoders' pixels are not Pillow's.
const onProcessor = "cpu"

// decoder is what images go through: the pipeline itself, or with the help of cards.
type decoder struct {
	pipeline service.Pipeline
	name     string // of what decodes JPEG
	workers  int    // images that are under way at once
	cards    *cardjpeg.Pipeline
}

// newDecoder decides who decodes. Its cards are not open yet: engines come first.
func (o *plantOptions) newDecoder(p *preproc.Pipeline) (*decoder, error) {
	d := &decoder{pipeline: p, name: p.JPEG(), workers: o.image.workers}
	if cmp.Or(o.image.decode, onProcessor) == onProcessor {
		return d, nil
	}
	cards, err := cardjpeg.New(p, cardjpeg.Options{
		Mode: cardjpeg.Mode(o.image.decode), Slots: o.image.workers, Memory: int64(o.image.cardMemory), Library: o.image.nvjpeg,
		Timeout: o.devices.timeout, Logger: o.log,
	})
	switch {
	case err == nil:
		d.cards = cards
		return d, nil
	case cardjpeg.Mode(o.image.decode) == cardjpeg.Shared:
		o.log.Warn("no card helps to decode JPEG", "reason", err)
		return d, nil
	}
	return nil, fmt.Errorf("--decode %s: %w", o.image.decode, err)
}

// open has the cards that compute decode as well.
func (d *decoder) open(o *plantOptions, devices []fleet.Device) error {
	if d.cards == nil {
		return nil
	}
	n, err := d.openCards(devices)
	switch {
	case n > 0 && err == nil:
		d.pipeline, d.workers = d.cards, d.cards.Slots(n)
		d.name += " and nvJPEG"
		return nil
	case err == nil:
		err = errors.New("no GPU computes (--engine, --gpus)")
	}
	err = errors.Join(err, d.close())
	if cardjpeg.Mode(o.image.decode) == cardjpeg.Shared {
		o.log.Warn("no card helps to decode JPEG", "reason", err)
		return nil
	}
	return fmt.Errorf("--decode %s: %w", o.image.decode, err)
}

func (d *decoder) openCards(devices []fleet.Device) (n int, err error) {
	for _, device := range devices {
		if device.GPU == fleet.CPU {
			continue
		}
		if err := d.cards.Open(device.GPU); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// pause lets go of a device's card while its engine is made anew; see cardjpeg.Pipeline.Pause.
func (d *decoder) pause(device fleet.Device) (resume func()) {
	if d == nil || d.cards == nil || device.GPU == fleet.CPU {
		return func() {}
	}
	return d.cards.Pause(device.GPU)
}

// close lets go of the cards; nothing may be decoded any more.
func (d *decoder) close() error {
	if d.cards == nil {
		return nil
	}
	cards := d.cards
	d.cards = nil
	return cards.Close()
}
