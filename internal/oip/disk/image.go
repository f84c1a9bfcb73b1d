package disk

import (
	"context"
	"maps"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/images"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// imageModel is a version of an image model. It holds its plant, which others may hold as well.
type imageModel struct {
	*images.Model
	identity string
	plant    *share
}

// Identity implements oip.Identified.
func (m *imageModel) Identity() string { return m.identity }

// Close implements oip.Closer.
func (m *imageModel) Close() error { return m.plant.close() }

// image makes a version of an image model, and its plant if it is the first to need it.
func (r *Repository) image(ctx context.Context, m *repository.Model, version int64) (_ oip.Model, err error) {
	identity, err := stamp(m, version)
	if err != nil {
		return nil, err
	}
	plant, err := r.plant(ctx, m, version)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = plant.close() // the error is what matters
		}
	}()
	model, err := open(plant.of, m, version)
	if err != nil {
		return nil, err
	}
	if m.Owner != nil { // an owner's warm-up is part of its plant
		if err := warm(ctx, m, model); err != nil {
			return nil, err
		}
	}
	return &imageModel{Model: model, identity: identity, plant: plant}, nil
}

// plant is the model's own, or that of the model whose queue it shares.
func (r *Repository) plant(ctx context.Context, m *repository.Model, version int64) (*share, error) {
	if m.Owner != nil {
		m = m.Owner
	}
	c := m.Config
	files, err := m.VersionStamp(version)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "model '%s' version %d", c.Name, version)
	}
	order := Order{Name: c.Name, Version: text(version), Path: m.File(version), Config: c, Places: c.Places()}
	return r.plants.get(ctx, m.Dir+" "+order.Version+" "+files, func(ctx context.Context) (Plant, error) {
		p, err := r.build(ctx, order)
		if err != nil {
			return nil, err
		}
		if err := prove(ctx, p, m, version); err != nil {
			_ = p.Close() // the error is what matters
			return nil, err
		}
		return p, nil
	})
}

// prove runs the warm-up of the plant's own model, and then the plant's.
func prove(ctx context.Context, p Plant, m *repository.Model, version int64) error {
	model, err := open(p, m, version)
	if err != nil {
		return err
	}
	if err := warm(ctx, m, model); err != nil {
		return err
	}
	return p.WarmUp(ctx)
}

// open puts a model as it is declared before a plant. Tensors that the configuration leaves out are
// those of preprocessed images, as Triton completes them from an exported model.
func open(p service.Model, m *repository.Model, version int64) (*images.Model, error) {
	meta, config, err := oip.Declared(complete(m, p.Metadata()), version)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "model '%s'", m.Config.Name)
	}
	maps.Copy(config.Parameters, images.Parameters(p.Metadata()))
	return images.New(images.Options{Service: p, Metadata: meta, Config: config})
}

func complete(m *repository.Model, meta service.Metadata) *repository.Model {
	c := *m.Config
	if len(c.Input) == 0 {
		side := int64(meta.ImageSize)
		c.Input = []repository.Input{{Name: images.Input, DataType: repository.DataType("TYPE_" + tensor.FP32.String()),
			Format: "FORMAT_NONE", Dims: []int64{3, side, side}}}
	}
	if len(c.Output) == 0 {
		c.Output = []repository.Output{{Name: images.Output, DataType: repository.DataType("TYPE_" + tensor.FP32.String()),
			Dims: []int64{int64(meta.Dim)}}}
	}
	completed := *m
	completed.Config = &c
	return &completed
}
