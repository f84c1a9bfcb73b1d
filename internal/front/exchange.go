package front

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// Exchange is one request and its answer. It is the handler's ResponseWriter.
type Exchange struct {
	http.ResponseWriter
	// ID is the client's X-Request-Id, or a new one.
	ID string
	// Items is how many items the request asks to embed, and Model which model; both are for the log.
	Items int
	Model string
	// Timeline is the service's, once it has answered; the front adds Received and Sent.
	Timeline telemetry.Timeline

	front    *Front
	key      string // the name of the client's API key
	trace    telemetry.Trace
	received time.Time
	status   int
	bytesIn  int64
	bytesOut int64
	body     *[]byte
	coming   *http.Request // while its body has not wholly arrived
	refused  bool          // its body is not waited for; guarded by uploads
	bodySize int64         // taken from the budget
	answer   *[]byte
}

// Received is when the server began to read the request.
func (x *Exchange) Received() time.Time { return x.received }

// WriteHeader implements http.ResponseWriter.
func (x *Exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
		x.settleBody()
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *Exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytesOut += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find what it needs.
func (x *Exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Buffer returns an empty buffer with room for n bytes, to build the answer in. It lives until the
// handler has returned.
func (x *Exchange) Buffer(n int) *[]byte {
	if x.answer == nil {
		x.answer = x.front.buffers.get(int64(n))
	}
	*x.answer = (*x.answer)[:0]
	return x.answer
}

// Send writes a whole answer.
func (x *Exchange) Send(status int, contentType string, body []byte) {
	h := x.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if !x.Timeline.At[telemetry.OutputReady].IsZero() {
		h["Server-Timing"] = []string{x.Timeline.ServerTiming()}
	}
	x.WriteHeader(status)
	_, _ = x.Write(body) // a client that left is seen by the server
}

// JSON writes v; for answers off the hot path.
func (x *Exchange) JSON(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a value that the program itself built
	}
	x.Send(status, "application/json", append(b, '\n'))
}

// Handler answers one request. An error that it returns is answered by its route's Fail.
type Handler func(x *Exchange, r *http.Request) error

// Route is a path of one front with its methods.
type Route struct {
	Path    string
	Methods map[string]Handler // GET answers HEAD too; OPTIONS is answered from the keys
	// Fail answers a request that failed, in the words of the front's protocol.
	Fail func(x *Exchange, err error)
	// Quiet routes are neither logged nor observed: probes and scrapes.
	Quiet bool
	// Open routes need no API key: liveness and readiness.
	Open bool
	// Group is the restricted group that the route belongs to; none if empty.
	Group door.Group
}

// Register adds the route. It takes the path whole: methods it lacks are answered 405 by its Fail.
func (f *Front) Register(mux *http.ServeMux, route Route) {
	allow := allowed(route.Methods)
	mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) {
		f.serve(w, r, &route, allow)
	})
}

func allowed(methods map[string]Handler) string {
	var names []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
		_, ok := methods[m]
		if ok || m == http.MethodOptions || m == http.MethodHead && methods[http.MethodGet] != nil {
			names = append(names, m)
		}
	}
	return strings.Join(names, ", ")
}

// ErrMethod is what a route's Fail is given for a method that the route does not have.
var ErrMethod = fault.New(fault.Invalid, "Method Not Allowed")

func (f *Front) serve(w http.ResponseWriter, r *http.Request, route *Route, allow string) {
	x := &Exchange{ResponseWriter: w, front: f, received: time.Now()}
	f.inFlight.Add(1)
	x.awaitBody(r)
	defer func() {
		if x.coming != nil {
			x.endBody()
		}
		f.inFlight.Add(-1)
	}()
	x.identify(r)
	for k, v := range f.header {
		w.Header()[k] = v
	}
	if f.draining.Load() {
		w.Header()["Connection"] = []string{"close"}
	}
	err := f.answer(x, r, route, allow)
	x.finish(r, route, err)
}

// answer runs the handler and, if it failed, the route's Fail; a panic is a failure like another.
func (f *Front) answer(x *Exchange, r *http.Request, route *Route, allow string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = x.recovered(p, r)
		}
		if err != nil && x.status == 0 {
			x.fail(route, err)
		}
	}()
	if err := x.admit(r, route); err != nil {
		return err
	}
	method := r.Method
	h := route.Methods[method]
	if h == nil && method == http.MethodHead {
		h = route.Methods[http.MethodGet]
	}
	switch {
	case h != nil:
		return h(x, r)
	case method == http.MethodOptions:
		x.Header()["Allow"] = []string{allow}
		x.WriteHeader(http.StatusNoContent)
		return nil
	}
	x.Header()["Allow"] = []string{allow}
	return ErrMethod
}

// admit asks a request for its key and for its group's header.
func (x *Exchange) admit(r *http.Request, route *Route) (err error) {
	if !route.Open {
		if x.key, err = x.front.guard.AdmitHTTP(r.Header); err != nil {
			x.Header()["Www-Authenticate"] = []string{door.Challenge}
			return err
		}
	}
	if route.Group == "" {
		return nil
	}
	return x.Restricted(route.Group, r)
}

// Restricted is the error of a request that lacks the header of a group.
func (x *Exchange) Restricted(group door.Group, r *http.Request) error {
	return x.front.guard.RestrictedHTTP(group, r.Header)
}

func (x *Exchange) recovered(p any, r *http.Request) error {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	x.front.log.LogAttrs(r.Context(), slog.LevelError, "panic",
		slog.String("request_id", x.ID), slog.String("path", r.URL.Path), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	return fault.New(fault.Internal, "internal error")
}

func (x *Exchange) fail(route *Route, err error) {
	if s := retryAfter(err); s > 0 {
		x.Header()["Retry-After"] = []string{strconv.Itoa(s)}
	}
	route.Fail(x, err)
}

// finish hands the answer to the network, tells metrics and log, and gives the memory back.
func (x *Exchange) finish(r *http.Request, route *Route, err error) {
	if flusher, ok := x.ResponseWriter.(http.Flusher); ok && x.status != 0 {
		flusher.Flush()
	}
	x.Timeline.At[telemetry.Received] = x.received
	x.Timeline.Mark(telemetry.Sent)
	if !route.Quiet {
		x.report(r, route, err)
	}
	x.releaseBody()
	if x.answer != nil {
		x.front.buffers.put(x.answer)
		x.answer = nil
	}
}

// report tells metrics and access log of the exchange, once.
func (x *Exchange) report(r *http.Request, route *Route, err error) {
	f := x.front
	record := telemetry.Record{
		ID: x.ID, Trace: x.trace, Protocol: "http", Method: r.Method, Route: route.Path, Code: x.status,
		Model: x.Model, Items: x.Items, BytesIn: x.bytesIn, BytesOut: x.bytesOut, Remote: r.RemoteAddr, Key: x.key,
		Err: err, Timeline: x.Timeline,
	}
	if f.observer != nil {
		f.observer.ObserveRequest(&record)
	}
	if f.accessLog {
		telemetry.AccessLog(f.log, &record)
	}
}
