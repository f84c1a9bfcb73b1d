package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// profileOptions are the flags of `vitrine profile`.
type profileOptions struct {
	model   modelFlags
	engine  engineFlags
	log     logFlags
	batches []int
	batch   int // whose operators are listed
	runs    int
	warmup  int
	starts  int
	format  string
	out     string
	record  string
}

func profileCommand(std streams) *cobra.Command {
	var o profileOptions
	c := &cobra.Command{
		Use:   "profile",
		Short: "Where an engine's time goes: operators, batch scaling, creation",
		Long: `Profile runs the engine in this process, without a server, and writes three tables: each operator's total
time, share and calls for one batch size; latency and images a second over batch sizes; and how long the
engine takes to be made. The table says whose time an operator's is: the processor's (host), or the
card's (device; the native engine times each kernel by CUDA events), with operations and bytes a second
as shares of what the card can do.

chrome-trace writes every call of an operator instead, for chrome://tracing or ui.perfetto.dev.
` + "`vitrine bench profile --ort-trace`" + ` makes the same table of an ONNX Runtime profile; two records
(--record) are set against each other by ` + "`vitrine compare`" + `.`,
		Example: `  vitrine profile --model synthetic
  vitrine profile --batch 1,8 --operators-batch 8 --format json
  vitrine profile --engine cuda --batch 1,8,32,128,512 --operators-batch 512
  vitrine profile --format chrome-trace --out trace.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.model.given = cmd.Flags().Changed("model")
			return runProfile(cmd.Context(), &o, std)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	o.model.define(fs)
	o.engine.define(fs)
	cli.Group(fs, "Profile", func(fs *pflag.FlagSet) {
		fs.IntSliceVar(&o.batches, "batch", []int{1, 4, 8, 16, 32}, "`images` of one run, separated by commas, for the table of batch sizes")
		fs.Var(cli.NewCount(&o.batch, 1, 1, 4096), "operators-batch", "`images` of the runs whose operators are listed")
		fs.Var(cli.NewCount(&o.runs, 20, 1, 1<<20), "runs", "`runs` that are measured of each size")
		fs.Var(cli.NewCount(&o.warmup, 3, 0, 1<<20), "warmup", "`runs` before them that do not count")
		fs.Var(cli.NewCount(&o.starts, 3, 0, 1000), "creations", "`times` that the engine is made for the table of creation; 0 leaves it out")
	})
	cli.Group(fs, "Output", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&o.format, "text", "text", "json", "chrome-trace"), "format", "text for people, json for programs, chrome-trace for a trace viewer")
		fs.StringVarP(&o.out, "out", "o", "-", "`FILE` to write; - is standard output")
		fs.StringVar(&o.record, "record", "", "`FILE.jsonl.zst` to keep everything in, for reports and comparisons")
	})
	cli.TypedOnly(fs, "batch", "operators-batch", "runs", "warmup", "creations", "format", "out", "record")
	o.log.define(fs, "warn")
	completeValues(c)
	return c
}

func runProfile(ctx context.Context, o *profileOptions, std streams) error {
	if len(o.batches) == 0 || slices.Min(o.batches) < 1 {
		return cli.Usage{Err: errors.New("--batch: want sizes of at least 1")}
	}
	if o.format == "chrome-trace" {
		if o.record != "" {
			return cli.Usage{Err: errors.New("--format chrome-trace makes no record: leave --record out")}
		}
		return o.traceTo(ctx, std)
	}
	path := o.record
	if path == "" {
		folder, err := os.MkdirTemp("", "vitrine-profile-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder) // what stays behind lies in a folder for such things
		path = filepath.Join(folder, "profile.jsonl.zst")
	}
	data, err := o.measure(ctx, path, std)
	if err != nil {
		return err
	}
	return writeTo(o.out, std.out, func(w io.Writer) error {
		if o.format == "json" {
			return profileDocument(data).JSON(w)
		}
		return o.printText(w, data)
	})
}

// study is the plan of the three tables.
func (o *profileOptions) study() *plan.Study {
	settings := plan.Settings{Requests: o.runs, Warmup: &o.warmup, Rounds: 1}
	block := func(scenario string, batch ...int) plan.Block {
		b := plan.Block{Scenario: scenario, Settings: settings}
		b.Batch = batch
		return b
	}
	blocks := []plan.Block{block(record.Profile, o.batch), block(record.Compute, o.batches...)}
	if o.starts > 0 {
		b := block(record.Session)
		b.Requests = o.starts
		blocks = append(blocks, b)
	}
	e := &o.engine
	t := plan.Target{Name: "vitrine " + e.name, Format: "in-process", Model: o.model.full(), Engine: plan.Engine{
		Name: e.name, Precision: e.precision, Threads: e.threads, Instances: e.instances,
		MaxBatch: max(e.maxBatch, o.batch, slices.Max(o.batches))}}
	return &plan.Study{Version: plan.Version, Name: "profile", Title: "Model profile", Targets: []plan.Target{t},
		Steps: []plan.Step{{Targets: []string{t.Name}, Cells: blocks}}}
}

// bench is the run of the plan, and what opens its engine.
func (o *profileOptions) bench(path string, std streams) (*benchRun, error) {
	study := o.study()
	if err := study.Check(); err != nil {
		return nil, cli.Usage{Err: err}
	}
	cells, err := study.Expand("", plan.Exists)
	if err != nil {
		return nil, cli.Usage{Err: err}
	}
	return &benchRun{study: study, cells: cells, path: path, log: o.log.logger(std.err), std: std, model: o.model, engine: &o.engine}, nil
}

// measure fills the record and reads it back. A table that cannot be filled is said and the others stand.
func (o *profileOptions) measure(ctx context.Context, path string, std streams) (*record.Data, error) {
	b, err := o.bench(path, std)
	if err != nil {
		return nil, err
	}
	r, w, err := b.begin()
	if err != nil {
		return nil, err
	}
	tally, err := r.Run(ctx, b.cells)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	data, err := record.Load(path)
	if err == nil && tally.OK == 0 {
		printTrouble(std.err, settingsOf(data))
		return nil, errCells
	}
	return data, err
}

// profileDocument is the report's section of the model alone.
func profileDocument(data *record.Data) *page.Document {
	d := report.Build(data, report.Options{})
	d.Summary = nil
	d.Sections = slices.DeleteFunc(d.Sections, func(s page.Section) bool { return s.ID != "profile" })
	return d
}

// printText writes the tables, with what went wrong and what the engine is.
func (o *profileOptions) printText(w io.Writer, data *record.Data) error {
	for _, s := range data.Runs[0].Subjects {
		fmt.Fprintf(w, "%s: %s %s, %s weights\n", s.Name, s.Server.Engine, s.Server.Precision, s.Model)
	}
	printTrouble(w, settingsOf(data))
	if err := printParts(w, data, benchView{"operators", "batch-scaling", "session"}); err != nil {
		return err
	}
	if o.record != "" {
		fmt.Fprintf(w, "\nrecord: %s\n", o.record)
	}
	return nil
}

// traceTo writes every operator's call.
func (o *profileOptions) traceTo(ctx context.Context, std streams) error {
	b, err := o.bench("", std)
	if err != nil {
		return err
	}
	e, err := b.open(ctx, &b.study.Targets[0])
	if err != nil {
		return err
	}
	defer e.Close()
	tracer, ok := e.Engine.(engine.Tracer)
	if !ok {
		return fmt.Errorf("the engine %s lists no calls", e.Spec().Name)
	}
	calls, err := traced(ctx, tracer, e.Engine, o.batch, o.warmup, o.runs)
	if err != nil {
		return err
	}
	return writeTo(o.out, std.out, func(w io.Writer) error { return writeTrace(w, e.Spec(), calls) })
}

func traced(ctx context.Context, t engine.Tracer, e engine.Engine, batch, warmup, runs int) ([]engine.OperatorCall, error) {
	rows, out := make([]tensor.Row, batch), make([][]float32, batch)
	for i := range rows {
		row, err := e.NewRow(e.Spec().Formats[0])
		if err != nil {
			return nil, err
		}
		defer row.Release()
		clear(row.Bytes())
		rows[i], out[i] = row, make([]float32, e.Spec().Dim())
	}
	for i := range warmup + runs {
		if i == warmup {
			t.Trace(true)
			defer t.Trace(false)
		}
		if _, err := e.Run(ctx, rows, out); err != nil {
			return nil, err
		}
	}
	return t.Calls(), nil
}

// traceEvent is one of Chrome's trace event format: "X" is a span, "M" names a process or a thread.
// Times are microseconds.
type traceEvent struct {
	Name     string         `json:"name"`
	Phase    string         `json:"ph"`
	Time     float64        `json:"ts"`
	Duration float64        `json:"dur,omitempty"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Args     map[string]any `json:"args,omitempty"`
}

// writeTrace writes calls for trace viewers, the first at time 0.
func writeTrace(w io.Writer, s engine.Spec, calls []engine.OperatorCall) error {
	events := []traceEvent{{Name: "process_name", Phase: "M", Process: 1,
		Args: map[string]any{"name": fmt.Sprintf("%s %s %s", s.Name, s.Variant, s.Precision)}}}
	micro := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	for _, c := range calls {
		events = append(events, traceEvent{Name: c.Name, Phase: "X", Time: micro(c.Start.Sub(calls[0].Start)), Duration: micro(c.Duration),
			Process: 1, Thread: c.Instance})
	}
	return json.NewEncoder(w).Encode(map[string]any{"displayTimeUnit": "ms", "traceEvents": events})
}
