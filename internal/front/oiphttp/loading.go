package oiphttp

import (
	"net/http"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
)

// RegisterLoading adds the routes of a server whose model is not there yet: it lives, is not ready, and
// asks for patience.
func RegisterLoading(f *front.Front, mux *http.ServeMux) {
	wait := func(*front.Exchange, *http.Request) error {
		return fault.New(fault.Unavailable, "the model is loading").After(time.Second)
	}
	answer := func(code int) front.Handler {
		return func(x *front.Exchange, _ *http.Request) error {
			x.Send(code, typePlain, nil)
			return nil
		}
	}
	for path, h := range map[string]front.Handler{"/v2": wait, "/v2/": wait,
		"/v2/health/live": answer(http.StatusOK), "/v2/health/ready": answer(http.StatusBadRequest)} {
		f.Register(mux, front.Route{Path: path, Fail: fail, Methods: map[string]front.Handler{http.MethodGet: h, http.MethodPost: wait}})
	}
}
