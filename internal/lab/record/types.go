// Package record is the laboratory's result stream: what a run was, and everything that it saw, one
// self-describing line at a time. Reports, plots and comparisons are functions of record files alone.
//
// A file is JSON Lines, compressed with zstd; each line is an object with the key "kind". It is only
// ever appended to and is readable up to the last flush, so a run that was killed keeps what it had.
package record

import "time"

// Version of the format. A reader refuses a higher one and ignores keys that it does not know.
const Version = 1

// Manifest is the first line: all that a reader must know to trust or repeat the run. It names no
// machine: labels do, where the user wants it.
type Manifest struct {
	Version int               `json:"version"`
	Run     string            `json:"run"` // random, 16 hexadecimal digits
	Started time.Time         `json:"started"`
	Command []string          `json:"command"`
	Tool    Tool              `json:"tool"`
	Client  Host              `json:"client"`
	Labels  map[string]string `json:"labels,omitempty"`
	Seed    uint64            `json:"seed"`
	Study   string            `json:"study,omitempty"` // the study's name
	Title   string            `json:"title,omitempty"`
	Plan    string            `json:"plan,omitempty"` // the study's YAML as it was read
}

// Tool is the program that measured.
type Tool struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

// Host is a machine as far as figures depend on it.
type Host struct {
	OS       string   `json:"os,omitempty"`
	Kernel   string   `json:"kernel,omitempty"`
	CPU      string   `json:"cpu,omitempty"`
	Cores    int      `json:"cores,omitempty"`    // that the program may use
	Features []string `json:"features,omitempty"` // that kernels choose by: avx512, avx512_bf16, amx_bf16...
	Memory   int64    `json:"memory_bytes,omitempty"`
	GPUs     []GPU    `json:"gpus,omitempty"`
}

// GPU is one card.
type GPU struct {
	Index      int     `json:"index"`
	Name       string  `json:"name"`
	UUID       string  `json:"uuid,omitempty"`
	Driver     string  `json:"driver,omitempty"`
	Memory     int64   `json:"memory_bytes,omitempty"`
	PowerLimit float64 `json:"power_limit_watts,omitempty"`
}

// Subject is what is measured: a server in one format, or an engine in process. Cells refer to it by
// its name, which is the column's title in tables.
type Subject struct {
	Name   string `json:"name"`
	URL    string `json:"url,omitempty"`
	Format string `json:"format"` // a name of target.Formats
	Model  string `json:"model,omitempty"`
	// Labels are free; reports know these: backend (what computes, as in "ONNX CUDA EP"), machine, type,
	// provider, interconnect, gpu, gpus (count), vram, price (US dollars an hour), step.
	Labels map[string]string `json:"labels,omitempty"`
	Server Server            `json:"server,omitzero"`
}

// Server is what a server says about itself.
type Server struct {
	Software  string `json:"software,omitempty"` // "vitrine", "triton", "fastapi"
	Version   string `json:"version,omitempty"`
	Engine    string `json:"engine,omitempty"`
	Precision string `json:"precision,omitempty"`
	Space     string `json:"space,omitempty"`
	Synthetic bool   `json:"synthetic,omitempty"`
	Host      *Host  `json:"host,omitempty"`
}

// Scenarios. Each is a kind of cell, and a table of the report or a part of one.
const (
	ColdStart     = "cold_start"    // Measures start_to_ready, start_to_first_answer, first_request (ms)
	Session       = "session"       // Measure session_creation (ms), one value a creation
	Single        = "single"        // one image a request, one client
	Batch         = "batch"         // Params.Batch images in one request, one client
	Concurrency   = "concurrency"   // closed loop, Params.Concurrency clients
	OpenLoop      = "open_loop"     // Params.Rate requests a second, Params.Arrival
	RateSearch    = "rate_search"   // Measure highest_rate (requests/s) under Params.Bound; the tries are open_loop cells
	Serialization = "serialization" // Measures encode, decode (ms) and payload (bytes) by Params.Format and Params.Batch
	Compute       = "compute"       // an engine in process: Params.Batch rows a run
	Idle          = "idle"          // no load: device samples only
	Soak          = "soak"          // concurrency, for long
	Profile       = "profile"       // operator table
)

// Params are the settings of a cell. Zero is "does not apply".
type Params struct {
	Format        string        `json:"format,omitempty"`  // serialization: json, binary, base64_jpeg...
	Encoder       string        `json:"encoder,omitempty"` // serialization: go, python, server
	Batch         int           `json:"batch,omitempty"`   // images in one request
	Concurrency   int           `json:"concurrency,omitempty"`
	Rate          float64       `json:"rate,omitempty"`    // requests a second
	Arrival       string        `json:"arrival,omitempty"` // constant, poisson
	Bound         time.Duration `json:"bound_ns,omitempty"`
	Quantile      float64       `json:"quantile,omitempty"`  // that Bound holds for
	Instances     int           `json:"instances,omitempty"` // GPUs or instances: scaling
	Duration      time.Duration `json:"duration_ns,omitempty"`
	Requests      int           `json:"requests,omitempty"` // most; with Duration, whichever comes first
	Warmup        int           `json:"warmup,omitempty"`   // requests, not measured
	Timeout       time.Duration `json:"timeout_ns,omitempty"`
	Link          string        `json:"link,omitempty"`           // "rtt=40ms,bw=100mbit"
	NewConnection bool          `json:"new_connection,omitempty"` // one for each request
	Input         string        `json:"input,omitempty"`          // "photo 224x224 jpeg 13 kB"
	InputBytes    int           `json:"input_bytes,omitempty"`    // of one image as the target sends it, before framing
}

// Cell is one measurement under constant settings. Its ID is unique in the file.
type Cell struct {
	ID       int    `json:"id"`
	Key      string `json:"key"`            // same settings, same key: over rounds, runs and resumptions
	Step     string `json:"step,omitempty"` // the study's step, as in the reference: "4", "5A", "6B"
	Scenario string `json:"scenario"`
	Subject  string `json:"subject"`
	Params   Params `json:"params"`
	Round    int    `json:"round,omitempty"` // of interleaved repetitions, from 0
	At       int64  `json:"at"`              // nanoseconds since Manifest.Started, as every time below
}

// Cell statuses.
const (
	OK      = "ok"
	Failed  = "failed"  // with its reason: a result like any other
	Timeout = "timeout" // nothing, or too little, was answered in time
	Invalid = "invalid" // the harness was the bottleneck, or counts disagree: not to be quoted
)

// CellEnd closes a cell.
type CellEnd struct {
	Cell    int           `json:"cell"`
	At      int64         `json:"at"`
	Status  string        `json:"status"`
	Reasons []string      `json:"reasons,omitempty"` // why not ok; warnings if ok
	Elapsed time.Duration `json:"elapsed_ns"`        // of the measured part
	Checks  []Check       `json:"checks,omitempty"`
	Harness Harness       `json:"harness,omitzero"`
}

// Check is a cross-check of the client's counts against another source.
type Check struct {
	Name string  `json:"name"` // server_requests, littles_law...
	Want float64 `json:"want"` // the client's figure
	Got  float64 `json:"got"`
	OK   bool    `json:"ok"`
}

// Harness is the instrument's own state during a cell.
type Harness struct {
	LatenessP50  time.Duration `json:"lateness_p50_ns,omitempty"` // sent minus due
	LatenessP99  time.Duration `json:"lateness_p99_ns,omitempty"`
	LatenessMax  time.Duration `json:"lateness_max_ns,omitempty"`
	CPU          time.Duration `json:"cpu_ns,omitempty"` // processor time of this process
	Unsent       int           `json:"unsent,omitempty"` // due but never sent
	GCPauseTotal time.Duration `json:"gc_pause_ns,omitempty"`
}

// Request is one request as the client saw it. Times are nanoseconds since Manifest.Started.
type Request struct {
	Due       int64 // when it should have been sent; closed loop: equal to Sent
	Sent      int64 // before the first byte was written
	Wrote     int64 // after the last byte was written; 0 where unknown
	FirstByte int64 // of the answer; 0 where unknown
	Done      int64 // after the last byte of the answer, or at the failure
	Worker    int32
	Status    int32 // HTTP status, or 1000 plus the gRPC code; 0 if nothing was answered
	BytesOut  int32 // on the wire, heads included, TLS and TCP not
	BytesIn   int32
	Warmup    bool
	Error     string // empty if answered with success
	Server    ServerTiming
}

// ServerTiming is what the answer says of its own time (a Server-Timing header or body); 0 is unknown.
type ServerTiming struct {
	Total, Decode, Queue, Input, Compute, Output time.Duration
}

// Sample is a reading at one instant. Names are Prometheus' where the source has them (nv_gpu_utilization,
// nv_inference_request_success, process_cpu_seconds_total).
type Sample struct {
	Cell   int     `json:"cell,omitempty"`
	At     int64   `json:"at"`
	Source string  `json:"source"` // server (its metrics address), dcgm, nvml, client
	Values []Value `json:"values"`
}

// Value is one series' value.
type Value struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// Measure is something that was timed or counted outside requests: values of one quantity, one an
// observation.
type Measure struct {
	Cell   int       `json:"cell"`
	Name   string    `json:"name"`
	Unit   string    `json:"unit"` // ms, bytes, requests/s, images/s...
	Values []float64 `json:"values"`
	Note   string    `json:"note,omitempty"`
}

// Operator is a line of an operator profile.
type Operator struct {
	Cell  int           `json:"cell"`
	Name  string        `json:"name"`
	Total time.Duration `json:"total_ns"`
	Count int           `json:"count"`
	Where string        `json:"where,omitempty"` // host, device, or the execution provider
	FLOPs int64         `json:"flops,omitempty"` // of its matrix products, all calls; 0 is none or unknown
	Bytes int64         `json:"bytes,omitempty"` // that must be read and written, all calls; 0 is unknown
}

// ModelFile describes the profiled model.
type ModelFile struct {
	Cell  int    `json:"cell"`
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Opset int    `json:"opset,omitempty"`
	Nodes int    `json:"nodes,omitempty"`
}

// Note is a remark for the reader of the report: a cell that was left out and why, an import.
type Note struct {
	At   int64  `json:"at"`
	Step string `json:"step,omitempty"`
	Text string `json:"text"`
}
