package front

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// Options are the limits and the observers of all HTTP fronts of one server; a zero field means its default.
type Options struct {
	Logger         *slog.Logger  // nil discards
	AccessLog      bool          // one line a request
	Observer       Observer      // nil observes nothing
	MaxBody        int64         // bytes of one request's body; 64 MiB, as Triton
	BodyBudget     int64         // bytes of all bodies held at once; 1 GiB, at least MaxBody
	BodyTimeout    time.Duration // for a body to arrive whole; 30 s
	RequestTimeout time.Duration // from the first byte to the answer; 60 s
	Header         http.Header   // set on every answer; keys in canonical form
	Guard          *door.Guard   // asks requests for keys; nil lets everybody in
}

// Observer is told of every finished request, once; *telemetry.Metrics is one.
type Observer interface {
	ObserveRequest(*telemetry.Record)
}

// Front is the part that the HTTP fronts of one server share.
type Front struct {
	log            *slog.Logger
	accessLog      bool
	observer       Observer
	maxBody        int64
	bodyTimeout    time.Duration
	requestTimeout time.Duration
	header         http.Header
	guard          *door.Guard
	budget         budget
	buffers        bufferPool
	uploads        uploads
	draining       atomic.Bool
	inFlight       atomic.Int64
}

// New returns a Front.
func New(o Options) *Front {
	f := &Front{
		log: o.Logger, accessLog: o.AccessLog, observer: o.Observer, header: o.Header, guard: o.Guard,
		maxBody:        or(o.MaxBody, 64<<20),
		bodyTimeout:    or(o.BodyTimeout, 30*time.Second),
		requestTimeout: or(o.RequestTimeout, time.Minute),
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.budget.limit = max(or(o.BodyBudget, 1<<30), int64(classSize(f.maxBody+1)))
	return f
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// SetDraining makes every answer ask its client to close the connection.
func (f *Front) SetDraining(on bool) { f.draining.Store(on) }

// Draining tells whether SetDraining(true) was called.
func (f *Front) Draining() bool { return f.draining.Load() }

// InFlight is the number of requests being answered.
func (f *Front) InFlight() int64 { return f.inFlight.Load() }

// BodyBytes is the memory that request bodies hold now.
func (f *Front) BodyBytes() int64 { return f.budget.used.Load() }
