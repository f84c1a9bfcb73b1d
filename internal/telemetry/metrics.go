package telemetry

import (
	"net/http"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is a server's metrics registry: Triton's names, labels and units (microseconds), and
// Vitrine's own (seconds).
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	encode   *prometheus.HistogramVec
	models   modelVecs
	live     *liveCollector
}

// MetricsOptions describe the server to its metrics.
type MetricsOptions struct {
	Version  string // Vitrine's version
	Revision string // the commit it was built from
	Proc     string // where /proc is mounted, "" for /proc
}

// Buckets in seconds: two and a half to a step, from what a null engine needs to what a client bears.
var (
	requestBuckets = []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	workBuckets    = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}
	encodeBuckets  = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1}
	batchBuckets   = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
)

// NewMetrics makes a registry of its own with the server's metrics.
func NewMetrics(o MetricsOptions) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vitrine_request_duration_seconds",
			Help:    "Time from the first byte of a request to the last byte of its answer.",
			Buckets: requestBuckets,
		}, []string{"route", "protocol", "code"}),
		encode: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vitrine_encode_seconds",
			Help:    "Time from the last embedding to the last byte of the answer.",
			Buckets: encodeBuckets,
		}, []string{"protocol"}),
		models: newModelVecs(),
		live:   newLiveCollector(),
	}
	m.registry.MustRegister(m.requests, m.encode, m.live, newMachine(o.Proc), buildInfo(o))
	m.registry.MustRegister(m.models.collectors()...)
	return m
}

func buildInfo(o MetricsOptions) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "vitrine_build_info",
		Help: "1; the labels say what is running.",
		ConstLabels: prometheus.Labels{
			"version": o.Version, "revision": o.Revision, "goversion": runtime.Version(),
		},
	})
	g.Set(1)
	return g
}

// Registry is where others (Go's run-time collectors, GPU metrics) register.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the metrics in Prometheus' text format or, where the scraper asks, OpenMetrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// ObserveRequest counts an answer, once, after its last byte was sent. Fronts call it with the record
// that goes to AccessLog.
func (m *Metrics) ObserveRequest(r *Record) {
	code := strconv.Itoa(r.Code)
	m.requests.WithLabelValues(r.Route, r.Protocol, code).Observe(r.Timeline.Total().Seconds())
	if d := r.Timeline.Between(OutputReady, Sent); d > 0 {
		m.encode.WithLabelValues(r.Protocol).Observe(d.Seconds())
	}
}
