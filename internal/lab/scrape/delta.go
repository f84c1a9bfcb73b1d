package scrape

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Triton's counters, which Vitrine has under the same names. Times are microseconds.
const (
	RequestSuccess  = "nv_inference_request_success"
	RequestFailure  = "nv_inference_request_failure"
	InferenceCount  = "nv_inference_count"      // images, where one inference is one image
	ExecutionCount  = "nv_inference_exec_count" // batches
	RequestDuration = "nv_inference_request_duration_us"
	QueueDuration   = "nv_inference_queue_duration_us"
	InputDuration   = "nv_inference_compute_input_duration_us"
	ComputeDuration = "nv_inference_compute_infer_duration_us"
	OutputDuration  = "nv_inference_compute_output_duration_us"
	Energy          = "nv_energy_consumption" // joules
)

// Delta is how counters changed, by name, summed over labels or for one model.
type Delta struct{ before, after []record.Value }

// Between is the change from one scrape to a later one.
func Between(before, after []record.Value) Delta { return Delta{before, after} }

// Sum is a name's change over all of a model's versions; model "" takes every series of the name. ok is
// false if the later scrape has none. A counter that fell was reset in between: its new value counts.
func (d Delta) Sum(name, model string) (sum float64, ok bool) {
	for i := range d.after {
		v := &d.after[i]
		if v.Name != name || model != "" && v.Labels["model"] != model {
			continue
		}
		ok = true
		was := find(d.before, v)
		if was > v.Value {
			was = 0
		}
		sum += v.Value - was
	}
	return sum, ok
}

// find is the value of the same series, 0 where there was none.
func find(all []record.Value, like *record.Value) float64 {
	for i := range all {
		if all[i].Name == like.Name && same(all[i].Labels, like.Labels) {
			return all[i].Value
		}
	}
	return 0
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

// Inference is what a server's own counters say of a stretch of time. Durations are means of a request.
type Inference struct {
	Requests, Failed, Images, Executions float64
	Total, Queue, Input, Compute, Output time.Duration
}

// BatchSize is the mean number of images in an execution, 0 without any.
func (i Inference) BatchSize() float64 {
	if i.Executions == 0 {
		return 0
	}
	return i.Images / i.Executions
}

// Inference reads the counters of a model; "" takes all models. ok is false if the server has no such
// counters. Durations are divided by successful requests and never by inferences: Triton adds the full
// time of a batch once for each request that was in it.
func (d Delta) Inference(model string) (i Inference, ok bool) {
	i.Requests, ok = d.Sum(RequestSuccess, model)
	if !ok {
		return i, false
	}
	i.Failed, _ = d.Sum(RequestFailure, model)
	i.Images, _ = d.Sum(InferenceCount, model)
	i.Executions, _ = d.Sum(ExecutionCount, model)
	for _, f := range []struct {
		name string
		to   *time.Duration
	}{{RequestDuration, &i.Total}, {QueueDuration, &i.Queue}, {InputDuration, &i.Input}, {ComputeDuration, &i.Compute}, {OutputDuration, &i.Output}} {
		us, _ := d.Sum(f.name, model)
		if i.Requests > 0 {
			*f.to = time.Duration(us / i.Requests * float64(time.Microsecond))
		}
	}
	return i, true
}
