// Package transcript serves, to tests, the models of the Triton server whose answers testdata/triton
// holds: their configurations over the sample engine.
package transcript

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
)

// modelsDir is the recorded repository, seen from a front's folder.
const modelsDir = "../../../testdata/triton/models"

// notLoaded are the models that the recorded server had on disk only.
var notLoaded = []string{"unloaded", "broken", "misspelt"}

// loader makes models from a copy of the recorded repository.
type loader struct{ repository *repository.Repository }

// newLoader copies the repository and adds the version folders, which are empty.
func newLoader(t *testing.T) *loader {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(modelsDir)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		versions := []string{"1"}
		if e.Name() == "versions" {
			versions = []string{"1", "2", "3"}
		}
		for _, v := range versions {
			if err := os.MkdirAll(filepath.Join(root, e.Name(), v), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := repository.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return &loader{r}
}

// Names implements oip.Loader.
func (l *loader) Names() []string {
	names, err := l.repository.Names()
	if err != nil {
		return nil
	}
	return names
}

// Load implements oip.Loader.
func (l *loader) Load(_ context.Context, name, config string, files map[string][]byte) (all []oip.Model, err error) {
	var m *repository.Model
	if config == "" && len(files) > 0 {
		return nil, fault.New(fault.Mistaken, "Load parameter 'config' must be specified for model file override")
	}
	if config != "" {
		m, err = l.repository.ModelWith(name, config)
	} else {
		m, err = l.repository.Model(name)
	}
	if err != nil {
		kind := fault.Internal
		if config != "" { // the client's, not the repository's
			kind = fault.Mistaken
		}
		return nil, fault.Wrap(kind, err, "failed to poll from model repository")
	}
	for _, v := range m.Versions {
		s, err := sample(m, v)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// sample is a version of a model of the repository.
func sample(m *repository.Model, version int64) (oip.Model, error) {
	o, err := samples.StoredOptions(m, version)
	if err != nil {
		return nil, err
	}
	o.CorrelationID = m.Config.Name == "simple_dyna_sequence"
	s, err := samples.New(o)
	if err != nil || o.Queue == 0 {
		return s, err
	}
	return &narrow{Model: s}, nil
}

// narrow is a model with a queue for one request.
type narrow struct {
	*samples.Model
	taken atomic.Bool
}

// Check implements oip.Checker: it takes the place that Infer leaves.
func (n *narrow) Check(*oip.Request) error {
	if !n.taken.CompareAndSwap(false, true) {
		return fault.New(fault.Unavailable, "[request id: <id_unknown>] Exceeds maximum queue size")
	}
	return nil
}

// Infer implements oip.Model.
func (n *narrow) Infer(ctx context.Context, r *oip.Request) (*oip.Response, error) {
	defer n.taken.Store(false)
	return n.Model.Infer(ctx, r)
}

// Registry serves what the recorded server served.
func Registry(t *testing.T) *oip.Registry {
	t.Helper()
	l := newLoader(t)
	r := oip.NewRegistry(l)
	for _, name := range l.Names() {
		if slices.Contains(notLoaded, name) {
			continue
		}
		if err := r.Load(context.Background(), name, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	return r
}
