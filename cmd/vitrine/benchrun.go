package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"os"
	"regexp"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/host"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/scenario"
	"github.com/vitrine-project/vitrine/internal/lab/watch"
	"github.com/vitrine-project/vitrine/internal/model"
)

// benchRun is a plan being measured into one record.
type benchRun struct {
	study           *plan.Study
	text            string // of the study's file
	cells           plan.Expanded
	path            string
	seed            uint64
	python          string
	folder          string // of servers' output
	headers         map[string]string
	lowest, highest float64
	resume          bool
	quiet           bool
	log             *slog.Logger
	std             streams
	view            benchView
	model           modelFlags   // synthetic weights' options; the reference is the target's
	engine          *engineFlags // of the command; nil where the plan says everything
}

// errCells is a run some of whose cells are not ok; the table has said which.
var errCells = errors.New("not every cell is ok")

// run measures, prints the table and says where the record is.
func (b *benchRun) run(ctx context.Context) error {
	r, w, err := b.begin()
	if err != nil {
		return err
	}
	tally, err := r.Run(ctx, b.cells)
	return b.finish(w, tally, err)
}

// begin opens the record, or goes on with it.
func (b *benchRun) begin() (*scenario.Runner, *record.Writer, error) {
	screen := b.std.err
	if b.quiet {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		screen = null
	}
	r := &scenario.Runner{Study: b.study, View: watch.New(screen), Open: b.open, Python: b.python, Folder: b.folder,
		Headers: b.headers, Lowest: b.lowest, Highest: b.highest}
	if cards, err := openNVML(); err == nil && len(cards.Cards()) > 0 {
		r.Cards = cards
	}
	var w *record.Writer
	var err error
	if b.resume {
		w, err = b.goOn(r)
	} else {
		w, err = b.create(r)
	}
	if err != nil {
		return nil, nil, err
	}
	r.Log, r.Seed = w, b.seed
	return r, w, nil
}

// create makes a new record and writes its manifest.
func (b *benchRun) create(r *scenario.Runner) (*record.Writer, error) {
	if b.seed == 0 {
		b.seed = randv2.Uint64()>>12 + 1 // readers of JSON elsewhere have 53 bits
	}
	w, err := record.Create(b.path)
	if err != nil {
		return nil, err
	}
	r.Started = time.Now()
	if err := w.Write(b.manifest(r.Started)); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// goOn appends to a record and skips what it has.
func (b *benchRun) goOn(r *scenario.Runner) (*record.Writer, error) {
	w, before, err := record.Append(b.path)
	if err != nil {
		return nil, err
	}
	if r.Measured, err = measuredBefore(before, b.text); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	first := before.Runs[0].Manifest
	b.seed, r.Started, r.LastCell = first.Seed, first.Started, before.LastCell()
	return w, nil
}

func (b *benchRun) manifest(started time.Time) record.Manifest {
	own := readBuild()
	return record.Manifest{
		Version: record.Version, Run: runID(), Started: started.UTC(), Command: commandLine(),
		Tool:   record.Tool{Name: "vitrine", Version: own.Version, Revision: own.Revision, Go: own.Go},
		Client: host.Read(), Labels: b.study.Labels, Seed: b.seed,
		Study: b.study.Name, Title: cmp.Or(b.study.Title, b.study.Name), Plan: b.text,
	}
}

// runID is 16 random hexadecimal digits.
func runID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// commandLine is this process's, without folders: a record names no machine.
func commandLine() []string {
	var args []string
	for _, a := range os.Args {
		args = append(args, absolutePath.ReplaceAllString(a, "$1"))
	}
	return args
}

// absolutePath is a path from the root, up to its last part; a URL's host has two slashes before it.
var absolutePath = regexp.MustCompile(`(^|[\s=:'"])/(?:[^/\s'"]+/)+`)

// finish closes the record, prints what is in it, and turns the tally into the command's error.
func (b *benchRun) finish(w *record.Writer, tally scenario.Tally, err error) error {
	err = errors.Join(err, w.Close())
	if b.path == "-" {
		return err
	}
	if tableErr := b.print(); tableErr != nil {
		err = errors.Join(err, tableErr)
	}
	fmt.Fprintf(b.std.out, "\n%s; record: %s (seed %d)\n", tally, b.path, b.seed)
	if err == nil && tally.Failed+tally.Invalid > 0 {
		return errCells
	}
	return err
}

// print writes the table of the record.
func (b *benchRun) print() error {
	data, err := record.Load(b.path)
	if err != nil {
		return err
	}
	return printBench(b.std.out, data, b.view)
}

// profileTrace makes a record of an ONNX Runtime trace.
func (b *benchRun) profileTrace(trace, onnx string, warmup int) error {
	r, w, err := b.begin()
	if err != nil {
		return err
	}
	subject := record.Subject{Name: "ONNX Runtime", Format: "in-process", Server: record.Server{Software: "onnxruntime"}}
	if err := r.ORTProfile(subject, trace, onnx, warmup); err != nil {
		return errors.Join(err, w.Close(), os.Remove(b.path))
	}
	return b.finish(w, scenario.Tally{OK: 1}, nil)
}

// open makes the engine of a target in process.
func (b *benchRun) open(ctx context.Context, t *plan.Target) (*scenario.Engine, error) {
	e, err := b.engineOf(t)
	if err != nil {
		return nil, err
	}
	o := plantOptions{model: b.model, fallback: true, log: b.log, engine: e}
	o.model.reference = t.Model
	o.model.given = t.Model != "" && t.Model != model.Default
	if t.Model == "" {
		o.model.reference = model.Default
	}
	began := time.Now()
	m, err := o.openModel(ctx)
	if err != nil {
		return nil, err
	}
	weights := time.Since(began)
	o.chooseEngine(ctx, m)
	began = time.Now()
	bare, err := o.bareEngine(m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	create := time.Since(began)
	spec := bare.Spec()
	if err := m.Close(); err != nil {
		return nil, errors.Join(err, bare.Close())
	}
	return &scenario.Engine{Engine: bare, Weights: weights, Create: create, Synthetic: m.Source.Synthetic,
		Server: record.Server{Software: "vitrine", Version: readBuild().Version, Engine: spec.Name + " " + spec.Variant,
			Precision: string(spec.Precision), Synthetic: m.Source.Synthetic}}, nil
}

// engineOf are the flags of a target's engine: those of the command, or the environment's and the plan's,
// and over them what the plan names by itself.
func (b *benchRun) engineOf(t *plan.Target) (e engineFlags, err error) {
	if b.engine != nil {
		e = *b.engine
	} else if err = e.parse(t.Engine.Flags); err != nil {
		return e, cli.Usage{Err: fmt.Errorf("target %q: %w", t.Name, err)}
	}
	e.name, e.precision = t.Engine.Name, cmp.Or(t.Engine.Precision, "auto")
	e.threads, e.instances, e.maxBatch = t.Engine.Threads, max(t.Engine.Instances, 1), t.Engine.MaxBatch
	return e, nil
}

// parse sets the flags from a command line of their own, and from the environment.
func (e *engineFlags) parse(args []string) error {
	fs := pflag.NewFlagSet("engine", pflag.ContinueOnError)
	fs.Usage = func() {}
	e.define(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is no flag of an engine", fs.Arg(0))
	}
	return cli.Binder{LookupEnv: os.LookupEnv}.Bind(fs, "")
}
