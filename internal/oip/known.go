package oip

import (
	"context"
	"slices"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Known is a Loader of models that are there already: clients may take them out of service and back.
type Known []Model

// Names implements Loader.
func (k Known) Names() []string {
	var names []string
	for _, m := range k {
		names = append(names, m.Metadata().Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Load implements Loader.
func (k Known) Load(_ context.Context, name, config string, files map[string][]byte) (models []Model, err error) {
	if config != "" || len(files) > 0 {
		return nil, fault.New(fault.Unimplemented, "the model is part of the server: it takes no other configuration and no files")
	}
	for _, m := range k {
		if m.Metadata().Name == name {
			models = append(models, m)
		}
	}
	if models == nil {
		return nil, fault.New(fault.NotFound, "no such model")
	}
	return models, nil
}

// Chain is a Loader of several: the first that has a name loads it, the last whatever none has.
type Chain []Loader

// Names implements Loader.
func (c Chain) Names() (all []string) {
	for _, l := range c {
		all = append(all, l.Names()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Load implements Loader.
func (c Chain) Load(ctx context.Context, name, config string, files map[string][]byte) ([]Model, error) {
	for _, l := range c[:len(c)-1] {
		if slices.Contains(l.Names(), name) {
			return l.Load(ctx, name, config, files)
		}
	}
	return c[len(c)-1].Load(ctx, name, config, files)
}
