// Package plan is a study: which servers are measured, how, and in which order. A study is a YAML file,
// or made from a command's flags; either is expanded to the same list of cells, always in the same order
// and with the same keys.
package plan

import (
	"time"
)

// Version of the file. A study with another one is refused.
const Version = 1

// Study is a plan as it is written. docs/studies.md describes its keys.
type Study struct {
	Version int    `yaml:"version"`
	Name    string `yaml:"name"`
	Title   string `yaml:"title"`
	About   string `yaml:"about"`
	// Variables are texts that ${name} stands for in servers and targets; python is also the interpreter
	// that the serialization scenario encodes with.
	Variables map[string]string  `yaml:"variables"`
	Labels    map[string]string  `yaml:"labels"`
	Editions  map[string]Edition `yaml:"editions"`
	Defaults  Settings           `yaml:"defaults"`
	Servers   []Server           `yaml:"servers"`
	Targets   []Target           `yaml:"targets"`
	Steps     []Step             `yaml:"steps"`
}

// Edition is a reduction of a study with a name: what a machine cannot do, or a person does not want to
// wait for. Whatever it leaves out is noted in the record with Why.
type Edition struct {
	About   string   `yaml:"about"`
	Why     string   `yaml:"why"`     // why it leaves out what it leaves out
	Steps   []string `yaml:"steps"`   // only these; none is all
	Targets []string `yaml:"targets"` // only these; none is all
	Keep    Keep     `yaml:"keep"`
	Most    Most     `yaml:"most"`
}

// Keep names the values that an edition keeps of what a cell lists; none is all.
type Keep struct {
	Batch       []int    `yaml:"batch"`
	Concurrency []int    `yaml:"concurrency"`
	Instances   []int    `yaml:"instances"`
	Link        []string `yaml:"link"`
	Input       []string `yaml:"input"`
	Scenarios   []string `yaml:"scenarios"`
}

// Most bounds what a cell takes; zero bounds nothing.
type Most struct {
	Rounds   int           `yaml:"rounds"`
	Requests int           `yaml:"requests"`
	Warmup   int           `yaml:"warmup"`
	Duration time.Duration `yaml:"duration"`
	Timeout  time.Duration `yaml:"timeout"`
}

// Server is a process that the study starts before the first step that measures it and stops after the
// last one.
type Server struct {
	Name    string            `yaml:"name"`
	Start   string            `yaml:"start"` // a command line for sh
	Env     map[string]string `yaml:"env"`
	Ready   string            `yaml:"ready"`   // a URL that answers 2xx when the server takes requests
	Metrics string            `yaml:"metrics"` // a Prometheus address
	// DeviceMetrics is a Prometheus address of its cards (dcgm-exporter's), where its own page does not tell of them.
	DeviceMetrics string `yaml:"device_metrics"`
	// Needs are files that must exist; where one does not, the server's targets are left out with a note.
	Needs    []string            `yaml:"needs"`
	NeedsIn  map[string][]string `yaml:"needs_in"` // more of them, by edition
	Within   time.Duration       `yaml:"within"`   // longest time from the start to ready
	Lifetime string              `yaml:"lifetime"` // study (the default) or step: started anew for each step
}

// Target is a server in one format, or an engine in process.
type Target struct {
	Name    string `yaml:"name"`
	Server  string `yaml:"server"` // started by the study; none if it runs already
	URL     string `yaml:"url"`
	Format  string `yaml:"format"`
	Model   string `yaml:"model"` // the model's name on the server; in process: the reference of its weights
	Metrics string `yaml:"metrics"`
	// DeviceMetrics is as a server's, and takes its place.
	DeviceMetrics string            `yaml:"device_metrics"`
	Labels        map[string]string `yaml:"labels"`
	Editions      []string          `yaml:"editions"` // only in these; none is all
	Engine        Engine            `yaml:"engine"`
}

// Engine is what computes in process, for the format in-process.
type Engine struct {
	Name      string `yaml:"name"` // as --engine has it
	Precision string `yaml:"precision"`
	Threads   int    `yaml:"threads"`
	Instances int    `yaml:"instances"`
	MaxBatch  int    `yaml:"max_batch"`
	// Staged leaves out bringing the input to where the engine computes.
	Staged bool `yaml:"staged"`
	// Flags are more flags of the engine, as on a command line: --onnxruntime-cuda-graph.
	Flags []string `yaml:"flags"`
}

// Step is a part of the study: a section of the report.
type Step struct {
	ID       string   `yaml:"id"`
	Title    string   `yaml:"title"`
	Editions []string `yaml:"editions"`
	Targets  []string `yaml:"targets"`
	Cells    []Block  `yaml:"cells"`
}

// Block is a scenario with lists of settings: one cell for each target and combination.
type Block struct {
	Scenario string   `yaml:"scenario"`
	Targets  []string `yaml:"targets"` // none is the step's
	Editions []string `yaml:"editions"`
	Settings `yaml:",inline"`
}

// Settings are a cell's settings; unset ones come from the study's defaults and then from the scenario.
type Settings struct {
	Rounds   int           `yaml:"rounds"`
	Requests int           `yaml:"requests"`
	Warmup   *int          `yaml:"warmup"`
	Duration time.Duration `yaml:"duration"`
	Timeout  time.Duration `yaml:"timeout"`

	Batch         []int         `yaml:"batch"`
	Concurrency   []int         `yaml:"concurrency"`
	Instances     []int         `yaml:"instances"`
	Rate          []float64     `yaml:"rate"`
	Arrival       []string      `yaml:"arrival"`
	Bound         time.Duration `yaml:"bound"`
	Quantile      float64       `yaml:"quantile"`
	Input         []string      `yaml:"input"`
	Link          []string      `yaml:"link"`
	NewConnection []bool        `yaml:"new_connection"`
	Formats       []string      `yaml:"formats"`  // serialization
	Encoders      []string      `yaml:"encoders"` // serialization
}
