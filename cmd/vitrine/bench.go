package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// benchOptions are the flags of one scenario.
type benchOptions struct {
	subjectFlags
	loadFlags
	recordFlags
	model  modelFlags
	engine engineFlags
	log    logFlags

	batches, clients, instances []int
	rates                       []float64
	arrival                     string
	search                      bool
	bound                       time.Duration
	quantile, lowest, highest   float64
	encodings, encoders         []string
	python                      string
	trace, onnx                 string
	staged                      bool
}

// benchScenario is a subcommand of `vitrine bench`.
type benchScenario struct {
	name, short, long, example string
	view                       benchView
	inProcess                  bool // an engine, no server
	nothing                    bool // neither: encoders
	starts, wire               bool
	flags                      func(*benchOptions, *pflag.FlagSet)
	block                      func(*benchOptions) (plan.Block, error)
}

func benchCommand(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure servers and engines",
		Long: `Bench measures any server that speaks Vitrine's or Triton's protocols, one scenario a command, and
writes every request to a record. ` + "`vitrine report`" + ` makes documents of records, ` + "`vitrine compare`" + ` answers
whether one is faster than another, and ` + "`vitrine bench study`" + ` runs a whole plan.

Latency counts from the moment at which a request was due; the time from sending is recorded beside it.
A cell that fails or times out is a result with its reason, and the run goes on. Where this program
itself was the bottleneck the cell is INVALID.

Exit codes: 0 every cell is ok; 1 one failed, timed out or is invalid; 2 the command line is wrong;
130 interrupted (the record holds what was measured until then).`,
		Example: `  vitrine bench single --target http://127.0.0.1:8000
  vitrine bench concurrency --format oip-binary --concurrency 1,8,32
  vitrine bench rate --search --bound 50ms
  vitrine bench study studies/reference.yaml --edition cpu --out results/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for i := range benchScenarios {
		c.AddCommand(scenarioCommand(&benchScenarios[i], std))
	}
	c.AddCommand(studyCommand(std))
	return c
}

func scenarioCommand(s *benchScenario, std streams) *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use: s.name, Short: s.short, Long: s.long, Example: s.example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f := cmd.Flags().Lookup("model"); f != nil {
				o.model.given = f.Changed
			}
			if !cmd.Flags().Changed("input") {
				o.inputs = nil
			}
			return runBench(cmd.Context(), s, &o, std)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	switch {
	case s.inProcess:
		o.model.define(fs)
		o.engine.define(fs)
	case !s.nothing:
		o.subjectFlags.define(fs)
	}
	if s.starts {
		o.defineStart(fs, s.name == "scaling")
	}
	if s.flags != nil {
		cli.Group(fs, "Scenario", func(fs *pflag.FlagSet) { s.flags(&o, fs) })
	}
	o.loadFlags.define(fs, s.wire)
	o.recordFlags.define(fs)
	o.log.define(fs, "warn")
	completeValues(c)
	completeBench(c)
	return c
}

// completeBench completes the values that lists take.
func completeBench(c *cobra.Command) {
	for flag, words := range map[string][]string{"format": plan.Formats, "encoding": plan.Encodings, "encoder": plan.Encoders} {
		if c.Flags().Lookup(flag) != nil {
			mustComplete(c, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

func ints(fs *pflag.FlagSet, p *[]int, name string, value []int, usage string) {
	fs.IntSliceVar(p, name, value, usage)
	cli.TypedOnly(fs, name)
}

func batchFlag(value ...int) func(*benchOptions, *pflag.FlagSet) {
	return func(o *benchOptions, fs *pflag.FlagSet) {
		ints(fs, &o.batches, "batch", value, "`images` of one request, separated by commas")
	}
}

func concurrencyFlags(value ...int) func(*benchOptions, *pflag.FlagSet) {
	return func(o *benchOptions, fs *pflag.FlagSet) {
		ints(fs, &o.clients, "concurrency", value, "`clients` that each send the next request when the last is answered, separated by commas")
		ints(fs, &o.batches, "batch", []int{1}, "`images` of one request, separated by commas")
	}
}

func (o *benchOptions) blockOf(scenario string) plan.Block {
	b := plan.Block{Scenario: scenario, Settings: o.settings()}
	b.Batch, b.Concurrency, b.Instances, b.Rate = o.batches, o.clients, o.instances, o.rates
	return b
}

func simply(scenario string) func(*benchOptions) (plan.Block, error) {
	return func(o *benchOptions) (plan.Block, error) { return o.blockOf(scenario), nil }
}

var benchScenarios = []benchScenario{
	{
		name: "cold-start", short: "From process start to ready to the first answer", starts: true,
		long: `Cold-start starts a server several times (--requests) and measures from the start of its process to
ready and to its first answer. Without --start it measures the first request of new clients to a server
that runs already.`,
		example: `  vitrine bench cold-start --start 'vitrine serve --model synthetic' --requests 5
  vitrine bench cold-start --target http://10.0.0.5:8000   # first requests only`,
		block: simply(record.ColdStart),
	},
	{
		name: "session", short: "Creation of an engine in this process", inProcess: true,
		long: `Session measures how long the engine takes to be made: weights opened, packed and planned. Synthetic
weights are made, not read, so making them is not counted. For other software, cold-start measures a
process from its start to ready.`,
		example: `  vitrine bench session --model ./my-clip --requests 10`,
		block:   simply(record.Session),
	},
	{
		name: "single", short: "One image a request, one client", starts: true, wire: true,
		long:    `Single sends one image a request, one request after the other: the latency that a lone client sees.`,
		example: `  vitrine bench single --rounds 5 --format embed-base64 --target localhost:8000 --target localhost:9000`,
		block:   simply(record.Single),
	},
	{
		name: "batch", short: "Several images in one request", starts: true, wire: true,
		long:    `Batch sends requests of several images, one request after the other, and counts images a second.`,
		example: `  vitrine bench batch --format oip-binary --batch 1,8,32`,
		flags:   batchFlag(1, 4, 8, 16, 32), block: simply(record.Batch),
	},
	{
		name: "concurrency", short: "Closed loop: more and more clients", starts: true, wire: true,
		long: `Concurrency has a number of clients each send its next request when the last one is answered. Such a
load eases off when the server is slow: bench rate is the one that does not.`,
		example: `  vitrine bench concurrency --concurrency 1,4,16,64 --duration 10s`,
		flags:   concurrencyFlags(1, 4, 8, 16, 32, 64, 128), block: simply(record.Concurrency),
	},
	{
		name: "rate", short: "Open loop: requests at a rate, and the highest rate that meets a bound", starts: true, wire: true,
		long: `Rate sends requests at the instants of a schedule, whether or not earlier ones were answered, and counts
latency from the scheduled instant. With --search it looks for the highest rate at which --quantile of
the latencies stays within --bound; every try is a cell of the record.`,
		example: `  vitrine bench rate --rate 50,100,200 --duration 30s
  vitrine bench rate --search --bound 50ms --quantile 0.99`,
		flags: rateFlags, block: rateBlock,
	},
	{
		name: "serialization", short: "What a request's format costs to write and to read", nothing: true,
		long: `Serialization times encoders and parsers alone, without a server: Go's and Python's encoders (.tolist()
and json.dumps, tobytes, base64, as Python clients do) and the server's own parsers, and counts the
bytes of the request body.`,
		example: `  vitrine bench serialization --python ./venv/bin/python --batch 1,32`,
		flags:   serializationFlags, block: serializationBlock,
	},
	{
		name: "breakdown", short: "Where a request's time goes: network, queue, input, compute, output", starts: true, wire: true, view: viewStages,
		long: `Breakdown is single, or concurrency where --concurrency is given, with the server's own stages beside the
client's latency: from its metrics before and after (Triton's names) and from Server-Timing headers.`,
		example: `  vitrine bench breakdown --format oip-binary --concurrency 8`,
		flags:   concurrencyFlags(), block: breakdownBlock,
	},
	{
		name: "batching", short: "How well the server's dynamic batching fills batches", starts: true, wire: true, view: viewBatching,
		long:    `Batching is concurrency with the server's counts of requests and executions beside it: the average batch.`,
		example: `  vitrine bench batching --format oip-binary --concurrency 8,32`,
		flags:   concurrencyFlags(1, 8, 32), block: simply(record.Concurrency),
	},
	{
		name: "scaling", short: "Throughput over 1 to n instances or cards", starts: true, wire: true, view: viewScaling,
		long: `Scaling is concurrency over several sizes of one deployment: --start with {instances} in it starts each,
or one --target is given for each and labelled with its gpus and price. The report makes efficiency and
cost of it.`,
		example: `  vitrine bench scaling --start 'vitrine serve --instances {instances}' --instances 1,2,4`,
		flags: func(o *benchOptions, fs *pflag.FlagSet) {
			ints(fs, &o.instances, "instances", nil, "`numbers` of instances to start the server with, separated by commas")
			concurrencyFlags(32)(o, fs)
		},
		block: scalingBlock,
	},
	{
		name: "idle", short: "What a server takes without load: memory, power", wire: true, starts: true,
		long: `Idle sends nothing and reads the metrics of the server and of its cards once a second: memory, utilisation, power.`,
		example: `  vitrine bench idle --metrics-url http://127.0.0.1:8002/metrics --duration 30s
  vitrine bench idle --target http://gpu-host:8000 --device-metrics-url http://gpu-host:9400/metrics`,
		block: simply(record.Idle),
	},
	{
		name: "compute", short: "An engine in this process, without a server", inProcess: true,
		long: `Compute runs batches on an engine in this process: what the machine can do when nothing else is asked of it.
With --staged the input lies where the engine computes before the clock starts, in the memory of a device
that has its own; engines that keep no input refuse it.`,
		example: `  vitrine bench compute --model synthetic --batch 1,4,8,16,32 --rounds 3
  vitrine bench compute --model synthetic --engine onnxruntime:cuda --staged`,
		flags: func(o *benchOptions, fs *pflag.FlagSet) {
			batchFlag(1, 4, 8, 16, 32)(o, fs)
			fs.BoolVar(&o.staged, "staged", false, "leave out bringing the input to where the engine computes")
			cli.TypedOnly(fs, "staged")
		},
		block: simply(record.Compute),
	},
	{
		name: "profile", short: "Operators of an engine, or of an ONNX Runtime trace", inProcess: true, view: viewOperators,
		long: `Profile has the engine in this process say where the time of its runs goes, or reads the trace that ONNX
Runtime writes with enable_profiling. A trace's times are the host's: on a device that computes
asynchronously they are the time to launch.`,
		example: `  vitrine bench profile --model synthetic --batch 8
  vitrine bench profile --ort-trace onnxruntime_profile.json --onnx model.onnx --warmup 2`,
		flags: func(o *benchOptions, fs *pflag.FlagSet) {
			batchFlag(1)(o, fs)
			fs.StringVar(&o.trace, "ort-trace", "", "`FILE` of an ONNX Runtime profile to read instead; --warmup leaves its first runs out")
			fs.StringVar(&o.onnx, "onnx", "", "`FILE` of the model that the trace is of: its size, opset and nodes")
			cli.TypedOnly(fs, "ort-trace", "onnx")
		},
		block: simply(record.Profile),
	},
	{
		name: "soak", short: "Load for long", starts: true, wire: true,
		long:    `Soak is concurrency for --duration (default an hour), to see what grows, leaks or slows down.`,
		example: `  vitrine bench soak --concurrency 8 --duration 4h`,
		flags:   concurrencyFlags(8), block: simply(record.Soak),
	},
}

func rateFlags(o *benchOptions, fs *pflag.FlagSet) {
	fs.Float64SliceVar(&o.rates, "rate", nil, "`requests` a second, separated by commas")
	fs.Var(cli.NewChoice(&o.arrival, "poisson", "poisson", "constant"), "arrival", "gaps between requests: exponential, as independent users make them, or all alike")
	fs.BoolVar(&o.search, "search", false, "look for the highest rate that meets --bound instead")
	fs.DurationVar(&o.bound, "bound", 0, "longest `time` that --quantile of the latencies may take")
	fs.Float64Var(&o.quantile, "quantile", 0.99, "`share` of requests that --bound holds for")
	fs.Float64Var(&o.lowest, "lowest-rate", 8, "`requests` a second that the search begins with")
	fs.Float64Var(&o.highest, "highest-rate", 100000, "`requests` a second beyond which the search does not go")
	ints(fs, &o.batches, "batch", []int{1}, "`images` of one request, separated by commas")
	cli.TypedOnly(fs, "rate", "arrival", "search", "bound", "quantile", "lowest-rate", "highest-rate")
}

func rateBlock(o *benchOptions) (plan.Block, error) {
	b := o.blockOf(record.OpenLoop)
	b.Arrival, b.Bound, b.Quantile = []string{o.arrival}, o.bound, o.quantile
	switch {
	case o.search && o.bound <= 0:
		return b, errors.New("--search needs --bound, such as 50ms")
	case o.search && len(o.rates) > 0:
		return b, errors.New("--search finds the rate: leave --rate out")
	case o.search && !(o.lowest > 0 && o.lowest <= o.highest && o.highest < math.Inf(1)):
		return b, errors.New("want 0 < --lowest-rate <= --highest-rate")
	case !o.search && len(o.rates) == 0:
		return b, errors.New("--rate is missing (or --search with --bound)")
	case !o.search && o.bound > 0:
		return b, errors.New("--bound is for --search")
	}
	if o.search {
		b.Scenario = record.RateSearch
	}
	return b, nil
}

func serializationFlags(o *benchOptions, fs *pflag.FlagSet) {
	batchFlag(1, 4, 8, 16, 32)(o, fs)
	fs.StringSliceVar(&o.encodings, "encoding", plan.Encodings, "`formats`, separated by commas")
	fs.StringSliceVar(&o.encoders, "encoder", plan.Encoders, "`subjects`, separated by commas: go and python write, server reads")
	fs.StringVar(&o.python, "python", "python3", "`PATH` of a Python with numpy; without one its rows are left out")
	cli.TypedOnly(fs, "encoding", "encoder", "python")
}

func serializationBlock(o *benchOptions) (plan.Block, error) {
	b := o.blockOf(record.Serialization)
	b.Formats, b.Encoders = o.encodings, o.encoders
	return b, nil
}

func breakdownBlock(o *benchOptions) (plan.Block, error) {
	if len(o.clients) == 0 && len(o.batches) == 1 && o.batches[0] == 1 {
		return o.blockOf(record.Single), nil
	}
	if len(o.clients) == 0 {
		return o.blockOf(record.Batch), nil
	}
	return o.blockOf(record.Concurrency), nil
}

func scalingBlock(o *benchOptions) (plan.Block, error) {
	if o.start == "" && len(o.instances) > 0 {
		return plan.Block{}, errors.New("--instances needs --start with {instances} in it")
	}
	return o.blockOf(record.Concurrency), nil
}

// study makes the plan of a scenario's flags.
func (s *benchScenario) study(o *benchOptions) (*plan.Study, error) {
	var study *plan.Study
	var err error
	switch {
	case s.inProcess:
		study = inProcessStudy(s.name, o)
	case s.nothing:
		study = &plan.Study{Version: plan.Version, Name: "bench-" + s.name,
			Targets: []plan.Target{{Name: "encoders", Format: target.InProcess, Engine: plan.Engine{Name: "null"}}}}
	default:
		study, err = o.study(s.name)
	}
	if err != nil {
		return nil, err
	}
	block, err := s.block(o)
	if err != nil {
		return nil, err
	}
	step := plan.Step{Cells: []plan.Block{block}}
	for _, t := range study.Targets {
		step.Targets = append(step.Targets, t.Name)
	}
	study.Title = o.title
	study.Steps = []plan.Step{step}
	return study, study.Check()
}

// subjectName is what tables call an engine in process.
func subjectName(o *benchOptions) string {
	name := "vitrine " + o.engine.name
	if o.staged {
		name += ", input staged"
	}
	return name
}

// inProcessStudy measures the engine that the flags describe.
func inProcessStudy(name string, o *benchOptions) *plan.Study {
	e := plan.Engine{Name: o.engine.name, Precision: o.engine.precision, Threads: o.engine.threads,
		Instances: o.engine.instances, MaxBatch: o.engine.maxBatch, Staged: o.staged}
	for _, b := range o.batches {
		e.MaxBatch = max(e.MaxBatch, b)
	}
	return &plan.Study{Version: plan.Version, Name: "bench-" + name, Targets: []plan.Target{{
		Name: subjectName(o), Format: target.InProcess, Model: o.model.full(), Engine: e}}}
}

func runBench(ctx context.Context, s *benchScenario, o *benchOptions, std streams) error {
	study, err := s.study(o)
	if err != nil {
		return cli.Usage{Err: err}
	}
	x, err := study.Expand("", plan.Exists)
	if err != nil {
		return cli.Usage{Err: err}
	}
	headers, err := o.headerMap()
	if err != nil {
		return cli.Usage{Err: err}
	}
	path := o.out
	if path == "" {
		path = fmt.Sprintf("bench-%s-%s.jsonl.zst", s.name, time.Now().Format("20060102-150405"))
	}
	b := &benchRun{study: study, cells: x, path: path, seed: o.seed, python: o.python, headers: headers,
		lowest: o.lowest, highest: o.highest, quiet: o.quiet, log: o.log.logger(std.err), std: std, view: s.view, model: o.model, engine: &o.engine}
	if path != "-" {
		b.folder = strings.TrimSuffix(path, ".jsonl.zst") + "-logs" // made when a server is started
	}
	if o.trace != "" {
		return b.profileTrace(o.trace, o.onnx, o.warmup)
	}
	return b.run(ctx)
}
