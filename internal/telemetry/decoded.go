package telemetry

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// DecodedBy is where a model's images were decoded, since its load, where cards help.
type DecodedBy struct {
	Processor int64 // images
	Cards     int64 // images
	Returned  int64 // images that a card gave back to the processor
}

// plus is that of a model and the one that takes its place; nil where cards help neither.
func (d *DecodedBy) plus(e *DecodedBy) *DecodedBy {
	switch {
	case d == nil:
		return e
	case e == nil:
		return d
	}
	return &DecodedBy{d.Processor + e.Processor, d.Cards + e.Cards, d.Returned + e.Returned}
}

// decodedMetrics are the metrics of models that cards decode for.
type decodedMetrics struct{ images, returned *prometheus.Desc }

func newDecodedMetrics() decodedMetrics {
	return decodedMetrics{
		images:   prometheus.NewDesc("vitrine_decoded_images_total", "Images decoded, by the processor or by cards (--decode).", append(slices.Clone(modelLabels), "by"), nil),
		returned: prometheus.NewDesc("vitrine_decode_returned_total", "Images that a card could not decode and gave to the processor.", modelLabels, nil),
	}
}

func (m *decodedMetrics) collect(ch chan<- prometheus.Metric, model [2]string, d *DecodedBy) {
	if d == nil {
		return
	}
	counter := func(desc *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), append(model[:2:2], labels...)...)
	}
	counter(m.images, d.Processor, "processor")
	counter(m.images, d.Cards, "card")
	counter(m.returned, d.Returned)
}
