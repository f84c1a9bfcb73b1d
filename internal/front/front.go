// Package front is what every protocol front shares: the map from a fault to a status, the exchange
// with one client (request id, timeline, access log, metrics, panics), request bodies within limits,
// and the HTTP server's settings. The fronts themselves are the packages below it.
package front

import (
	"errors"
	"net/http"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// StatusClientClosed is nginx's code for a client that left before its answer; it is seen in logs only.
const StatusClientClosed = 499

// errSlowBody marks a Timeout that is the client's own: its body did not arrive in time.
var errSlowBody = errors.New("the body came too slowly")

// codes is the one table from what went wrong to what a protocol says.
var codes = [...]struct {
	http int
	grpc uint32 // google.golang.org/grpc/codes, as Triton uses them
}{
	fault.Internal:         {http.StatusInternalServerError, 13},
	fault.Invalid:          {http.StatusBadRequest, 3},
	fault.NotFound:         {http.StatusNotFound, 5},
	fault.TooLarge:         {http.StatusRequestEntityTooLarge, 3},
	fault.UnsupportedMedia: {http.StatusUnsupportedMediaType, 3},
	fault.Unimplemented:    {http.StatusNotImplemented, 12},
	fault.Exhausted:        {http.StatusTooManyRequests, 8},
	fault.Unavailable:      {http.StatusServiceUnavailable, 14},
	fault.Timeout:          {http.StatusGatewayTimeout, 4},
	fault.Canceled:         {StatusClientClosed, 1},
	fault.Unauthenticated:  {http.StatusUnauthorized, 16},
	fault.Forbidden:        {http.StatusForbidden, 7},
	fault.Exists:           {http.StatusConflict, 6},
	fault.Mistaken:         {http.StatusInternalServerError, 13},
}

// Status is the HTTP status of a failed request. A queue or deadline that ran out is 504, a body that
// came too slowly 408; an error that is no fault is 500.
func Status(err error) int {
	if errors.Is(err, errSlowBody) {
		return http.StatusRequestTimeout
	}
	if k := fault.KindOf(err); int(k) < len(codes) {
		return codes[k].http
	}
	return http.StatusInternalServerError
}

// GRPCCode is the gRPC status code of a failed request.
func GRPCCode(err error) uint32 {
	if k := fault.KindOf(err); int(k) < len(codes) {
		return codes[k].grpc
	}
	return codes[fault.Internal].grpc
}

// Message is what the client is told: the fault's message, its place and its cause. The cause of an
// internal fault stays in the log.
func Message(err error) string {
	f := fault.Of(err)
	if f.Kind != fault.Internal {
		return f.Error()
	}
	g := *f
	g.Err = nil
	return g.Error()
}

// retryAfter is the wait to ask for, in whole seconds, 0 for a fault that waiting does not mend.
func retryAfter(err error) int {
	f := fault.Of(err)
	if f.Kind != fault.Exhausted && f.Kind != fault.Unavailable {
		return 0
	}
	return max(1, int((f.RetryAfter+time.Second-1)/time.Second))
}
