package oip

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// errNoControl is the answer where the server does not let clients load models.
var errNoControl = fault.New(fault.Unavailable, "explicit model load / unload is not allowed if polling is enabled")

// Load makes and serves a model for a client. As in Triton it goes on where the client does not wait for
// its end: clients' default time is a minute, and models that share a queue wait for the same load.
func (r *Registry) Load(ctx context.Context, name, config string, files map[string][]byte) error {
	if !r.control {
		return errNoControl
	}
	if len(files) == 0 && !slices.Contains(r.loader.Names(), name) {
		return fault.New(fault.Mistaken, "failed to load '%s', failed to poll from model repository", name)
	}
	err := r.load(context.WithoutCancel(ctx), name, config, files)
	if all := (Failures)(nil); errors.As(err, &all) {
		return fault.New(fault.Invalid, "load failed for model '%s': %s", name, all.Error())
	}
	if err != nil {
		return fault.New(fault.KindOf(err), "load failed for model '%s': %s", name, message(err))
	}
	return nil
}

// Unload serves a model no more for a client; requests that it has are answered.
func (r *Registry) Unload(name string) error {
	if !r.control {
		return errNoControl
	}
	r.Remove(name)
	return nil // a model that is not there is no error in Triton either
}

// Refresh makes and serves a model as it is stored now. Versions that it had before go after all the new
// ones are ready, and stay where one fails. The error is the loader's.
func (r *Registry) Refresh(ctx context.Context, name string) error {
	err := r.load(ctx, name, "", nil)
	if err != nil && !errors.As(err, new(Failures)) {
		r.unreadable(name, err)
	}
	return err
}

// unreadable records why nothing of a model is served, or not what lies there now.
func (r *Registry) unreadable(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(name)
	reason := Failure{Err: err}.Reason()
	if len(e.versions) == 0 {
		e.leave(name, "", reason)
	}
	for _, s := range e.versions {
		e.leave(name, s.model.Metadata().Version, reason)
	}
}

// lock admits one load or unload of a model at a time.
func (r *Registry) lock(name string) (unlock func()) {
	l, _ := r.locks.LoadOrStore(name, &sync.Mutex{})
	m := l.(*sync.Mutex)
	m.Lock()
	return m.Unlock
}

func (r *Registry) load(ctx context.Context, name, config string, files map[string][]byte) error {
	defer r.lock(name)()
	models, err := r.loader.Load(ctx, name, config, files)
	if err == nil {
		err = r.exchange(name, models)
	}
	if err != nil {
		r.failed(name, err)
	}
	return err
}

// Loading shows versions of a model as being loaded until the load ends.
func (r *Registry) Loading(name string, versions []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entry(name).loading = versions
}

// failed records why versions are not served. Those that are served stay so.
func (r *Registry) failed(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.models[name]
	if e != nil {
		e.loading = nil
	}
	var all Failures
	if !errors.As(err, &all) {
		return
	}
	e = r.entry(name)
	e.hidden = false
	for _, f := range all {
		e.leave(name, f.Version, f.Reason())
	}
}

// exchange serves models in place of all that have their name. Those that are served already are left
// where they are.
func (r *Registry) exchange(name string, models []Model) error {
	next := make([]*served, len(models))
	for i, m := range models {
		v, err := parseVersion(m.Metadata().Version)
		if err != nil {
			return err
		}
		next[i] = &served{model: m, version: v}
	}
	r.mu.Lock()
	old := r.put(name, next, true)
	r.mu.Unlock()
	r.retire(old)
	return nil
}

// put files versions of a model and returns what is to be closed: those that they replaced and, with
// all, every other; and of next those that are served already. The lock is held.
func (r *Registry) put(name string, next []*served, all bool) (old []*served) {
	e := r.entry(name)
	e.loading, e.hidden = nil, false
	if all {
		e.gone = slices.DeleteFunc(e.gone, func(g IndexEntry) bool { return g.Reason != unloaded })
	}
	before := e.versions
	e.versions = nil
	for _, s := range next {
		if i := slices.IndexFunc(before, s.same); i >= 0 {
			if s.model != before[i].model {
				old = append(old, s)
			}
			s, before = before[i], slices.Delete(slices.Clone(before), i, i+1)
		}
		e.versions = append(e.versions, s)
		e.forget(s.model.Metadata().Version)
	}
	for _, s := range before {
		replaced := slices.ContainsFunc(e.versions, func(n *served) bool { return n.version == s.version })
		switch {
		case !replaced && !all:
			e.versions = append(e.versions, s)
			continue
		case !replaced:
			e.leave(name, s.model.Metadata().Version, unloaded)
		}
		old = append(old, s)
	}
	slices.SortFunc(e.versions, func(a, b *served) int { return cmp.Compare(a.version, b.version) })
	return old
}

// same tells whether another served version is made from the same.
func (s *served) same(o *served) bool {
	a, ok := s.model.(Identified)
	b, also := o.model.(Identified)
	return s.model == o.model || ok && also && s.version == o.version && a.Identity() == b.Identity()
}

// Remove serves a model no more and forgets what failed; requests that it has are answered. A name that
// was never loaded leaves no trace.
func (r *Registry) Remove(name string) {
	if !r.knows(name) {
		return
	}
	defer r.lock(name)()
	r.mu.Lock()
	e := r.models[name]
	if e == nil {
		r.mu.Unlock()
		return
	}
	old := e.versions
	e.versions = nil
	e.gone = slices.DeleteFunc(e.gone, func(g IndexEntry) bool { return g.Reason != unloaded })
	for _, s := range old {
		e.leave(name, s.model.Metadata().Version, unloaded)
	}
	r.mu.Unlock()
	r.retire(old)
}

func (r *Registry) knows(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.models[name] != nil
}

// Forget is Remove for a model that is in the repository no more: the index does not name it.
func (r *Registry) Forget(name string) {
	r.Remove(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.models[name]; e != nil && len(e.versions) == 0 {
		e.hidden = true
	}
}
