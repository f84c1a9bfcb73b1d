// Package oiphttp is the Open Inference Protocol over HTTP, as Triton 2.51 speaks it: the base routes,
// JSON and binary tensors, raw requests, compression, and Triton's extensions. What a request means is
// internal/oip's to say; this package reads and writes it.
package oiphttp

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire"
)

const (
	typeJSON   = "application/json"
	typeBinary = "application/octet-stream"
	typePlain  = "text/plain" // of errors that Triton forgets to give a type
)

// Options configure the API.
type Options struct {
	Front    *front.Front // limits, log and metrics, shared with the other fronts
	Server   *oip.Server
	MaxInput int64 // bytes of a decompressed body; 0 is 64 MiB
}

// API is the protocol's routes.
type API struct {
	front    *front.Front
	server   *oip.Server
	maxInput int64
	requests sync.Pool
}

// New returns the API.
func New(o Options) *API {
	a := &API{front: o.Front, server: o.Server, maxInput: o.MaxInput}
	if a.maxInput <= 0 {
		a.maxInput = 64 << 20
	}
	a.requests.New = func() any { return &wire.Request{} }
	return a
}

// methods that reach the dispatcher, which answers those that a route lacks in Triton's words.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch,
	http.MethodOptions, http.MethodTrace}

// Register adds the routes. Paths are told apart by the dispatcher; the patterns here only name the
// busiest ones for metrics and keep probes out of the log.
func (a *API) Register(mux *http.ServeMux) {
	handlers := map[string]front.Handler{}
	for _, m := range methods {
		handlers[m] = a.dispatch
	}
	add := func(path string, probe bool) {
		a.front.Register(mux, front.Route{Path: path, Methods: handlers, Fail: fail, Quiet: probe, Open: probe})
	}
	for _, path := range []string{"/v2", "/v2/", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"} {
		add(path, false)
	}
	add("/v2/health/live", true)
	add("/v2/health/ready", true)
}

// route is a path with the only method that it takes, or both GET and POST for an empty one.
type route struct {
	method string
	group  door.Group
	plain  bool // its 405 has no JSON type
	handle func(x *front.Exchange, r *http.Request, p *params) error
}

// params are the variable parts of a path, as they were sent: Triton does not unescape them.
type params struct{ model, version, region, repository string }

// dispatch finds the route as Triton's expressions do, on the path as it was sent.
func (a *API) dispatch(x *front.Exchange, r *http.Request) error {
	var p params
	t := a.find(strings.TrimPrefix(r.URL.EscapedPath(), "/v2"), &p)
	if t.handle == nil {
		return plain(fault.New(fault.NotFound, "Not Found"))
	}
	if err := x.Restricted(t.group, r); err != nil {
		return plain(err)
	}
	if r.Method != t.method && (t.method != "" || r.Method != http.MethodGet && r.Method != http.MethodPost) {
		x.Header()["Allow"] = []string{t.allow()}
		return methodError{t.plain}
	}
	return t.handle(x, r, &p)
}

func (t *route) allow() string {
	if t.method == "" {
		return "GET, POST"
	}
	return t.method
}

// find takes the path behind /v2.
func (a *API) find(path string, p *params) route {
	switch path {
	case "":
		return route{http.MethodGet, door.Metadata, false, a.serverMetadata}
	case "/health/live":
		return route{http.MethodGet, door.Health, true, a.live}
	case "/health/ready":
		return route{http.MethodGet, door.Health, true, a.ready}
	case "/models/stats":
		return route{http.MethodGet, door.Statistics, false, a.statistics}
	case "/logging":
		return route{"", door.Logging, false, a.logging}
	case "/trace/setting":
		return route{"", door.Trace, false, a.trace}
	}
	if rest, ok := strings.CutPrefix(path, "/models/"); ok {
		return a.findModel(rest, p)
	}
	if rest, ok := strings.CutPrefix(path, "/systemsharedmemory"); ok {
		return a.findRegion(rest, p, false)
	}
	if rest, ok := strings.CutPrefix(path, "/cudasharedmemory"); ok {
		return a.findRegion(rest, p, true)
	}
	if rest, ok := strings.CutPrefix(path, "/repository/"); ok {
		return a.findRepository(rest, p)
	}
	return route{}
}

// findModel takes MODEL[/versions/N][/ACTION].
func (a *API) findModel(path string, p *params) route {
	model, action, slash := strings.Cut(path, "/")
	p.model = model
	if rest, ok := strings.CutPrefix(action, "versions/"); ok {
		p.version, action, slash = strings.Cut(rest, "/")
		if !number(p.version) {
			return route{}
		}
	}
	if model == "" || slash && action == "" {
		return route{}
	}
	switch action {
	case "":
		return route{http.MethodGet, door.Metadata, false, a.modelMetadata}
	case "ready":
		return route{http.MethodGet, door.Health, true, a.modelReady}
	case "infer":
		return route{http.MethodPost, door.Inference, true, a.infer}
	case "config":
		return route{http.MethodGet, door.ModelConfig, false, a.config}
	case "stats":
		return route{http.MethodGet, door.Statistics, false, a.statistics}
	case "generate", "generate_stream":
		return route{http.MethodPost, door.Inference, false, unsupportedGenerate}
	case "trace/setting":
		if p.version == "" {
			return route{"", door.Trace, false, a.trace}
		}
	}
	return route{}
}

func unsupportedGenerate(*front.Exchange, *http.Request, *params) error {
	return fault.New(fault.Unimplemented, "the generate extension is not supported: it is for models of text")
}

func number(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// findRegion takes [/region/NAME]/ACTION.
func (a *API) findRegion(path string, p *params, cuda bool) route {
	if rest, ok := strings.CutPrefix(path, "/region/"); ok {
		name, action, _ := strings.Cut(rest, "/")
		if name == "" {
			return route{}
		}
		p.region, path = name, "/"+action
	}
	status, register, unregister := a.regionStatus, a.registerRegion, a.unregisterRegion
	if cuda {
		status, register, unregister = a.cudaStatus, a.registerCUDA, a.unregisterCUDA
	}
	switch path {
	case "/status":
		return route{http.MethodGet, door.SharedMemory, false, status}
	case "/register":
		return route{http.MethodPost, door.SharedMemory, false, register}
	case "/unregister":
		return route{http.MethodPost, door.SharedMemory, false, unregister}
	}
	return route{}
}

// findRepository takes [REPOSITORY/]index and [REPOSITORY/]models/MODEL/ACTION.
func (a *API) findRepository(path string, p *params) route {
	parts := strings.Split(path, "/")
	if n := len(parts); n == 2 && parts[1] == "index" || n == 4 {
		p.repository, parts = parts[0], parts[1:]
	}
	switch {
	case len(parts) == 1 && parts[0] == "index":
		return route{http.MethodPost, door.ModelRepository, false, a.index}
	case len(parts) != 3 || parts[0] != "models" || parts[1] == "":
		return route{}
	}
	p.model = parts[1]
	switch parts[2] {
	case "load":
		return route{http.MethodPost, door.ModelRepository, false, a.load}
	case "unload":
		return route{http.MethodPost, door.ModelRepository, false, a.unload}
	}
	return route{}
}

// methodError is 405, with the type that Triton gives it.
type methodError struct{ plain bool }

func (methodError) Error() string { return front.ErrMethod.Error() }

// Unwrap makes it the client's fault, in the log too.
func (methodError) Unwrap() error { return front.ErrMethod }

// plainError is an error whose answer has no JSON type in Triton.
type plainError struct{ error }

func (e plainError) Unwrap() error { return e.error }

func plain(err error) error { return plainError{err} }

// statuses differ from other fronts': what Triton has no code for is 400, a full queue 503.
func status(err error) int {
	if errors.Is(err, front.ErrMethod) {
		return http.StatusMethodNotAllowed
	}
	switch k := fault.KindOf(err); k {
	case fault.Invalid, fault.TooLarge, fault.UnsupportedMedia, fault.Exists:
		return http.StatusBadRequest
	case fault.Exhausted, fault.Timeout:
		return http.StatusServiceUnavailable
	default:
		return front.Status(err)
	}
}

// fail answers {"error":"..."}.
func fail(x *front.Exchange, err error) {
	contentType := typeJSON
	var m methodError
	if errors.As(err, &plainError{}) || errors.As(err, &m) && m.plain {
		contentType = typePlain
	}
	x.Send(status(err), contentType, errorBody(err))
}

func errorBody(err error) []byte {
	text := err.Error()
	if f := fault.Of(err); f.Kind != fault.Internal || f.Err == nil {
		text = f.Error()
	}
	return append(wire.AppendString([]byte(`{"error":`), text), '}')
}

// send answers JSON that was printed already.
func send(x *front.Exchange, body []byte) error {
	x.Send(http.StatusOK, typeJSON, body)
	return nil
}
