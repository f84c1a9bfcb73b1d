package oip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Loader makes the versions of a model.
type Loader interface {
	// Names are the models that could be loaded, loaded ones included.
	Names() []string
	// Load makes the model's versions, ready to answer: all of them, or none and an error (Failures
	// where versions are to blame). config is a configuration as JSON that takes the stored one's
	// place ("" for none), files are "file:<version>/<name>" with their content.
	Load(ctx context.Context, name, config string, files map[string][]byte) ([]Model, error)
}

// Identified is a model that knows what it was made from. A load that makes the same again leaves the
// one in service where it is, with its statistics.
type Identified interface{ Identity() string }

// IndexEntry is a line of the repository index. Version, State and Reason are empty for a model that
// was never loaded. A version that is READY has a reason where its files changed since and fail.
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
	loader  Loader // nil: nothing is loaded by name
	control bool   // clients may load and unload
	lenient bool   // Ready does not ask the models

	locks    sync.Map       // a *sync.Mutex for each model's name: one load or unload at a time
	retiring sync.WaitGroup // versions that are served no more and not closed yet
}

// entry is one model: the versions that are served, and those that were, failed or are being loaded.
type entry struct {
	versions []*served // ascending
	gone     []IndexEntry
	loading  []string
	hidden   bool // it is not in the repository any more, nor in the index
}

// served is a version with those who use it: it is closed after the last.
type served struct {
	model   Model
	version int64
	users   sync.WaitGroup
}

// NewRegistry returns an empty registry whose models clients load and unload; where loader is nil they
// cannot.
func NewRegistry(loader Loader) *Registry {
	return &Registry{models: map[string]*entry{}, loader: loader, control: loader != nil}
}

// ForbidControl leaves loading to the server itself: clients are refused.
func (r *Registry) ForbidControl() { r.control = false }

// Lenient makes Ready true whatever becomes of the models (Triton's --strict-readiness=false).
func (r *Registry) Lenient() { r.lenient = true }

// Add serves a model version, in place of one with its name and version.
func (r *Registry) Add(m Model) error {
	meta := m.Metadata()
	v, err := parseVersion(meta.Version)
	if err != nil {
		return err
	}
	r.mu.Lock()
	old := r.put(meta.Name, []*served{{model: m, version: v}}, false)
	r.mu.Unlock()
	r.retire(old)
	return nil
}

// entry returns a model's entry, made where there is none. The lock is held.
func (r *Registry) entry(name string) *entry {
	e := r.models[name]
	if e == nil {
		e = &entry{}
		r.models[name] = e
	}
	return e
}

// forget drops what became of a version earlier.
func (e *entry) forget(version string) {
	e.gone = slices.DeleteFunc(e.gone, func(g IndexEntry) bool { return g.Version == version })
}

// leave records why a version is not served.
func (e *entry) leave(name, version, reason string) {
	e.forget(version)
	e.gone = append(e.gone, IndexEntry{Name: name, Version: version, State: "UNAVAILABLE", Reason: reason})
}

// retire closes versions that are served no more, once their last request is answered.
func (r *Registry) retire(old []*served) {
	for _, s := range old {
		if c, ok := s.model.(Closer); ok {
			r.retiring.Go(func() {
				s.users.Wait()
				_ = c.Close() // nobody is left to tell
			})
		}
	}
}

// Close takes all models out of service and waits until the last request of each is answered and they
// are closed. It returns the context's error if that ends first.
func (r *Registry) Close(ctx context.Context) error {
	for _, name := range r.Names() {
		r.Remove(name)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.retiring.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Names are the models that are or were served, sorted.
func (r *Registry) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.names()
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

// Ready tells whether all models are: those that are served are, and none failed. A version that is
// being loaded counts where the model has no other: an exchange does not make the server not ready.
func (r *Registry) Ready() bool {
	if r.lenient {
		return true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.models {
		if !e.ready() {
			return false
		}
	}
	return true
}

func (e *entry) ready() bool {
	if slices.ContainsFunc(e.versions, func(s *served) bool { return !s.model.Ready() }) {
		return false
	}
	if len(e.loading) > 0 && len(e.versions) == 0 {
		return false
	}
	return !slices.ContainsFunc(e.gone, func(g IndexEntry) bool { return g.Reason != unloaded && !e.serves(g.Version) })
}

func (e *entry) serves(version string) bool {
	return slices.ContainsFunc(e.versions, func(s *served) bool { return s.model.Metadata().Version == version })
}

const unloaded = "unloaded"

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
		lines := r.models[n].index(n, ready)
		if e := r.models[n]; len(lines) == 0 && !ready && (e == nil || !e.hidden) {
			lines = []IndexEntry{{Name: n}}
		}
		index = append(index, lines...)
	}
	return index
}

// index are the lines of one model; e may be nil.
func (e *entry) index(name string, ready bool) (lines []IndexEntry) {
	if e == nil || e.hidden {
		return nil
	}
	for _, s := range e.versions {
		line := IndexEntry{Name: name, Version: s.model.Metadata().Version, State: "READY"}
		if i := slices.IndexFunc(e.gone, func(g IndexEntry) bool { return g.Version == line.Version }); i >= 0 {
			line.Reason = e.gone[i].Reason // why what lies there now is not what is served
		}
		lines = append(lines, line)
	}
	if ready {
		return lines
	}
	for _, v := range e.loading {
		if !e.serves(v) {
			lines = append(lines, IndexEntry{Name: name, Version: v, State: "LOADING"})
		}
	}
	for _, g := range e.gone {
		if !e.serves(g.Version) && !slices.Contains(e.loading, g.Version) {
			lines = append(lines, g)
		}
	}
	slices.SortStableFunc(lines, func(a, b IndexEntry) int { return cmp.Compare(versionNumber(a.Version), versionNumber(b.Version)) })
	return lines
}

// versionNumber orders versions; what is none comes first.
func versionNumber(s string) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return v
}

// message is an error's text without Go's own additions.
func message(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Error()
	}
	return strings.TrimSpace(fmt.Sprint(err))
}
