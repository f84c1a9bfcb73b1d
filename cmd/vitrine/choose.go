package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/lab/host"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tune"
)

// compiled marks the torch engine with --torch-compile in a choice's names.
const compiled = "+compile"

// chooseEngine replaces --engine auto by the engine that tuning found fastest here for the precision, and
// says in o.choice what was chosen why. What is chosen never changes the vector space: an auto precision is
// that of the documented order, and only engines of it compete. Where cards were named by --gpus, only
// engines that were timed on a card do; a repository's instance groups decide by themselves.
func (o *plantOptions) chooseEngine(ctx context.Context, m *model.Model) {
	if o.engine.name != autoEngine {
		return
	}
	if m.ONNX != nil {
		o.engine.name, o.choice = onnxEngine, "the model is an ONNX file"
		return
	}
	o.choice = fmt.Sprintf("the first of %s that runs here", autoOrder)
	if o.stored != nil {
		return
	}
	_, p := o.engine.untuned()
	best := o.tuned(ctx, m, p)
	if best == nil {
		o.choice += "; not tuned (vitrine doctor --tune)"
		return
	}
	o.engine.use(best.Engine, p)
	o.choice = "tuned: " + best.String()
	o.log.Info("engine", "choice", o.choice)
}

// use sets the engine that a choice names.
func (e *engineFlags) use(name string, p engine.Precision) {
	if base, ok := strings.CutSuffix(name, compiled); ok {
		name, e.torch.compile = base, true
	}
	e.name, e.precision = name, string(p)
}

// tuned is the fastest engine of a precision that tuning found for the model here and that still runs; nil
// if there is none.
func (o *plantOptions) tuned(ctx context.Context, m *model.Model, p engine.Precision) *tune.Result {
	folder, err := tuneFolder()
	if err != nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(folder, "tune")); err != nil {
		return nil // nothing was ever tuned: the machine need not be looked at
	}
	machine := machineKey(host.Read(), o.devices.kinds())
	c, err := tune.Load(tune.File(folder, machine, m.WeightsHash), machine, m.WeightsHash)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			o.log.Warn("what was tuned cannot be used", "reason", err)
		}
		return nil
	}
	best := o.devices.best(c.Results, p)
	if best == nil {
		return nil
	}
	if err := o.engine.revive(ctx, c, best); err != nil {
		o.log.Warn("the tuned engine does not run any more", "engine", best.Engine, "reason", err)
		return nil
	}
	return best
}

// revive checks that a tuned engine still runs, with the Python and the library that it was tuned with where
// no flag names others.
func (e *engineFlags) revive(ctx context.Context, c *tune.Choice, r *tune.Result) error {
	f := *e
	if f.torch.python == defaultPython {
		f.torch.python = cmp.Or(c.Python, defaultPython)
	}
	f.onnx.runtime = cmp.Or(f.onnx.runtime, c.ONNX)
	f.use(r.Engine, r.Precision)
	kind, err := backendOf(f.name)
	if err != nil {
		return err
	}
	if _, err := kind.check(ctx, &f, r.Precision); err != nil {
		return err
	}
	e.torch.python, e.onnx.runtime = f.torch.python, f.onnx.runtime
	return nil
}

// tuneFolder is where choices lie.
func tuneFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "vitrine"), nil
}

// best is the fastest result in a precision, on a card if cards were named.
func (d *deviceFlags) best(results []tune.Result, p engine.Precision) *tune.Result {
	if !d.all() {
		results = slices.DeleteFunc(slices.Clone(results), func(r tune.Result) bool { return !r.OnCard() })
	}
	return tune.Best(results, p)
}

// machineKey is what figures depend on: the processor and how much of it, the kinds of the cards that may
// compute, and their driver.
func machineKey(h record.Host, kinds []string) string {
	parts := []string{h.CPU, fmt.Sprintf("%d processors", h.Cores)}
	for _, kind := range kinds {
		if len(h.GPUs) > 0 {
			kind += " driver " + h.GPUs[0].Driver
		}
		parts = append(parts, kind)
	}
	return strings.Join(parts, "; ")
}
