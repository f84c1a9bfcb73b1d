package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// ModelLabels describe a model to metrics.
type ModelLabels struct {
	Name, Version            string
	Space, Engine, Precision string
	Synthetic                bool
}

// modelVecs are the metrics that every model has, by model and version.
type modelVecs struct {
	success, failure                       *prometheus.CounterVec
	inferences, executions                 *prometheus.CounterVec
	request, queue, input, compute, output *prometheus.CounterVec
	load, info                             *prometheus.GaugeVec
	decode, preprocess, batchSize          *prometheus.HistogramVec
}

// Labels in Triton's order.
var modelLabels = []string{"model", "version"}

func newModelVecs() modelVecs {
	return modelVecs{
		success:    modelCounter("nv_inference_request_success", "Number of successful inference requests"),
		failure:    modelCounter("nv_inference_request_failure", "Number of failed inference requests", "reason"),
		inferences: modelCounter("nv_inference_count", "Number of inferences performed: one for each item of a request"),
		executions: modelCounter("nv_inference_exec_count", "Number of model executions performed: one for each batch"),
		request:    modelCounter("nv_inference_request_duration_us", "Cumulative inference request duration in microseconds"),
		queue:      modelCounter("nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds"),
		input:      modelCounter("nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds"),
		compute:    modelCounter("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds"),
		output:     modelCounter("nv_inference_compute_output_duration_us", "Cumulative inference compute output duration in microseconds"),
		load:       modelGauge("nv_model_load_duration_secs", "Model load time in seconds"),
		info: modelGauge("vitrine_model_info", "1; the labels describe a loaded model.",
			"space", "synthetic", "engine", "precision"),
		decode:     modelHistogram("vitrine_decode_seconds", "Time to decode one image to pixels.", workBuckets),
		preprocess: modelHistogram("vitrine_preprocess_seconds", "Time to resize, crop and convert one image.", workBuckets),
		batchSize:  modelHistogram("vitrine_batch_size", "Items of one execution.", batchBuckets),
	}
}

func modelCounter(name, help string, more ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, withModel(more))
}

func modelGauge(name, help string, more ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, withModel(more))
}

func modelHistogram(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, modelLabels)
}

func withModel(more []string) []string {
	return append(append([]string(nil), modelLabels...), more...)
}

// deleter is what every vector of metrics can do.
type deleter interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}

func (v *modelVecs) all() []deleter {
	return []deleter{
		v.success, v.failure, v.inferences, v.executions, v.request, v.queue, v.input, v.compute,
		v.output, v.load, v.info, v.decode, v.preprocess, v.batchSize,
	}
}

func (v *modelVecs) collectors() []prometheus.Collector {
	var cs []prometheus.Collector
	for _, c := range v.all() {
		cs = append(cs, c)
	}
	return cs
}

// Reason is Triton's class of a failed request.
type Reason uint8

const (
	Rejected  Reason = iota // never run: the queue was full, its time ran out, the server drains
	Cancelled               // its client went away
	Backend                 // the engine or another part of the server failed
	Other                   // the request itself was wrong
	reasons
)

var reasonNames = [reasons]string{"REJECTED", "CANCELED", "BACKEND", "OTHER"}

// String is the label's value.
func (r Reason) String() string { return reasonNames[r] }

// ReasonOf classifies a request's error.
func ReasonOf(err error) Reason {
	switch fault.KindOf(err) {
	case fault.Exhausted, fault.Unavailable, fault.Timeout:
		return Rejected
	case fault.Canceled:
		return Cancelled
	case fault.Internal:
		return Backend
	}
	return Other
}

// ModelMetrics are one model's metrics, looked up once.
type ModelMetrics struct {
	success, inferences, executions        prometheus.Counter
	failure                                [reasons]prometheus.Counter
	request, queue, input, compute, output prometheus.Counter
	load                                   prometheus.Gauge
	decode, preprocess, batchSize          prometheus.Observer
	owner                                  *Metrics
	labels                                 ModelLabels
}

// Model adds a loaded model. live is asked at every scrape and must not block.
func (m *Metrics) Model(l ModelLabels, live func() Live) *ModelMetrics {
	v := &m.models
	of := func(c *prometheus.CounterVec) prometheus.Counter { return c.WithLabelValues(l.Name, l.Version) }
	mm := &ModelMetrics{
		success: of(v.success), inferences: of(v.inferences), executions: of(v.executions),
		request: of(v.request), queue: of(v.queue),
		input: of(v.input), compute: of(v.compute), output: of(v.output),
		load:       v.load.WithLabelValues(l.Name, l.Version),
		decode:     v.decode.WithLabelValues(l.Name, l.Version),
		preprocess: v.preprocess.WithLabelValues(l.Name, l.Version),
		batchSize:  v.batchSize.WithLabelValues(l.Name, l.Version),
		owner:      m, labels: l,
	}
	for r := range reasons {
		mm.failure[r] = v.failure.WithLabelValues(l.Name, l.Version, r.String())
	}
	v.info.WithLabelValues(l.info()...).Set(1)
	m.live.add(mm, live)
	return mm
}

// info are the labels' values of vitrine_model_info.
func (l *ModelLabels) info() []string {
	return []string{l.Name, l.Version, l.Space, strconv.FormatBool(l.Synthetic), l.Engine, l.Precision}
}

// Outcome is how a request ended.
type Outcome struct {
	Answered int   // items that got an embedding
	Err      error // the request's failure, nil if it was answered
}

// Observe counts a request, once, when the model has answered it: this is the only place where a
// timeline becomes metrics. parts are the items' timelines and request is their fold. As in Triton a
// failed request adds to the failures only; what its items cost in decoding is observed all the same.
func (m *ModelMetrics) Observe(request *Timeline, parts []Timeline, o Outcome) {
	for i := range parts {
		if p := &parts[i]; p.Decode > 0 {
			m.decode.Observe(p.Decode.Seconds())
		}
		if p := &parts[i]; p.Preprocess > 0 {
			m.preprocess.Observe(p.Preprocess.Seconds())
		}
	}
	if o.Err != nil {
		m.failure[ReasonOf(o.Err)].Inc()
		return
	}
	s := request.Stages()
	m.success.Inc()
	m.inferences.Add(float64(o.Answered))
	addMicroseconds(m.request, request.Between(Received, OutputReady))
	addMicroseconds(m.queue, s.Queue)
	addMicroseconds(m.input, s.Input)
	addMicroseconds(m.compute, s.Compute)
	addMicroseconds(m.output, s.Output)
}

// addMicroseconds guards the counter against a clock that went back: a counter panics on less than 0.
func addMicroseconds(c prometheus.Counter, d time.Duration) {
	if d > 0 {
		c.Add(microseconds(d))
	}
}

// ObserveExecution counts one batch that ran, failed ones included.
func (m *ModelMetrics) ObserveExecution(size int) {
	m.executions.Inc()
	m.batchSize.Observe(float64(size))
}

// SetLoadDuration records how long the model took from its files to its first answer.
func (m *ModelMetrics) SetLoadDuration(d time.Duration) { m.load.Set(d.Seconds()) }

// Forget removes an unloaded model from the scrapes to come, unless another of its name and version is
// there: one that takes its place goes on counting where it was.
func (m *ModelMetrics) Forget() {
	gone, heir := m.owner.live.remove(m)
	switch {
	case !gone:
		return
	case heir != nil:
		if heir.labels != m.labels {
			m.owner.models.info.DeleteLabelValues(m.labels.info()...)
		}
		return
	}
	for _, v := range m.owner.models.all() {
		v.DeletePartialMatch(prometheus.Labels{"model": m.labels.Name, "version": m.labels.Version})
	}
}
