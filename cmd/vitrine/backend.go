package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cpu"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/repository"
)

// gpuInstances: while one batch is computed, the next one's pixels are read.
const gpuInstances = 2

// backend is what --engine names; auto is the cards where there are any, else the processor.
func (e *engineFlags) backend() (*backend, error) {
	if e.name != autoEngine {
		return backendOf(e.name)
	}
	switch n, err := driver.Count(); {
	case err == nil && n > 0:
		return &cudaBackend, nil
	case err != nil && !errors.Is(err, driver.ErrNoDriver):
		return nil, err
	}
	return &cpuBackend, nil
}

func (o *plantOptions) cpuOptions(d fleet.Device) cpu.Options {
	return cpu.Options{Precision: engine.Precision(o.engine.precision), Threads: o.engine.threads,
		Instances: d.Instances, MaxBatch: o.engine.maxBatch, Logger: o.log}
}

// backendOn is what computes on devices that were chosen: with --engine auto the processor may be, by an
// instance group, where there are cards.
func (e *engineFlags) backendOn(devices []fleet.Device) (*backend, error) {
	b, err := e.backend()
	if b != &cudaBackend || devices[0].GPU != fleet.CPU {
		return b, err
	}
	if e.name == autoEngine {
		return &cpuBackend, nil
	}
	return nil, fmt.Errorf("--engine cuda computes on GPUs, not on the processor: %w", driver.ErrNoDriver)
}

// deviceFlags say which devices compute, and when one counts as failed.
type deviceFlags struct {
	gpus    string
	timeout time.Duration
}

func (d *deviceFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Devices (docs/devices.md)", func(fs *pflag.FlagSet) {
		fs.StringVar(&d.gpus, "gpus", "all", "cards that compute, each with its own --instances: `NUMBERS` separated by commas, or all. "+
			"Engines of the processor have none; with --engine null any numbers do")
		fs.DurationVar(&d.timeout, "device-timeout", 30*time.Second, "longest `time` of one batch on a card; one that takes longer is taken out "+
			"and its batch computed on another. 0 is no limit")
	})
}

// cards are the numbers of the cards that a backend is to compute on, none for the processor.
func (d *deviceFlags) cards(e *engineFlags) ([]int, error) {
	b, err := e.backend()
	if err != nil {
		return nil, err
	}
	if d.all() {
		return b.gpus(e, nil)
	}
	asked, err := d.named()
	if err != nil {
		return nil, err
	}
	have, err := b.gpus(e, asked)
	if err != nil {
		return nil, err
	}
	for _, n := range asked {
		if !slices.Contains(have, n) {
			return nil, cli.Usage{Err: fmt.Errorf("--gpus %s: --engine %s cannot compute on card %d", d.gpus, e.name, n)}
		}
	}
	return asked, nil
}

// named are the numbers that --gpus lists.
func (d *deviceFlags) named() (asked []int, err error) {
	for _, text := range strings.Split(d.gpus, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || slices.Contains(asked, n) {
			return nil, cli.Usage{Err: fmt.Errorf("--gpus %s: want different numbers of cards, separated by commas, or all", d.gpus)}
		}
		asked = append(asked, n)
	}
	return asked, nil
}

// all tells whether no cards are named.
func (d *deviceFlags) all() bool { return d.gpus == "all" || d.gpus == "" }

// places are the devices of --model: --instances on each card, or on the processor.
func (o *plantOptions) places() ([]fleet.Device, error) {
	places := o.stored
	if places == nil {
		cards, err := o.devices.cards(&o.engine)
		if err != nil {
			return nil, err
		}
		places = append(places, repository.Place{GPU: repository.CPU, Instances: o.engine.instances})
		if len(cards) > 0 {
			places = nil
		}
		for _, n := range cards {
			places = append(places, repository.Place{GPU: n, Instances: o.engine.instances})
		}
	}
	var devices []fleet.Device
	for _, p := range places {
		d := fleet.Device{GPU: p.GPU, Instances: p.Instances}
		switch {
		case p.GPU == repository.CPU:
			d.GPU = fleet.CPU
		case o.engine.name != nullBackend.name: // whose cards are pretended
			d.UUID = identify(p.GPU).UUID
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// newEngines makes the engines of all devices, once there is memory for them. With --engine auto the
// processor computes a model that the cards cannot, unless cards were named.
func (o *plantOptions) newEngines(ctx context.Context, m *model.Model) (e *fleet.Fleet, devices []fleet.Device, free func(), err error) {
	if devices, err = o.places(); err != nil {
		return nil, nil, nil, err
	}
	b, err := o.engine.backendOn(devices)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := b.takes(m); err != nil {
		return nil, nil, nil, err
	}
	if free, err = o.reserve(b, m, devices); err != nil {
		return nil, nil, nil, err
	}
	if e, err = o.newFleet(ctx, b, m, devices); err == nil {
		return e, devices, free, nil
	}
	free()
	open := o.engine.name == autoEngine && o.stored == nil && o.devices.all() && !o.engine.fp8()
	if devices[0].GPU == fleet.CPU || !open || ctx.Err() != nil {
		return nil, nil, nil, err
	}
	o.log.Warn("the GPU cannot be used, the processor computes", "reason", err)
	o.engine.name = "cpu"
	return o.newEngines(ctx, m)
}

// newFleet makes the engines of all devices. One that fails later is made again from weights that are
// opened again, and from no others than these; m may be closed.
func (o *plantOptions) newFleet(ctx context.Context, b *backend, m *model.Model, devices []fleet.Device) (*fleet.Fleet, error) {
	var opened atomic.Pointer[model.Model]
	opened.Store(m)
	defer opened.Store(nil)
	hash, again := m.WeightsHash, *o
	again.progress = nil
	if m.Source.Synthetic && o.fallback {
		again.model.reference = model.SyntheticReference
	}
	factory := func(ctx context.Context, d fleet.Device) (engine.Engine, error) {
		if err := ctx.Err(); err != nil { // to pack the weights takes a while
			return nil, err
		}
		if m := opened.Load(); m != nil {
			return b.make(&again, m, d)
		}
		defer again.decoder.pause(d)() // a lost context is made anew only when nobody holds it
		return again.remake(ctx, b, d, hash)
	}
	f := fleet.Options{Logger: o.log}
	if devices[0].GPU != fleet.CPU {
		f.Timeout = o.devices.timeout // a processor that is slow has not failed
	}
	return fleet.New(ctx, devices, factory, f)
}

// remake makes the engine of a device from weights that must still be those of the hash.
func (o *plantOptions) remake(ctx context.Context, b *backend, d fleet.Device, hash string) (_ engine.Engine, err error) {
	m, err := o.openModel(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if m.WeightsHash != hash {
		return nil, errors.New("the weights have changed since the model was loaded")
	}
	if b == &cudaBackend {
		sharedCards.Forget(d.GPU) // the driver makes no new context while one that is lost is held
	}
	return b.make(o, m, d)
}

// bareEngine is the engine of the first device alone, for who measures it and nothing around it.
func (o *plantOptions) bareEngine(m *model.Model) (engine.Engine, error) {
	devices, err := o.places()
	if err != nil {
		return nil, err
	}
	if err := o.engine.checkFP8(devices); err != nil {
		return nil, err
	}
	b, err := o.engine.backendOn(devices)
	if err != nil {
		return nil, err
	}
	if err := b.takes(m); err != nil {
		return nil, err
	}
	return b.make(o, m, devices[0])
}
