package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Live is what a model is doing at a scrape.
type Live struct {
	Pending  int // requests of which no item is being computed yet
	Queued   int // items in the batcher's queue
	InFlight int // requests accepted and not yet answered
	Devices  []Device
	Decoded  *DecodedBy // nil where the processor decodes everything
}

// liveCollector asks the models at every scrape, so that no gauge is kept up to date on the way of a
// request.
type liveCollector struct {
	pending, queued, inFlight *prometheus.Desc
	devices                   []deviceMetric
	decoded                   decodedMetrics

	mu     sync.Mutex
	models map[*ModelMetrics]func() Live
}

func newLiveCollector() *liveCollector {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, modelLabels, nil) }
	return &liveCollector{
		pending:  desc("nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution"),
		queued:   desc("vitrine_queue_depth", "Items in the queue, decoded and waiting for a batch."),
		inFlight: desc("vitrine_requests_in_flight", "Requests accepted and not yet answered."),
		devices:  newDeviceMetrics(),
		decoded:  newDecodedMetrics(),
		models:   map[*ModelMetrics]func() Live{},
	}
}

func (c *liveCollector) add(m *ModelMetrics, live func() Live) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.models[m] = live
}

// remove tells whether the model was there, and which other of its name and version is.
func (c *liveCollector) remove(m *ModelMetrics) (gone bool, heir *ModelMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, gone = c.models[m]
	delete(c.models, m)
	for other := range c.models {
		if other.labels.Name == m.labels.Name && other.labels.Version == m.labels.Version {
			heir = other
		}
	}
	return gone, heir
}

// Describe implements prometheus.Collector.
func (c *liveCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.pending
	ch <- c.queued
	ch <- c.inFlight
	ch <- c.decoded.images
	ch <- c.decoded.returned
	for _, m := range c.devices {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *liveCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[[2]string]Live{} // a model and the one that takes its place are one in the metrics
	for m, live := range c.models {
		if live == nil {
			continue
		}
		l, key := live(), [2]string{m.labels.Name, m.labels.Version}
		sum := all[key]
		all[key] = Live{sum.Pending + l.Pending, sum.Queued + l.Queued, sum.InFlight + l.InFlight, together(sum.Devices, l.Devices), sum.Decoded.plus(l.Decoded)}
	}
	for labels, l := range all {
		gauge := func(d *prometheus.Desc, v int) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels[0], labels[1])
		}
		gauge(c.pending, l.Pending)
		gauge(c.queued, l.Queued)
		gauge(c.inFlight, l.InFlight)
		c.decoded.collect(ch, labels, l.Decoded)
		for i := range l.Devices {
			for _, m := range c.devices {
				m.collect(ch, labels, &l.Devices[i])
			}
		}
	}
}
