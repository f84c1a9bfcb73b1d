package embedapi

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
)

// Lender lends the model that the API answers for at this moment: done is called when the request is
// answered, and until then the model is not closed.
type Lender func() (m service.Model, done func(), err error)

// Switch is the API of a model that others take the place of while requests are under way. A request
// is answered from its first byte to its last by one model, whose space its answer names.
type Switch struct {
	o       Options // without a model
	lend    Lender
	current atomic.Pointer[lent]
	absent  *http.ServeMux
}

// lent is the API of one model.
type lent struct {
	model service.Model
	mux   *http.ServeMux
}

// NewSwitch returns the API of whatever model is lent.
func NewSwitch(o Options, lend Lender) *Switch {
	s := &Switch{o: o, lend: lend, absent: http.NewServeMux()}
	refuse := func(*front.Exchange, *http.Request) error {
		_, done, err := lend()
		if err != nil {
			return err
		}
		done()
		return fault.New(fault.Unavailable, "the model has just been loaded").After(time.Second)
	}
	for _, r := range routes {
		o.Front.Register(s.absent, front.Route{Path: r.path, Fail: r.fail, Methods: map[string]front.Handler{r.method: refuse}, Group: r.group()})
	}
	return s
}

// Register adds the API's routes.
func (s *Switch) Register(mux *http.ServeMux) {
	for _, r := range routes {
		mux.Handle(r.path, s)
	}
}

// ServeHTTP implements http.Handler.
func (s *Switch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, done, err := s.lend()
	if err != nil {
		s.absent.ServeHTTP(w, r)
		return
	}
	defer done()
	s.of(m).ServeHTTP(w, r)
}

// of is the API of a model, that of the last request if the model is the same.
func (s *Switch) of(m service.Model) *http.ServeMux {
	if c := s.current.Load(); c != nil && c.model == m {
		return c.mux
	}
	o := s.o
	o.Model = m
	c := &lent{m, http.NewServeMux()}
	New(o).Register(c.mux)
	s.current.Store(c)
	return c.mux
}
