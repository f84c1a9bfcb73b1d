package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/batcher"
	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/preproc/jpeg"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// plantOptions are all that decides what an image becomes; every command that embeds fills them from
// the same flags.
type plantOptions struct {
	model    modelFlags
	engine   engineFlags
	devices  deviceFlags
	image    imageFlags
	batch    batchFlags
	space    string // wanted; "" for any
	fallback bool   // synthetic weights where the default model cannot be had
	log      *slog.Logger
	progress *os.File // where a download shows itself; nil is the log
	metrics  *telemetry.Metrics
	budget   *service.Budget // nil is none
	choice   string          // chooseEngine's reason
	decoder  *decoder        // of this plant, once it is being assembled

	// A model of a repository has these of its configuration; zero values are those of the flags.
	name, version string             // what protocols call it
	queue         *batcher.Config    // how it batches
	stored        []repository.Place // where it runs
	tensors       [2]string          // what it calls the input and the output of an ONNX file; "" says nothing
}

// plant is model, engine, image pipeline and batcher, put together.
type plant struct {
	images  *service.Images
	devices []fleet.Device
	free    func() // gives its memory back to the budget
	decoder *decoder
	began   time.Time

	input, output string // names of the model's tensors
}

// WarmUp embeds a first image; the plant is ready then.
func (p *plant) WarmUp(ctx context.Context) error {
	if err := p.images.WarmUp(ctx); err != nil {
		return err
	}
	p.images.Metrics().SetLoadDuration(time.Since(p.began))
	return nil
}

// Close waits for what is being computed and frees the engine. It may be called again.
func (p *plant) Close() error {
	err := p.images.Close()
	err = errors.Join(err, p.decoder.close())
	p.free()
	return err
}

// buildPlant puts everything together and embeds a first image.
func buildPlant(ctx context.Context, o plantOptions) (*plant, error) {
	p, err := assemblePlant(ctx, o)
	if err != nil {
		return nil, err
	}
	step := time.Now()
	if err := p.WarmUp(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	phase(o.log, "first images", step)
	return p, nil
}

// assemblePlant puts everything together, once there is memory for it.
func assemblePlant(ctx context.Context, o plantOptions) (_ *plant, err error) {
	began := time.Now()
	devices, err := o.places() // before anything slow
	if err != nil {
		return nil, err
	}
	if err := o.engine.checkFP8(devices); err != nil {
		return nil, err
	}
	m, err := o.openModel(ctx)
	if err != nil {
		return nil, err
	}
	o.chooseEngine(ctx, m)
	if err := o.checkTensors(m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	plan := preproc.PlanFor(m.Config)
	plan.EXIF = o.image.rotate
	pipeline, err := preproc.New(plan, o.image.options())
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if o.decoder, err = o.newDecoder(pipeline); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	step := time.Now()
	var e *fleet.Fleet
	var free func()
	e, devices, free, err = o.newEngines(ctx, m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	defer func() {
		if err != nil {
			free()
		}
	}()
	phase(o.log, "engine", step, "engine", e.Spec().Name, "variant", e.Spec().Variant, "precision", e.Spec().Precision,
		"devices", devices, "in_flight", e.Spec().InFlight, "jpeg", pipeline.JPEG())
	if err := o.decoder.open(&o, devices); err != nil {
		return nil, errors.Join(err, m.Close(), e.Close())
	}
	meta := o.metadata(m, plan, e.Spec())
	if err := errors.Join(m.Close(), o.checkSpace(meta.Space)); err != nil {
		return nil, errors.Join(err, o.decoder.close(), e.Close())
	}
	images, err := o.newImages(meta, e)
	if err != nil {
		return nil, errors.Join(err, o.decoder.close(), e.Close())
	}
	input, output := tensorNames(m)
	return &plant{images, devices, free, o.decoder, began, input, output}, nil
}

// reserve takes the engine's memory from the budget.
func (o *plantOptions) reserve(b *backend, m *model.Model, devices []fleet.Device) (free func(), err error) {
	var all int64
	for _, d := range devices {
		n, err := b.memory(o, m, d)
		if err != nil {
			return nil, err
		}
		all += n
	}
	if o.budget == nil || all == 0 {
		return func() {}, nil
	}
	return o.budget.Reserve(o.protocolName(m), all)
}

// protocolName is what protocols call the model.
func (o *plantOptions) protocolName(m *model.Model) string { return cmp.Or(o.name, protocolName(m)) }

// openModel opens the weights, or says loudly that others took their place.
func (o *plantOptions) openModel(ctx context.Context) (*model.Model, error) {
	if o.engine.name == "null" && !o.model.given {
		return weightless()
	}
	m, err := o.model.open(ctx, o.log, o.progress)
	if err == nil || !o.fallback || !errors.Is(err, model.ErrNoNetwork) {
		return m, err
	}
	o.log.Warn("NO NETWORK, SYNTHETIC WEIGHTS: the model cannot be had; the server runs with weights without meaning, on loopback only, "+
		"so that you see it work. Its embeddings are noise.", "reason", err)
	synthetic := o.model
	synthetic.reference = model.SyntheticReference
	return synthetic.open(ctx, o.log, o.progress)
}

// weightless is the default model's shape without its weights, for the engine that reads none.
func weightless() (*model.Model, error) {
	const name = "ViT-B-32"
	c, ok := model.Preset(name + "-quickgelu")
	if !ok {
		return nil, fmt.Errorf("no architecture %s", name)
	}
	return &model.Model{Config: c, WeightsHash: "none",
		Source: model.Source{Reference: "none", ModelName: name, Pretrained: "openai", Synthetic: true}}, nil
}

// metadata is what the service cannot know by itself. The null engine's vectors are in no model's
// space, whatever its precision is called.
func (o *plantOptions) metadata(m *model.Model, plan preproc.Plan, spec engine.Spec) service.Metadata {
	precision, s := string(spec.Precision), m.Source
	if spec.Name == "null" {
		precision, s.Synthetic = spec.Name, true
	}
	return service.Metadata{
		ModelName: s.ModelName, Pretrained: s.Pretrained, Synthetic: s.Synthetic, Source: s.Reference,
		Space:       model.SpaceID(plan.Hash(), m.WeightsHash, precision),
		WeightsHash: m.WeightsHash, Plan: plan.String(), PlanHash: plan.Hash(), Parameters: m.Parameters(),
		Name: o.protocolName(m), Version: cmp.Or(o.version, "1"), Choice: o.choice,
	}
}

func (o *plantOptions) checkSpace(space string) error {
	if o.space == "" || o.space == space {
		return nil
	}
	return fmt.Errorf("--space %s is wanted, but this model, preprocessing and precision make vectors of space %s", o.space, space)
}

// batching is the queue's configuration: the model's own, or the flags'.
func (o *plantOptions) batching() batcher.Config {
	if o.queue != nil {
		return *o.queue
	}
	return batcher.Config{
		MaxBatchSize: o.engine.maxBatch, PreferredBatchSizes: o.batch.preferred, MaxQueueDelay: o.batch.delay,
		MaxQueueSize: o.batch.queue, DefaultTimeout: o.batch.timeout, PriorityLevels: uint32(o.batch.levels), Logger: o.log,
	}
}

// checkBatching refuses what the flags leave to the engine and the engine does not take.
func (o *plantOptions) checkBatching(spec engine.Spec) error {
	outside := func(n int) bool { return n > spec.MaxBatch }
	if o.queue != nil || !slices.ContainsFunc(o.batch.preferred, outside) {
		return nil
	}
	return cli.Usage{Err: fmt.Errorf("--preferred-batch-size: want sizes from 1 to --max-batch-size, which engine %s puts at %d", spec.Name, spec.MaxBatch)}
}

func (o *plantOptions) newImages(meta service.Metadata, e engine.Engine) (*service.Images, error) {
	if err := o.checkBatching(e.Spec()); err != nil {
		return nil, err
	}
	return service.New(service.Options{
		Name: meta.Name, Version: meta.Version, Engine: e, Pipeline: o.decoder.pipeline, Metadata: meta,
		DecodeWorkers: o.decoder.workers, DecodeMemory: int64(o.image.memory), Metrics: o.metrics, Logger: o.log,
		Batcher: o.batching(),
	})
}

func (i *imageFlags) options() preproc.Options {
	return preproc.Options{
		Limits: preproc.Limits{Bytes: int(i.maxBytes), Pixels: int64(i.maxPixels)},
		JPEG:   jpeg.Backend(i.jpeg),
	}
}

var vitName = regexp.MustCompile(`^vit-([a-z]+)-([0-9]+)`)

// protocolName is what protocols call a model: "openclip_vit_b32" for ViT-B-32.
func protocolName(m *model.Model) string {
	name := m.Source.ModelName
	if name == "" && m.ONNX != nil {
		return fileName(m.ONNX.Path)
	}
	if name == "" {
		name = m.Config.Architecture
	}
	name = vitName.ReplaceAllString(strings.ToLower(name), "vit_$1$2")
	return "openclip_" + strings.ReplaceAll(name, "-", "_")
}
