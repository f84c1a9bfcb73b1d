package oip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Loader makes the versions of a model that clients may load and unload by name.
type Loader interface {
	// Names are the models that could be loaded, loaded ones included.
	Names() []string
	// Load makes the model's versions, ready to answer. config is a configuration as JSON that takes
	// the stored one's place ("" for none), files are "file:<version>/<name>" with their content.
	Load(ctx context.Context, name, config string, files map[string][]byte) ([]Model, error)
}

// IndexEntry is a line of the repository index. Version, State and Reason are empty for a model that
// was never loaded.
type IndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Registry holds models by name and version.
type Registry struct {
	mu      sync.RWMutex
	models  map[string]*entry
	loader  Loader // nil: no loading by clients
	loading sync.Mutex
}

// entry is one model: the versions that are served, and those that were or failed.
type entry struct {
	versions []*served // ascending
	gone     []IndexEntry
}

// served is a version with those who use it: it is closed after the last.
type served struct {
	model   Model
	version int64
	users   sync.WaitGroup
}

// NewRegistry returns an empty registry; loader may be nil.
func NewRegistry(loader Loader) *Registry {
	return &Registry{models: map[string]*entry{}, loader: loader}
}

// Add serves a model version, in place of one with its name and version.
func (r *Registry) Add(m Model) error {
	meta := m.Metadata()
	v, err := parseVersion(meta.Version)
	if err != nil {
		return err
	}
	r.mu.Lock()
	old := r.put(&served{model: m, version: v})
	r.mu.Unlock()
	retire(old)
	return nil
}

// put files s and returns what it replaced. The lock is held.
func (r *Registry) put(s *served) (old []*served) {
	name := s.model.Metadata().Name
	e := r.models[name]
	if e == nil {
		e = &entry{}
		r.models[name] = e
	}
	i, found := slices.BinarySearchFunc(e.versions, s.version, func(s *served, v int64) int { return int(s.version - v) })
	if found {
		old = append(old, e.versions[i])
		e.versions[i] = s
	} else {
		e.versions = slices.Insert(e.versions, i, s)
	}
	e.gone = slices.DeleteFunc(e.gone, func(g IndexEntry) bool { return g.Version == s.model.Metadata().Version })
	return old
}

// retire closes versions that are served no more, once their last request is answered.
func retire(old []*served) {
	for _, s := range old {
		if c, ok := s.model.(Closer); ok {
			go func() {
				s.users.Wait()
				_ = c.Close() // nobody is left to tell
			}()
		}
	}
}

// Get finds a model; an empty version is the highest that is served. Its errors are Triton's.
func (r *Registry) Get(name, version string) (Model, error) {
	s, err := r.find(name, version)
	if err != nil {
		return nil, err
	}
	return s.model, nil
}

// Use is Get for a request: the model is not closed before done is called.
func (r *Registry) Use(name, version string) (m Model, done func(), err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s, err := r.findLocked(name, version)
	if err != nil {
		return nil, nil, err
	}
	s.users.Add(1)
	return s.model, s.users.Done, nil
}

func (r *Registry) find(name, version string) (*served, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.findLocked(name, version)
}

func (r *Registry) findLocked(name, version string) (*served, error) {
	want := int64(-1)
	if version != "" {
		v, err := parseVersion(version)
		if err != nil {
			return nil, err
		}
		want = v
	}
	e := r.models[name]
	if e == nil {
		return nil, fault.New(fault.NotFound, "Request for unknown model: '%s' is not found", name)
	}
	if want < 0 {
		if len(e.versions) > 0 {
			return e.versions[len(e.versions)-1], nil
		}
		return nil, fault.New(fault.NotFound, "Request for unknown model: '%s' has no available versions", name)
	}
	for _, s := range e.versions {
		if s.version == want {
			return s, nil
		}
	}
	for _, g := range e.gone {
		if g.Version == version {
			return nil, fault.New(fault.NotFound, "Request for unknown model: '%s' version %d is not at ready state", name, want)
		}
	}
	return nil, fault.New(fault.NotFound, "Request for unknown model: '%s' version %d is not found", name, want)
}

// parseVersion reads a version's number.
func parseVersion(s string) (int64, error) {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "failed to get model version from specified version string '%s' (details: stol), version should be an integral value > 0", s)
	}
	if v < 0 {
		return 0, fault.New(fault.Invalid, "invalid model version specified '%s' , version should be an integral value > 0", s)
	}
	return v, nil
}

// Versions are the versions of a model that are served, ascending.
func (r *Registry) Versions(name string) (all []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.models[name]; e != nil {
		for _, s := range e.versions {
			all = append(all, strconv.FormatInt(s.version, 10))
		}
	}
	return all
}

// Models are all versions that are served, by name and version, for statistics. A name or a version
// that is not empty restricts them, and must exist.
func (r *Registry) Models(name, version string) ([]Model, error) {
	if version != "" {
		m, err := r.Get(name, version)
		if err != nil && len(r.Versions(name)) > 0 {
			err = fault.New(fault.Invalid, "requested model version is not available for model '%s'", name)
		} else if err != nil {
			err = fault.New(fault.Invalid, "requested model '%s' is not available", name)
		}
		return []Model{m}, err
	}
	if name != "" && len(r.Versions(name)) == 0 {
		return nil, fault.New(fault.Invalid, "requested model '%s' is not available", name)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Model
	for _, n := range r.names() {
		if name != "" && n != name {
			continue
		}
		for _, s := range r.models[n].versions {
			all = append(all, s.model)
		}
	}
	return all, nil
}

func (r *Registry) names() []string {
	names := make([]string, 0, len(r.models))
	for n := range r.models {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Ready tells whether all models are.
func (r *Registry) Ready() bool {
	all, err := r.Models("", "")
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(all, func(m Model) bool { return !m.Ready() })
}

// Index lists what is and was served and what could be loaded; with ready, what is served only.
func (r *Registry) Index(ready bool) []IndexEntry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	index := []IndexEntry{}
	names := r.names()
	if r.loader != nil && !ready {
		names = append(names, r.loader.Names()...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, n := range names {
		e := r.models[n]
		if e == nil || len(e.versions)+len(e.gone) == 0 {
			if !ready {
				index = append(index, IndexEntry{Name: n})
			}
			continue
		}
		for _, s := range e.versions {
			index = append(index, IndexEntry{Name: n, Version: s.model.Metadata().Version, State: "READY"})
		}
		if !ready {
			index = append(index, e.gone...)
		}
	}
	return index
}

// errNoControl is the answer where the server does not let clients load models.
var errNoControl = fault.New(fault.Unavailable, "explicit model load / unload is not allowed if polling is enabled")

// Load makes and serves a model; versions that it had before go after the new ones are ready, and stay
// where the new ones fail.
func (r *Registry) Load(ctx context.Context, name, config string, files map[string][]byte) error {
	if r.loader == nil {
		return errNoControl
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	if !slices.Contains(r.loader.Names(), name) {
		return fault.New(fault.Internal, "failed to load '%s', failed to poll from model repository", name)
	}
	models, err := r.loader.Load(ctx, name, config, files)
	if err != nil {
		return fault.New(fault.KindOf(err), "load failed for model '%s': %s", name, message(err))
	}
	var next []*served
	for _, m := range models {
		v, err := parseVersion(m.Metadata().Version)
		if err != nil {
			return err
		}
		next = append(next, &served{model: m, version: v})
	}
	r.mu.Lock()
	var old []*served
	if e := r.models[name]; e != nil {
		old = e.versions
		e.versions = nil
	}
	for _, s := range next {
		r.put(s)
	}
	r.mu.Unlock()
	retire(old)
	return nil
}

// Unload serves a model no more; requests that it has are answered.
func (r *Registry) Unload(name string) error {
	if r.loader == nil {
		return errNoControl
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	r.mu.Lock()
	e := r.models[name]
	if e == nil { // no error in Triton either
		r.mu.Unlock()
		return nil
	}
	old := e.versions
	e.versions = nil
	for _, s := range old {
		e.gone = append(e.gone, IndexEntry{Name: name, Version: s.model.Metadata().Version, State: "UNAVAILABLE", Reason: "unloaded"})
	}
	r.mu.Unlock()
	retire(old)
	return nil
}

// message is an error's text without Go's own additions.
func message(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Error()
	}
	return strings.TrimSpace(fmt.Sprint(err))
}
