package telemetry

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Device is what one device does and has done for a model. Its counters begin with the model's load.
type Device struct {
	Name       string // "cpu", "gpu:0"
	UUID       string // of the card; "" is no label
	Up         bool
	Running    int // batches that are being computed
	Executions int64
	Items      int64
	Busy       time.Duration
	Failures   int64 // times that it was taken out
	Retries    int64 // batches that it lost and another computed
	Returns    int64
}

// deviceMetric is a metric that every device of every model has.
type deviceMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Device) float64
}

func newDeviceMetrics() []deviceMetric {
	metric := func(kind prometheus.ValueType, name, help string, value func(*Device) float64) deviceMetric {
		return deviceMetric{prometheus.NewDesc(name, help, append(slices.Clone(modelLabels), "device", "gpu_uuid"), nil), kind, value}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []deviceMetric{
		metric(gauge, "vitrine_device_up", "1 while the device computes, 0 while it is taken out.", func(d *Device) float64 {
			if d.Up {
				return 1
			}
			return 0
		}),
		metric(gauge, "vitrine_device_running", "Batches that the device is computing.", func(d *Device) float64 { return float64(d.Running) }),
		metric(counter, "vitrine_device_executions_total", "Batches that the device ran, failed ones included.", func(d *Device) float64 { return float64(d.Executions) }),
		metric(counter, "vitrine_device_items_total", "Items that the device computed.", func(d *Device) float64 { return float64(d.Items) }),
		metric(counter, "vitrine_device_busy_seconds_total", "Time of all batches on the device together.", func(d *Device) float64 { return d.Busy.Seconds() }),
		metric(counter, "vitrine_device_failures_total", "Times that the device was taken out.", func(d *Device) float64 { return float64(d.Failures) }),
		metric(counter, "vitrine_device_retries_total", "Batches that failed with the device and were given to another.", func(d *Device) float64 { return float64(d.Retries) }),
		metric(counter, "vitrine_device_returns_total", "Times that the device came back.", func(d *Device) float64 { return float64(d.Returns) }),
	}
}

func (m *deviceMetric) collect(ch chan<- prometheus.Metric, model [2]string, d *Device) {
	ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(d), model[0], model[1], d.Name, d.UUID)
}

// together are the devices of a model and of the one that takes its place. A device is up if it is for
// both, since for the other half of the requests it is not. One of them may not know the card's UUID.
func together(a, b []Device) []Device {
	a = slices.Clone(a)
	for _, d := range b {
		i := slices.IndexFunc(a, func(e Device) bool { return e.Name == d.Name })
		if i < 0 {
			a = append(a, d)
			continue
		}
		e := &a[i]
		e.Up = e.Up && d.Up
		e.UUID = cmp.Or(e.UUID, d.UUID)
		e.Running, e.Busy = e.Running+d.Running, e.Busy+d.Busy
		e.Executions, e.Items = e.Executions+d.Executions, e.Items+d.Items
		e.Failures, e.Retries, e.Returns = e.Failures+d.Failures, e.Retries+d.Retries, e.Returns+d.Returns
	}
	return a
}
