// Package ops is what operators and load balancers ask: liveness, readiness, draining, what is loaded,
// and on the metrics port Prometheus' metrics and, if enabled, profiles.
package ops

import (
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/front/embedapi"
	"github.com/vitrine-project/vitrine/internal/service"
)

// Options configure Ops.
type Options struct {
	Front   *front.Front
	Model   service.Model // may be nil until SetModel: the server is alive before its model is loaded
	Version string
	Metrics http.Handler // GET /metrics; nil has none
	Pprof   bool         // /debug/pprof/ on the metrics port
	Guard   *door.Guard  // asks for keys on the metrics port; nil lets everybody in
	GPUs    func() []GPU // nil has none
}

// GPU is one card of GET /gpu-info.
type GPU struct {
	Index       int     `json:"index"`
	Name        string  `json:"name"`
	UUID        string  `json:"uuid"`
	MemoryTotal uint64  `json:"memory_total_bytes"`
	MemoryUsed  uint64  `json:"memory_used_bytes"`
	Utilization float64 `json:"utilization"` // 0 to 1
	Power       float64 `json:"power_watts"`
}

// Ops serves the operators' routes.
type Ops struct {
	o       Options
	model   atomic.Pointer[func() service.Model]
	all     atomic.Pointer[func() bool]
	started time.Time
}

// New returns the routes of a server that has just started.
func New(o Options) *Ops {
	s := &Ops{o: o, started: time.Now()}
	if o.Model != nil {
		s.SetModel(o.Model)
	}
	return s
}

// SetModel says which model the server serves, once it is loaded.
func (s *Ops) SetModel(m service.Model) { s.SetModels(func() service.Model { return m }, nil) }

// SetModels is SetModel for a server whose models come and go: current is the one that the embedding
// API answers for, nil while there is none; ready tells whether all are, nil asks the current one.
func (s *Ops) SetModels(current func() service.Model, ready func() bool) {
	if ready != nil {
		s.all.Store(&ready)
	}
	s.model.Store(&current)
}

// SetDraining makes the server not ready, for load balancers to send requests elsewhere; it still
// answers what comes.
func (s *Ops) SetDraining(on bool) { s.o.Front.SetDraining(on) }

// Register adds the data port's routes: health, what is loaded, an index at "/" and FastAPI's 404 for
// every path that no front has.
func (s *Ops) Register(mux *http.ServeMux) {
	s.registerHealth(mux)
	s.o.Front.Register(mux, front.Route{Path: "/model-info", Methods: map[string]front.Handler{http.MethodGet: s.modelInfo},
		Fail: embedapi.Fail, Quiet: true, Group: door.Metadata})
	s.get(mux, "/gpu-info", s.gpuInfo)
	s.get(mux, "/{$}", s.index)
	s.fallback(mux, false)
}

// RegisterMetrics adds the metrics port's routes.
func (s *Ops) RegisterMetrics(mux *http.ServeMux) {
	s.registerHealth(mux)
	s.fallback(mux, true)
	if s.o.Metrics != nil {
		mux.Handle("GET /metrics", s.o.Guard.Protect(s.o.Metrics))
	}
	if s.o.Pprof {
		profile := func(path string, h http.HandlerFunc) { mux.Handle(path, s.o.Guard.Protect(h)) }
		profile("/debug/pprof/", pprof.Index)
		profile("/debug/pprof/cmdline", pprof.Cmdline)
		profile("/debug/pprof/profile", pprof.Profile)
		profile("/debug/pprof/symbol", pprof.Symbol)
		profile("/debug/pprof/trace", pprof.Trace)
	}
}

func (s *Ops) registerHealth(mux *http.ServeMux) {
	s.open(mux, "/health", s.health)
	s.open(mux, "/healthz", s.health)
	s.open(mux, "/readyz", s.ready)
}

func (s *Ops) get(mux *http.ServeMux, path string, h front.Handler) {
	s.o.Front.Register(mux, front.Route{Path: path, Methods: map[string]front.Handler{http.MethodGet: h}, Fail: embedapi.Fail, Quiet: true})
}

// open adds a route that needs no key: who asks whether the server lives has none.
func (s *Ops) open(mux *http.ServeMux, path string, h front.Handler) {
	s.o.Front.Register(mux, front.Route{Path: path, Methods: map[string]front.Handler{http.MethodGet: h}, Fail: embedapi.Fail, Quiet: true, Open: true})
}

func (s *Ops) fallback(mux *http.ServeMux, quiet bool) {
	none := func(*front.Exchange, *http.Request) error { return fault.New(fault.NotFound, "Not Found") }
	methods := map[string]front.Handler{}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		methods[m] = none
	}
	s.o.Front.Register(mux, front.Route{Path: "/", Methods: methods, Fail: embedapi.Fail, Quiet: quiet})
}

// current is what is loaded, nil if nothing is.
func (s *Ops) current() service.Model {
	if m := s.model.Load(); m != nil {
		return (*m)()
	}
	return nil
}

// metadata is that of what is loaded, nil if nothing is.
func (s *Ops) metadata() *service.Metadata {
	m := s.current()
	if m == nil {
		return nil
	}
	meta := m.Metadata()
	return &meta
}

// isReady tells whether a real inference has succeeded and the server is not about to stop.
func (s *Ops) isReady() bool {
	if s.o.Front.Draining() {
		return false
	}
	if all := s.all.Load(); all != nil {
		return (*all)()
	}
	m := s.current()
	return m != nil && m.Ready()
}

// state is the word for both: "healthy", "degraded" with a device lost, "unavailable" with all of them
// lost, "starting" or "draining".
func (s *Ops) state() string {
	devices := s.devices()
	lost := 0
	for _, d := range devices {
		if !d.Up {
			lost++
		}
	}
	switch {
	case s.o.Front.Draining():
		return "draining"
	case lost > 0 && lost == len(devices):
		return "unavailable"
	case !s.isReady():
		return "starting"
	case lost > 0:
		return "degraded"
	}
	return "healthy"
}

// devices are those of what is loaded, where it can lose one.
func (s *Ops) devices() []service.Device {
	if m, ok := s.current().(interface{ Devices() []service.Device }); ok {
		return m.Devices()
	}
	return nil
}

// device is the state of one device in the answer to GET /readyz.
type device struct {
	Name  string  `json:"name"`
	Up    bool    `json:"up"`
	Why   string  `json:"why,omitempty"`
	Since float64 `json:"since_seconds"`
}

type health struct {
	Status      string  `json:"status"`
	Ready       bool    `json:"ready"`
	ModelLoaded bool    `json:"model_loaded"`
	ModelName   string  `json:"model_name,omitempty"`
	Pretrained  string  `json:"pretrained,omitempty"`
	Device      string  `json:"device,omitempty"`
	Synthetic   bool    `json:"synthetic,omitempty"`
	Version     string  `json:"version"`
	Uptime      float64 `json:"uptime_seconds"`

	Devices []device `json:"devices,omitempty"`
}

func (s *Ops) report() health {
	h := health{Status: s.state(), Ready: s.isReady(), Version: s.o.Version, Uptime: time.Since(s.started).Seconds()}
	if m := s.metadata(); m != nil {
		h.ModelLoaded, h.ModelName, h.Pretrained, h.Device, h.Synthetic = true, m.ModelName, m.Pretrained, m.Device, m.Synthetic
	}
	for _, d := range s.devices() {
		h.Devices = append(h.Devices, device{d.Name, d.Up, d.Why, time.Since(d.Since).Seconds()})
	}
	return h
}

// health is liveness: the process answers.
func (s *Ops) health(x *front.Exchange, _ *http.Request) error {
	x.JSON(http.StatusOK, s.report())
	return nil
}

func (s *Ops) ready(x *front.Exchange, _ *http.Request) error {
	h := s.report()
	status := http.StatusOK
	if !h.Ready {
		status = http.StatusServiceUnavailable
	}
	x.JSON(status, h)
	return nil
}

type modelInfo struct {
	embedapi.ModelInfo
	WeightsHash string `json:"weights_hash"`
	Plan        string `json:"preprocessing"`
	PlanHash    string `json:"preprocessing_hash"`
	Variant     string `json:"variant"`
	MaxBatch    int    `json:"max_batch_size"`
	Instances   int    `json:"instances"`
	Parameters  int64  `json:"parameters"`
}

func (s *Ops) modelInfo(x *front.Exchange, _ *http.Request) error {
	m := s.metadata()
	if m == nil {
		return fault.New(fault.Unavailable, "the model is not loaded yet")
	}
	if m.Synthetic {
		x.Header()["X-Vitrine-Synthetic"] = []string{"true"}
	}
	x.JSON(http.StatusOK, modelInfo{
		ModelInfo: embedapi.Info(m), WeightsHash: m.WeightsHash, Plan: m.Plan, PlanHash: m.PlanHash, Variant: m.Variant,
		MaxBatch: m.MaxBatch, Instances: m.Instances, Parameters: m.Parameters,
	})
	return nil
}

func (s *Ops) gpuInfo(x *front.Exchange, _ *http.Request) error {
	gpus := []GPU{}
	if s.o.GPUs != nil {
		gpus = append(gpus, s.o.GPUs()...)
	}
	x.JSON(http.StatusOK, struct {
		Available bool  `json:"gpu_available"`
		GPUs      []GPU `json:"gpus"`
	}{len(gpus) > 0, gpus})
	return nil
}

func (s *Ops) index(x *front.Exchange, _ *http.Request) error {
	x.JSON(http.StatusOK, map[string]any{
		"name": "Vitrine", "version": s.o.Version, "status": s.state(),
		"endpoints": []string{
			"POST /embed", "POST /embed/base64", "POST /embed/batch", "POST /v1/embeddings", "GET /v1/models",
			"GET /health", "GET /readyz", "GET /model-info", "GET /gpu-info",
		},
	})
	return nil
}
