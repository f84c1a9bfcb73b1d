package oiphttp

import (
	"net/http"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/door"
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
	add := func(path string, open bool, group door.Group, h front.Handler) {
		f.Register(mux, front.Route{Path: path, Fail: fail, Open: open, Group: group,
			Methods: map[string]front.Handler{http.MethodGet: h, http.MethodPost: wait}})
	}
	add("/v2", false, "", wait)
	add("/v2/", false, "", wait)
	add("/v2/health/live", true, door.Health, answer(http.StatusOK))
	add("/v2/health/ready", true, door.Health, answer(http.StatusBadRequest))
}
