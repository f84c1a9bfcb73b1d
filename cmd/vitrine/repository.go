package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/batcher"
	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/disk"
	"github.com/vitrine-project/vitrine/internal/service"
)

// repositoryFlags are Triton's model repository; they mean what they mean there.
type repositoryFlags struct {
	dirs        []string
	control     string
	pollSeconds int
	load        []string
	exitOnError bool
	strict      bool
	threads     int
	embed       string
	memory      cli.Bytes
}

func (r *repositoryFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Model repository (as in Triton; docs/model-repository.md)", func(fs *pflag.FlagSet) {
		fs.StringSliceVar(&r.dirs, "model-repository", nil, "`FOLDER` of models, each with config.pbtxt and numbered versions; may be given again. "+
			"Without --model only these are served")
		fs.Var(cli.NewChoice(&r.control, "none", "none", "poll", "explicit"), "model-control-mode",
			"none loads all models at the start; poll looks for changes as well; explicit lets clients load and unload")
		fs.Var(cli.NewCount(&r.pollSeconds, 15, 1, 1<<30), "repository-poll-secs", "`seconds` between two looks of poll; the second that finds a change acts on it")
		fs.StringSliceVar(&r.load, "load-model", nil, "`NAME` of a model to load at the start where clients load (explicit); may be given again; * is all")
		fs.BoolVar(&r.exitOnError, "exit-on-error", true, "end where a model cannot be loaded at the start")
		fs.BoolVar(&r.strict, "strict-readiness", true, "not ready while a model is not; otherwise ready once the server answers")
		fs.Var(cli.NewCount(&r.threads, 4, 1, 1024), "model-load-thread-count", "`models` that are loaded at the same time")
		fs.StringVar(&r.embed, "embed-model", "", "`NAME` of the model that /embed and /v1/embeddings answer for; without it --model's, or the only one that embeds images")
		fs.Var(&r.memory, "memory-budget", "`bytes` of all loaded models, estimated before each is loaded; 0 is nine tenths of the memory that the machine or the container has")
	})
}

// check refuses flags that would have no effect.
func (r *repositoryFlags) check() error {
	switch {
	case len(r.dirs) == 0 && (r.control == "poll" || len(r.load) > 0):
		return cli.Usage{Err: errors.New("--model-control-mode poll and --load-model need --model-repository")}
	case len(r.load) > 0 && r.control != "explicit":
		return cli.Usage{Err: errors.New("use of '--load-model' requires setting '--model-control-mode=explicit' as well")}
	case len(r.load) > 1 && slices.Contains(r.load, "*"):
		return cli.Usage{Err: errors.New("--load-model=* is all models: name no others beside it")}
	}
	return nil
}

// openRepository opens the folders, if any; their models are not loaded yet.
func (s *server) openRepository() error {
	r := &s.o.repository
	if len(r.dirs) == 0 {
		return nil
	}
	gpus, err := s.o.devices.cards(&s.o.engine)
	if err != nil {
		return err
	}
	stored, err := disk.Open(disk.Options{Dirs: r.dirs, Build: s.buildStored, Threads: r.threads, GPUs: gpus, Logger: s.log})
	if err != nil {
		return cli.Usage{Err: fmt.Errorf("--model-repository: %w", err)}
	}
	s.stored = stored
	return nil
}

// storedPlant is a plant of the repository: the service's model, with the plant's life.
type storedPlant struct {
	*service.Images
	plant         *plant
	input, output string // names of its tensors
}

// Tensors implements disk.Named.
func (p *storedPlant) Tensors() (input, output string) { return p.input, p.output }

// WarmUp implements disk.Plant.
func (p *storedPlant) WarmUp(ctx context.Context) error { return p.plant.WarmUp(ctx) }

// Close implements disk.Plant.
func (p *storedPlant) Close() error { return p.plant.Close() }

// buildStored implements disk.Builder.
func (s *server) buildStored(ctx context.Context, order disk.Order) (disk.Plant, error) {
	path := order.Path
	if !filepath.IsAbs(path) {
		path = "." + string(filepath.Separator) + path // a path, whatever its first folder is called
	}
	parameter := func(name string) string { return order.Config.Parameters[name].StringValue }
	o := s.plantOptions()
	o.model = modelFlags{reference: path, given: true, name: parameter(disk.ModelName), tag: parameter(disk.Pretrained)}
	o.space = parameter(disk.Space)
	o.name, o.version = order.Name, order.Version
	o.log = s.log.With("model", order.Name, "version", order.Version)
	o.stored = order.Places
	o.engine.maxBatch = int(max(1, order.Config.MaxBatchSize))
	if p := parameter(disk.Precision); p != "" {
		if !slices.Contains(precisionNames, p) || p == fp8Name {
			return nil, fault.New(fault.Invalid, "parameter precision: want auto, fp32, bf16 or fp16, not '%s'", p)
		}
		o.engine.precision, o.engine.calibration = p, ""
	}
	if order.Config.Backend == disk.ONNXBackend {
		if err := o.storedONNX(order.Config); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "model '%s' cannot run", order.Name)
		}
	}
	o.queue = o.storedBatching(order.Config)
	p, err := assemblePlant(ctx, o)
	if err != nil {
		return nil, err
	}
	return &storedPlant{p.images, p, p.input, p.output}, nil
}

// storedBatching is a configuration's dynamic_batching as the batcher has it. Where it says nothing of
// a queue's limits, those of the flags hold.
func (o *plantOptions) storedBatching(c *repository.Config) *batcher.Config {
	q := batcher.Config{MaxBatchSize: o.engine.maxBatch, MaxQueueSize: o.batch.queue, DefaultTimeout: o.batch.timeout, Logger: o.log}
	b := c.DynamicBatching
	if b == nil {
		return &q
	}
	for _, n := range b.PreferredBatchSize {
		q.PreferredBatchSizes = append(q.PreferredBatchSizes, int(n))
	}
	q.MaxQueueDelay = microseconds(b.MaxQueueDelayMicroseconds)
	q.PriorityLevels, q.DefaultPriority = uint32(min(b.PriorityLevels, 1<<31)), uint32(min(b.DefaultPriorityLevel, 1<<31))
	if b.DefaultQueuePolicy == nil && len(b.PriorityQueuePolicy) == 0 {
		return &q
	}
	fallback := batcher.Policy{MaxQueueSize: q.MaxQueueSize, DefaultTimeout: q.DefaultTimeout}
	if p := b.DefaultQueuePolicy; p != nil {
		fallback = queuePolicy(p)
	}
	for level := range max(1, min(b.PriorityLevels, 1<<16)) {
		policy := fallback
		if p, ok := b.PriorityQueuePolicy[level+1]; ok {
			policy = queuePolicy(&p)
		}
		q.Levels = append(q.Levels, policy)
	}
	return &q
}

func queuePolicy(p *repository.QueuePolicy) batcher.Policy {
	action := batcher.Reject
	if p.TimeoutAction == "DELAY" {
		action = batcher.Delay
	}
	return batcher.Policy{MaxQueueSize: int(p.MaxQueueSize), DefaultTimeout: microseconds(p.DefaultTimeoutMicroseconds),
		IgnorePartTimeout: !p.AllowTimeoutOverride, TimeoutAction: action}
}

// microseconds is a time of a configuration; what is longer than a year is a year.
func microseconds(us uint64) time.Duration {
	const year = 365 * 24 * time.Hour
	return min(time.Duration(min(us, uint64(year/time.Microsecond)))*time.Microsecond, year)
}

// startRepository loads the models that are to be there from the start, and begins to poll.
func (s *server) startRepository(ctx context.Context) error {
	r := &s.o.repository
	if s.stored == nil {
		return nil
	}
	s.keeper = disk.NewKeeper(s.stored, s.oip.Models)
	names := s.keeper.All()
	if r.control == "explicit" {
		if names = r.load; slices.Equal(names, []string{"*"}) {
			names = s.keeper.All()
		}
	}
	began := time.Now()
	err := s.keeper.Start(ctx, names)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && r.exitOnError {
		return fmt.Errorf("failed to load all models (--exit-on-error=false serves the others):\n%w", err)
	}
	phase(s.log, "model repository", began, "models", len(names))
	if r.control == "poll" {
		s.poll(ctx)
	}
	return nil
}

// poll looks at the repository until ctx ends; s.polled is closed then.
func (s *server) poll(ctx context.Context) {
	s.polled = make(chan struct{})
	ticker := time.NewTicker(time.Duration(s.o.repository.pollSeconds) * time.Second)
	go func() {
		defer close(s.polled)
		defer ticker.Stop()
		s.keeper.Run(ctx, ticker.C)
	}()
}

// closeModels answers what the protocol's models still have to answer and closes those of the
// repository. Polling has ended, or ends with the run's context.
func (s *server) closeModels(ctx context.Context) error {
	if s.polled != nil {
		select {
		case <-s.polled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.oip.Models.Close(ctx)
}

// imageModel is a model of the protocol that embeds images.
type imageModel interface{ Service() service.Model }

// lendImages lends what the embedding API answers for: --embed-model's, else --model's, else the one
// image model that is served.
func (s *server) lendImages() (service.Model, func(), error) {
	name := s.o.repository.embed
	if name == "" && s.plant != nil {
		return s.plant.images, func() {}, nil
	}
	if name == "" {
		var err error
		if name, err = s.onlyImages(); err != nil {
			return nil, nil, err
		}
	}
	m, done, err := s.oip.Models.Use(name, "")
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, "the model of the embedding API is not there: %v", err)
	}
	images, ok := m.(imageModel)
	if !ok {
		done()
		return nil, nil, fault.New(fault.Invalid, "model '%s' (--embed-model) embeds no images", name)
	}
	return images.Service(), done, nil
}

// onlyImages is the name of the one model that embeds images. Models that share a queue are one.
func (s *server) onlyImages() (string, error) {
	all, err := s.oip.Models.Models("", "")
	if err != nil {
		return "", err
	}
	byQueue := map[string]string{} // a model's name by that of its queue
	for _, m := range all {
		if images, ok := m.(imageModel); ok {
			queue := images.Service().Metadata().Name
			if name := m.Metadata().Name; byQueue[queue] == "" || name == queue {
				byQueue[queue] = name
			}
		}
	}
	names := sortedKeys(byQueue)
	switch len(names) {
	case 0:
		return "", fault.New(fault.Unavailable, "no model that embeds images is served")
	case 1:
		return byQueue[names[0]], nil
	}
	return "", fault.New(fault.Invalid, "several models embed images (%s): start the server with --embed-model to say which one answers here", strings.Join(names, ", "))
}

// currentImages is what lendImages lends, nil if nothing.
func (s *server) currentImages() service.Model {
	m, done, err := s.lendImages()
	if err != nil {
		return nil
	}
	done()
	return m
}

// describeModels is what the server says it serves once it is ready.
func (s *server) describeModels() string {
	if m := s.currentImages(); m != nil {
		meta := m.Metadata()
		return fmt.Sprintf("%s, %s %s, %d floats", cmp.Or(meta.ModelName, meta.Name), meta.Engine, meta.Precision, meta.Dim)
	}
	names := []string{}
	for _, e := range s.oip.Models.Index(true) {
		names = append(names, e.Name)
	}
	if names = slices.Compact(names); len(names) == 0 {
		return "no models yet"
	}
	return "models " + strings.Join(names, ", ")
}

// newLoader is what loads models by name: those of the server itself, and the repository's.
func (s *server) newLoader(own []oip.Model) (oip.Loader, error) {
	known := oip.Known(own)
	if s.stored == nil {
		if s.o.repository.control == "explicit" {
			return known, nil
		}
		return nil, nil
	}
	stored := s.stored.Names()
	for _, name := range known.Names() {
		if slices.Contains(stored, name) {
			return nil, cli.Usage{Err: fmt.Errorf("model '%s' of --model-repository has the name of a model that the server has already (--model, --sample-models)", name)}
		}
	}
	return oip.Chain{known, s.stored}, nil
}
