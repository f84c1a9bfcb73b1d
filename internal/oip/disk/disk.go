// Package disk serves the models of a repository on disk (Triton's layout, internal/model/repository):
// it makes their versions, ready and warm, and keeps what is served in step with what lies there.
//
// Which engine computes a version is not known here: a Builder makes that part, the plant.
package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
	"github.com/vitrine-project/vitrine/internal/service"
)

// Names of the backends, in a configuration's backend field.
const (
	Backend       = "vitrine"        // images to embeddings
	ONNXBackend   = "onnxruntime"    // the same, of an ONNX graph
	SampleBackend = "vitrine_sample" // the tensor models of the protocol's examples
)

// Plant is the weights of one version behind one queue. It is ready after WarmUp.
type Plant interface {
	service.Model
	WarmUp(ctx context.Context) error
	// Close waits for what is being computed and frees everything.
	Close() error
}

// Named is a Plant whose tensors have names of their own: a model of it that declares none has these.
type Named interface{ Tensors() (input, output string) }

// Order is what a plant is to be made of.
type Order struct {
	Name, Version string
	Path          string // the version's folder, or the file that default_model_filename names in it
	Config        *repository.Config
	Places        []repository.Place // of its instances: all cards, or the processor
}

// Builder makes a plant that is not warm yet. It may keep nothing of the order's path open.
type Builder func(ctx context.Context, o Order) (Plant, error)

// Options make a Repository.
type Options struct {
	Dirs    []string
	Build   Builder
	Threads int          // plants that are made at the same time; 0 is 4, as in Triton
	GPUs    []int        // the cards that plants may compute on
	Logger  *slog.Logger // nil is slog.Default()
}

// Repository is an oip.Loader of what lies on disk.
type Repository struct {
	files   *repository.Repository
	build   Builder
	plants  *pool
	gpus    []int
	log     *slog.Logger
	loading func(name string, versions []string) // told before versions are made; may be nil
}

// Open returns the repository of the folders, which must exist.
func Open(o Options) (*Repository, error) {
	files, err := repository.Open(o.Dirs...)
	if err != nil {
		return nil, err
	}
	if o.Threads <= 0 {
		o.Threads = 4
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Repository{files: files, build: o.Build, plants: newPool(o.Threads), gpus: o.GPUs, log: o.Logger}, nil
}

// OnLoading has f told which versions of a model are about to be made.
func (r *Repository) OnLoading(f func(name string, versions []string)) { r.loading = f }

// Names implements oip.Loader.
func (r *Repository) Names() []string {
	names, err := r.files.Names()
	if err != nil {
		r.log.Error("the model repository cannot be read", "error", err)
	}
	return names
}

// Load implements oip.Loader.
func (r *Repository) Load(ctx context.Context, name, config string, files map[string][]byte) (made []oip.Model, err error) {
	m, done, err := r.read(name, config, files)
	if err != nil {
		kind := fault.Internal
		if config != "" || len(files) > 0 { // what cannot be read came from the client
			kind = fault.Mistaken
		}
		return nil, fault.Wrap(kind, err, "failed to poll from model repository")
	}
	defer func() { err = errors.Join(err, done()) }()
	if r.loading != nil {
		r.loading(name, texts(m.Versions))
	}
	var failures oip.Failures
	for _, v := range m.Versions {
		model, err := r.version(ctx, m, v)
		if err != nil {
			failures = append(failures, oip.Failure{Version: text(v), Err: err})
			continue
		}
		made = append(made, model)
	}
	if failures == nil {
		return made, nil
	}
	for _, model := range made { // all or none, as in Triton
		if c, ok := model.(oip.Closer); ok {
			_ = c.Close() // the failures are what matters
		}
	}
	return nil, failures
}

// read finds the model: stored, stored with another configuration, or brought whole by the request.
func (r *Repository) read(name, config string, files map[string][]byte) (m *repository.Model, done func() error, err error) {
	done = func() error { return nil }
	switch {
	case len(files) > 0:
		return repository.Override(name, config, files)
	case config != "":
		m, err = r.files.ModelWith(name, config)
	default:
		m, err = r.files.Model(name)
	}
	return m, done, err
}

// version makes one version of a model.
func (r *Repository) version(ctx context.Context, m *repository.Model, version int64) (oip.Model, error) {
	if err := check(m, r.gpus); err != nil {
		return nil, err
	}
	if m.Config.Backend == SampleBackend {
		return sample(ctx, m, version)
	}
	return r.image(ctx, m, version)
}

// sample is a version of a model of the protocol's examples. It has no weights.
func sample(ctx context.Context, m *repository.Model, version int64) (oip.Model, error) {
	s, err := samples.Stored(m, version)
	if err != nil {
		return nil, err
	}
	stamp, err := stamp(m, version)
	if err != nil {
		return nil, err
	}
	if err := warm(ctx, m, s); err != nil {
		return nil, err
	}
	return &sampleModel{Model: s, identity: stamp}, nil
}

type sampleModel struct {
	*samples.Model
	identity string
}

// Identity implements oip.Identified.
func (s *sampleModel) Identity() string { return s.identity }

// stamp is a mark of all that a version of a model is made from.
func stamp(m *repository.Model, version int64) (string, error) {
	config, err := m.ConfigStamp()
	if err != nil {
		return "", fmt.Errorf("model '%s': %w", m.Config.Name, err)
	}
	of := m
	if m.Owner != nil {
		of = m.Owner
	}
	files, err := of.VersionStamp(version)
	if err != nil {
		return "", fmt.Errorf("model '%s': %w", m.Config.Name, err)
	}
	return config + "-" + files, nil
}

func text(version int64) string { return strconv.FormatInt(version, 10) }

func texts(versions []int64) (all []string) {
	for _, v := range versions {
		all = append(all, text(v))
	}
	return all
}
