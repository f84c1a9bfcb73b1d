package front

import (
	"net/http"

	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// identify takes the request id and the trace over from the client, or makes an id, and returns both
// with the answer. What is malformed is ignored: it is no reason to refuse a request.
func (x *Exchange) identify(r *http.Request) {
	x.ID = r.Header.Get("X-Request-Id")
	if !telemetry.ValidRequestID(x.ID) {
		x.ID = telemetry.NewRequestID()
	}
	h := x.Header()
	h["X-Request-Id"] = []string{x.ID}
	if tp := r.Header.Get("Traceparent"); tp != "" {
		if t, err := telemetry.ParseTraceparent(tp); err == nil {
			x.trace = t
			h["Traceparent"] = []string{t.String()}
		}
	}
}
