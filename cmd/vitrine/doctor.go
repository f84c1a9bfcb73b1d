package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/doctor"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime"
	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/host"
	"github.com/vitrine-project/vitrine/internal/numa"
)

// doctorOptions are the flags of `vitrine doctor`.
type doctorOptions struct {
	format  string
	require []string
	tune    bool
	slow    bool
	batches []int
	model   modelFlags
	engine  engineFlags
	log     logFlags
	devices deviceFlags // --gpus alone
}

func doctorCommand(std streams) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "What this machine has, which engines run, and which is fastest",
		Long: `Doctor lists what this machine offers: instructions, memory and its limits, GPUs and their driver, shared
libraries and Python packages with what to install where one is missing; then which engines run in which
precisions, and which one --engine auto would take and why.

--engine auto takes what --tune found fastest here for the model and the precision; where nothing was
tuned, the first of its order that runs. --tune times each engine on several batch sizes, one precision
after the other, since engines of different precisions make vectors of different spaces, and keeps the
figures in the cache folder. Engines that need minutes to start (torch.compile) are timed with --slow.`,
		Example: `  vitrine doctor
  vitrine doctor --require torch || echo no PyTorch here
  vitrine doctor --tune --model ./my-clip --torch-python ./venv/bin/python
  vitrine doctor --tune --gpus 1     # on machines with cards of several kinds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.model.given = cmd.Flags().Changed("model")
			return runDoctor(cmd.Context(), &o, std)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	cli.Group(fs, "Diagnosis", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&o.format, "text", "text", "json"), "format", "text for people, json for programs")
		fs.StringSliceVar(&o.require, "require", nil, "`ENGINE` or ENGINE:PRECISION that must run here, else exit code 1; again for more")
	})
	cli.Group(fs, "Tuning", func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.tune, "tune", false, "time the engines and keep which is fastest, for --engine auto")
		fs.BoolVar(&o.slow, "slow", false, "time engines that need minutes to start, too")
		fs.IntSliceVar(&o.batches, "batch", []int{1, 8, 32}, "`images` of the batches that are timed, separated by commas")
		fs.StringVar(&o.devices.gpus, "gpus", "all", "cards whose engines are timed, on the first of them: `NUMBERS` separated by commas, or all. serve --engine auto with --gpus takes what was found on cards of these kinds")
	})
	cli.TypedOnly(fs, "format", "require", "tune", "slow", "batch", "gpus")
	o.model.define(fs)
	o.engine.define(fs)
	o.log.define(fs, "warn")
	completeValues(c)
	return c
}

// diagnosis is what doctor tells.
type diagnosis struct {
	Program   build            `json:"program"`
	OS        string           `json:"os,omitempty"`
	Kernel    string           `json:"kernel,omitempty"`
	Processor doctor.Processor `json:"processor"`
	Memory    doctor.Memory    `json:"memory"`
	Driver    string           `json:"gpu_driver,omitempty"`
	CUDA      string           `json:"gpu_driver_cuda,omitempty"` // highest version that it serves
	GPUs      []gpuState       `json:"gpus"`
	NoGPU     string           `json:"no_gpu,omitempty"` // why there is none
	Libraries []doctor.Library `json:"libraries"`
	Python    doctor.Python    `json:"python"`
	Engines   []engineState    `json:"engines"`
	Auto      autoState        `json:"auto"`
	Tuning    *tuning          `json:"tuning,omitempty"`
}

// gpuState is a card as it is now.
type gpuState struct {
	Index       int      `json:"index"`
	Name        string   `json:"name"`
	UUID        string   `json:"uuid"`
	MemoryTotal int64    `json:"memory_total_bytes"`
	MemoryUsed  int64    `json:"memory_used_bytes"`
	Power       *float64 `json:"power_watts"`
	PowerLimit  *float64 `json:"power_limit_watts"`
	Temperature *float64 `json:"temperature_celsius"`
	Node        *int     `json:"numa_node"`
	Processors  []int    `json:"near_processors"`

	place numa.Place
}

// engineState is whether an engine runs here in a precision.
type engineState struct {
	Engine    string           `json:"engine"`
	About     string           `json:"about"`
	Precision engine.Precision `json:"precision"`
	Runs      bool             `json:"runs"`
	Remark    string           `json:"remark,omitempty"` // why not, and what to do; or what to know
}

// autoState is what --engine auto would take.
type autoState struct {
	Engine    string           `json:"engine"`
	Precision engine.Precision `json:"precision"`
	Order     string           `json:"order"`
	Reason    string           `json:"reason"`
}

func runDoctor(ctx context.Context, o *doctorOptions, std streams) error {
	required, err := o.required()
	if err != nil {
		return cli.Usage{Err: err}
	}
	if slices.Min(append([]int{1}, o.batches...)) < 1 || len(o.batches) == 0 {
		return cli.Usage{Err: errors.New("--batch: want sizes of at least 1")}
	}
	if !o.devices.all() {
		if _, err := o.devices.cards(&o.engine); err != nil {
			return err
		}
	}
	d := diagnose(ctx, o)
	if o.tune {
		if d.Tuning, err = o.runTune(ctx, std); err != nil {
			return err
		}
	}
	d.Auto = o.auto(d.Tuning)
	if o.format == "json" {
		err = writeJSON(std.out, d)
	} else {
		err = d.print(std.out)
	}
	return errors.Join(err, d.missing(required))
}

// need is an engine that --require names, in one precision or any.
type need struct{ engine, precision string }

func (o *doctorOptions) required() (all []need, err error) {
	for _, text := range o.require {
		var n need
		n.engine, n.precision, _ = strings.Cut(text, ":")
		kind, err := backendOf(n.engine)
		if err != nil {
			return nil, fmt.Errorf("--require: %w", err)
		}
		if n.precision != "" && !slices.Contains(kind.precisions, engine.Precision(n.precision)) {
			return nil, fmt.Errorf("--require %s: engine %s has the precisions %v", text, n.engine, kind.precisions)
		}
		all = append(all, n)
	}
	return all, nil
}

// missing is an error that names what is required and does not run.
func (d *diagnosis) missing(required []need) error {
	var errs []error
	for _, n := range required {
		var why string
		runs := slices.ContainsFunc(d.Engines, func(e engineState) bool {
			if e.Engine != n.engine || n.precision != "" && string(e.Precision) != n.precision {
				return false
			}
			why = e.Remark
			return e.Runs
		})
		if !runs {
			errs = append(errs, fmt.Errorf("engine %s does not run here: %s", strings.TrimSuffix(n.engine+":"+n.precision, ":"), why))
		}
	}
	return errors.Join(errs...)
}

func diagnose(ctx context.Context, o *doctorOptions) *diagnosis {
	h := host.Read()
	d := &diagnosis{
		Program: readBuild(), OS: h.OS, Kernel: h.Kernel,
		Processor: doctor.Processor{Name: h.CPU, Cores: h.Cores, Features: h.Features},
		Memory:    doctor.ReadMemory(os.DirFS("/")),
		Libraries: doctor.Find(doctor.Libraries(onnxruntime.Search(o.engine.onnx.runtime))),
		Python:    *probePython(ctx, o.engine.torch.python),
		GPUs:      []gpuState{},
	}
	d.Processor.Levels()
	d.readGPUs()
	for _, k := range backends {
		for _, p := range k.precisions {
			remark, err := k.check(ctx, &o.engine, p)
			if err != nil {
				remark = err.Error()
			}
			d.Engines = append(d.Engines, engineState{Engine: k.name, About: k.about, Precision: p, Runs: err == nil, Remark: remark})
		}
	}
	return d
}

func (d *diagnosis) readGPUs() {
	n, err := gpu.Open()
	if err != nil {
		d.NoGPU = err.Error()
		return
	}
	d.Driver, d.CUDA = n.Driver(), n.CUDA()
	for _, s := range gpu.NewSampler(n, 0).Sample() {
		i := gpuInfo(&s)
		state := gpuState{Index: i.Index, Name: i.Name, UUID: i.UUID, MemoryTotal: i.MemoryTotal, MemoryUsed: i.MemoryUsed,
			Power: i.Power, PowerLimit: i.PowerLimit, Temperature: i.Temperature}
		if state.place = placeOf(i.UUID); state.place.Node != numa.Unknown {
			state.Node = &state.place.Node
		}
		state.Processors = state.place.Processors
		d.GPUs = append(d.GPUs, state)
	}
}

// auto says what --engine auto takes: for the model that was tuned just now, or the documented order.
func (o *doctorOptions) auto(t *tuning) autoState {
	first, p := o.engine.untuned()
	a := autoState{Engine: first.name, Precision: p, Order: autoOrder, Reason: "the first of its order that runs here; --tune finds out which is fastest"}
	if t == nil {
		if n := tunedModels(); n > 0 {
			a.Reason += fmt.Sprintf(" (%d models are tuned on machines that use this cache folder)", n)
		}
		return a
	}
	if best := t.best(p); best != nil {
		a.Engine, a.Reason = best.Engine, "tuned: "+best.String()
	}
	return a
}
