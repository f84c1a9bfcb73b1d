package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime"
	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/host"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tune"
)

// tuning is what --tune found out and where it is kept.
type tuning struct {
	File   string      `json:"file"`
	Choice tune.Choice `json:"choice"`
}

func (t *tuning) best(p engine.Precision) *tune.Result { return tune.Best(t.Choice.Results, p) }

// timedWithin is how long one batch size of one engine is timed.
const timedWithin = 2 * time.Second

// runTune times the engines that run here and keeps the result.
func (o *doctorOptions) runTune(ctx context.Context, std streams) (*tuning, error) {
	folder, err := tuneFolder()
	if err != nil {
		return nil, err
	}
	log := o.log.logger(std.err)
	p := plantOptions{model: o.model, engine: o.engine, devices: o.devices, log: log, fallback: true}
	m, err := p.openModel(ctx)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	slices.Sort(o.batches)
	o.batches = slices.Compact(o.batches)
	results, err := tune.Measure(ctx, o.candidates(ctx, p, m), o.precisions(), o.batches, tune.Bounds{Runs: 50, Within: timedWithin},
		func(r *tune.Result) { fmt.Fprintln(std.err, r) })
	if err != nil {
		return nil, err
	}
	t := &tuning{Choice: tune.Choice{At: time.Now().UTC().Truncate(time.Second), Program: readBuild().Version, Machine: machineKey(host.Read(), o.devices.kinds()),
		Model: m.Source.Reference, Weights: m.WeightsHash, Python: o.pythonPath(ctx), ONNX: absolute(o.engine.onnx.runtime), Batches: o.batches, Results: results}}
	t.File = tune.File(folder, t.Choice.Machine, m.WeightsHash)
	return t, tune.Save(t.File, t.Choice)
}

// pythonPath is the interpreter as serve must call it from any folder.
func (o *doctorOptions) pythonPath(ctx context.Context) string {
	if p := probePython(ctx, o.engine.torch.python); p.Problem == "" {
		return p.Path
	}
	return ""
}

// absolute is a path as any folder's processes must call it; "" stays.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// precisions are those asked for: one, or all.
func (o *doctorOptions) precisions() []engine.Precision {
	if p := engine.Precision(o.engine.precision); p != autoPrecision {
		return []engine.Precision{p}
	}
	return []engine.Precision{engine.FP32, engine.BF16, engine.FP16}
}

// candidates are the engines that run here, on a card if cards were named: those of --engine, or all but the
// one that computes nothing.
func (o *doctorOptions) candidates(ctx context.Context, p plantOptions, m *model.Model) (all []tune.Candidate) {
	for _, name := range o.names(m) {
		f := o.engine
		f.use(name, engine.FP32)
		kind, err := backendOf(f.name)
		if err == nil {
			_, err = kind.check(ctx, &f, engine.FP32)
		}
		if err == nil && !o.devices.all() {
			_, err = o.devices.cards(&f)
		}
		if err == nil {
			all = append(all, candidate(kind, name, p, m))
		}
	}
	return all
}

// names are the engines that may be timed, as choices name them.
func (o *doctorOptions) names(m *model.Model) []string {
	slow := map[string]bool{"torch" + compiled: true, onnxEngine + ":" + string(onnxruntime.TensorRT): true}
	all := []string{"cuda", "cpu", onnxEngine, onnxEngine + ":" + string(onnxruntime.CUDA), onnxEngine + ":" + string(onnxruntime.TensorRT), "torch", "torch" + compiled}
	return slices.DeleteFunc(all, func(name string) bool {
		kind, _, _ := strings.Cut(strings.TrimSuffix(name, compiled), ":")
		onCard := strings.Contains(name, ":")
		switch {
		case slow[name] && !o.slow, m.ONNX != nil && kind != onnxEngine:
			return true
		case o.engine.name != autoEngine:
			return kind != o.engine.name && name != o.engine.name
		}
		_, err := gpu.Open()
		return onCard && err != nil
	})
}

// candidate makes the engine as serve would.
func candidate(k *backend, name string, p plantOptions, m *model.Model) tune.Candidate {
	return tune.Candidate{Name: name, Open: func(_ context.Context, precision engine.Precision, most int) (engine.Engine, error) {
		if !slices.Contains(k.precisions, precision) {
			return nil, fmt.Errorf("engine %s has no %s", k.name, precision)
		}
		o := p
		o.engine.use(name, precision)
		o.engine.maxBatch = max(most, o.engine.maxBatch)
		return o.bareEngine(m)
	}}
}

// print writes the figures: one row an engine and precision, one column a batch size.
func (t *tuning) print(w io.Writer) error {
	heads := []string{"TUNED", "PRECISION", "START"}
	for _, b := range t.Choice.Batches {
		heads = append(heads, fmt.Sprintf("BATCH %d", b))
	}
	table := newTable(w, append(heads, "IMAGES/S (GEOMETRIC MEAN)")...)
	for i := range t.Choice.Results {
		r := &t.Choice.Results[i]
		cells := []string{r.Engine, string(r.Precision)}
		if r.Speed() == 0 {
			table.row(append(cells, "—", r.Error)...)
			continue
		}
		cells = append(cells, r.Start.Round(time.Millisecond).String())
		for _, x := range r.Timings {
			cells = append(cells, short(x.Median.Seconds()*1e3)+" ms")
		}
		mark := ""
		if t.best(r.Precision) == r {
			mark = " fastest"
		}
		table.row(append(cells, short(r.Speed())+mark)...)
	}
	if err := table.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "kept in %s\n", t.File)
	return err
}

// tunedModels is how many choices the cache folder has.
func tunedModels() int {
	folder, err := tuneFolder()
	if err != nil {
		return 0
	}
	files, err := filepath.Glob(filepath.Join(folder, "tune", "*.json"))
	if err != nil {
		return 0
	}
	return len(files)
}
