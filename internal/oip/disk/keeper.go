package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
)

// Keeper keeps what a registry serves in step with the repository.
type Keeper struct {
	repository *Repository
	registry   *oip.Registry
	log        *slog.Logger
	loaded     map[string]string // the stamp of each model when it was last loaded, or failed to
	seen       map[string]string // the stamp of a change that was seen once
}

// NewKeeper returns the keeper of a registry whose loader leads to the repository.
func NewKeeper(r *Repository, registry *oip.Registry) *Keeper {
	r.OnLoading(registry.Loading)
	return &Keeper{repository: r, registry: registry, log: r.log, loaded: map[string]string{}, seen: map[string]string{}}
}

// gone is the stamp of a model that has no folder.
const gone = "gone"

// stamp is a mark of a model's files.
func (k *Keeper) stamp(name string) (string, error) {
	s, err := k.repository.files.Stamp(name)
	if errors.Is(err, fs.ErrNotExist) {
		return gone, nil
	}
	return s, err
}

// Start loads models, side by side, and tells which failed. The others serve all the same.
func (k *Keeper) Start(ctx context.Context, names []string) error {
	for _, name := range names {
		stamp, err := k.stamp(name)
		if err != nil {
			stamp = "" // the next look sees a change
		}
		k.loaded[name] = stamp
	}
	return k.refresh(ctx, names)
}

// All are the models that the repository holds.
func (k *Keeper) All() []string { return k.repository.Names() }

// Run polls at every tick until ctx ends.
func (k *Keeper) Run(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			k.Poll(ctx)
		}
	}
}

// Poll looks at the repository once and loads and unloads what changed. A change is acted upon when a
// second look finds the same: a folder that is still being written is left alone. A version that fails
// is tried again when its files change, or memory may have become free.
func (k *Keeper) Poll(ctx context.Context) {
	names, err := k.repository.files.Names()
	if err != nil { // such as a disk that is away for a moment: nothing is unloaded for it
		k.log.Error("the model repository cannot be read; what is served stays", "error", err)
		return
	}
	for name := range k.loaded {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var changed []string
	for _, name := range names {
		if k.changed(name) {
			changed = append(changed, name)
		}
	}
	_ = k.refresh(ctx, changed) // it has logged what failed
}

// changed tells whether a model is to be loaded or unloaded now, and unloads it.
func (k *Keeper) changed(name string) bool {
	stamp, err := k.stamp(name)
	if err != nil {
		k.log.Warn("a model cannot be looked at", "model", name, "error", err)
		return false
	}
	before, known := k.loaded[name]
	if known && stamp == before {
		delete(k.seen, name)
		return false
	}
	if k.seen[name] != stamp {
		k.log.Debug("a model changed; the next look decides", "model", name)
		k.seen[name] = stamp
		return false
	}
	delete(k.seen, name)
	if stamp == gone {
		delete(k.loaded, name)
		k.registry.Forget(name)
		k.log.Info("model unloaded: its folder is gone", "model", name)
		return false
	}
	k.loaded[name] = stamp
	return true
}

// refresh loads models side by side; the pool bounds how many plants are made at a time.
func (k *Keeper) refresh(ctx context.Context, names []string) error {
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = k.load(ctx, name) })
	}
	all.Wait()
	for i, err := range errs {
		if exhausted(err) {
			k.loaded[names[i]] = "" // memory may become free
		}
	}
	return errors.Join(errs...)
}

// exhausted tells whether a version lacked memory.
func exhausted(err error) bool {
	var all oip.Failures
	return errors.As(err, &all) && slices.ContainsFunc(all, func(f oip.Failure) bool { return fault.KindOf(f.Err) == fault.Exhausted })
}

func (k *Keeper) load(ctx context.Context, name string) error {
	began := time.Now()
	err := k.registry.Refresh(ctx, name)
	versions := strings.Join(k.registry.Versions(name), ",")
	if err != nil {
		k.log.Error("a model is not loaded", "model", name, "serving", versions, "error", err)
		return fmt.Errorf("model '%s': %w", name, err)
	}
	k.log.Info("model loaded", "model", name, "versions", versions, "took", time.Since(began))
	return nil
}
