package report

import (
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
)

// stages is a server's own account of its time, a mean per request in ms, and its counts.
type stages struct {
	total, decode, queue, input, compute, output figure.Figure
	rest, network                                figure.Figure // of the total, of the client's latency; known where each answer tells
	source                                       string        // for the reader
	requests, inferences, executions             float64
}

// Counters of a Triton-compatible metrics page. The durations add up per request: a batch of eight counts
// its time eight times, so they are divided by requests, never by inferences or executions.
const (
	cRequests   = "nv_inference_request_success"
	cInferences = "nv_inference_count"
	cExecutions = "nv_inference_exec_count"
	cCacheHits  = "nv_cache_num_hits_per_model"
	cTotal      = "nv_inference_request_duration_us"
	cQueue      = "nv_inference_queue_duration_us"
	cInput      = "nv_inference_compute_input_duration_us"
	cCompute    = "nv_inference_compute_infer_duration_us"
	cOutput     = "nv_inference_compute_output_duration_us"
)

// server gives the stages: from what the answers say where they do, else from the scraped counters, else
// from measures. It is never nil; what is unknown in it is unknown.
func (r *result) server() *stages {
	if r.stage == nil {
		s := r.answeredStages()
		counted := r.countedStages()
		s.requests, s.inferences, s.executions = counted.requests, counted.inferences, counted.executions
		if !s.compute.Known() && !s.total.Known() {
			*s = *counted
		}
		if !s.compute.Known() {
			r.measuredStages(s)
		}
		r.stage = s
	}
	return r.stage
}

// answeredStages are means of what the answers said of themselves. What is left of the server's total and
// of the client's latency is taken request by request: the parts of one request rise and fall together, and
// the difference of two means would seem far less certain than it is.
func (r *result) answeredStages() *stages {
	left := func(q *record.Request) int64 {
		t := q.Server
		return int64(t.Total - t.Decode - t.Queue - t.Input - t.Compute - t.Output)
	}
	s := &stages{
		source:  "the answers' own timing",
		total:   r.answeredMean(func(q *record.Request) int64 { return int64(q.Server.Total) }),
		decode:  r.answeredMean(func(q *record.Request) int64 { return int64(q.Server.Decode) }),
		queue:   r.answeredMean(func(q *record.Request) int64 { return int64(q.Server.Queue) }),
		input:   r.answeredMean(func(q *record.Request) int64 { return int64(q.Server.Input) }),
		compute: r.answeredMean(func(q *record.Request) int64 { return int64(q.Server.Compute) }),
		output:  r.answeredMean(func(q *record.Request) int64 { return int64(q.Server.Output) }),
	}
	if s.total.Known() {
		s.rest = r.answeredMean(left)
		s.network = r.answeredMean(func(q *record.Request) int64 { return q.Done - q.Due - int64(q.Server.Total) })
	}
	return s
}

// answeredMean of something over the requests whose answers tell of the server's time; unknown if it is 0
// in all.
func (r *result) answeredMean(of func(*record.Request) int64) figure.Figure {
	rounds := make([][]float64, 0, len(r.cells))
	some := false
	for _, c := range r.rounds() {
		var values []float64
		for i := range c.requests {
			q := &c.requests[i]
			if q.Warmup || q.Error != "" || q.Server == (record.ServerTiming{}) {
				continue
			}
			v := of(q)
			values = append(values, millis(v))
			some = some || v != 0
		}
		rounds = append(rounds, values)
	}
	if !some {
		return figure.Figure{}
	}
	return mean(figure.Millis, rounds)
}

// window is what the counters rose by between two scrapes.
type window map[string]float64

// countedStages divides the rise of the duration counters by the rise of the requests that computed.
func (r *result) countedStages() *stages {
	windows := r.windows()
	total := window{}
	for _, w := range windows {
		for name, v := range w {
			total[name] += v
		}
	}
	s := &stages{source: "scraped counters", requests: total[cRequests], inferences: total[cInferences], executions: total[cExecutions]}
	if s.requests == 0 {
		return s
	}
	s.total = perRequest(windows, cTotal, false)
	s.queue = perRequest(windows, cQueue, false)
	s.input = perRequest(windows, cInput, true)
	s.compute = perRequest(windows, cCompute, true)
	s.output = perRequest(windows, cOutput, true)
	return s
}

// perRequest is the ratio of two sums over windows, with the interval of a ratio estimator. Requests that
// the response cache answered did not compute.
func perRequest(windows []window, name string, computed bool) figure.Figure {
	var num, den []float64
	for _, w := range windows {
		n := w[cRequests]
		if computed {
			n -= w[cCacheHits]
		}
		if n > 0 {
			num, den = append(num, w[name]/1000), append(den, n)
		}
	}
	return ratioOfSums(figure.Millis, num, den)
}

// windows between consecutive scrapes of all quoted rounds.
func (r *result) windows() (all []window) {
	for _, c := range r.rounds() {
		var last map[string]float64
		for _, s := range c.samples {
			now := counters(s, r.subject.Model)
			if s.Source == fromClient || len(now) == 0 {
				continue
			}
			if last != nil {
				all = append(all, rise(last, now))
			}
			last = now
		}
	}
	return all
}

// fromClient are samples of the measuring process, whose counters are not the server's.
const fromClient = "client"

// rise of each counter; a counter that fell was reset by a restart and tells nothing.
func rise(before, after map[string]float64) window {
	w := window{}
	for name, v := range after {
		if d := v - before[name]; d > 0 {
			w[name] = d
		}
	}
	return w
}

var counted = []string{cRequests, cInferences, cExecutions, cCacheHits, cTotal, cQueue, cInput, cCompute, cOutput}

// counters sums a sample's counters over versions and cards, of the model that was asked for. A server
// that names its models otherwise is taken whole.
func counters(s record.Sample, model string) map[string]float64 {
	mine, all := map[string]float64{}, map[string]float64{}
	for _, v := range s.Values {
		if !slices.Contains(counted, v.Name) {
			continue
		}
		all[v.Name] += v.Value
		if v.Labels["model"] == model {
			mine[v.Name] += v.Value
		}
	}
	if model != "" && len(mine) > 0 {
		return mine
	}
	return all
}

// measuredStages are figures that were recorded as such, as an imported study's are.
func (r *result) measuredStages(s *stages) {
	fill := func(f *figure.Figure, names ...string) {
		if !f.Known() {
			*f = r.measured(names...)
		}
	}
	fill(&s.total, "server_total")
	fill(&s.decode, "server_decode")
	fill(&s.queue, "server_queue")
	fill(&s.input, "server_input")
	fill(&s.compute, "server_compute")
	fill(&s.output, "server_output")
	if s.compute.Known() {
		s.source = "the record's own figures"
	}
	count := func(n *float64, name string) {
		if f := r.measured(name); *n == 0 && f.Known() {
			*n = f.Value
		}
	}
	count(&s.requests, "server_requests")
	count(&s.inferences, "server_inferences")
	count(&s.executions, "server_executions")
}

// averageBatch is inferences by executions; without a count of inferences, images asked by executions.
func (r *result) averageBatch() figure.Figure {
	if f := r.measured("average_batch"); f.Known() {
		return f
	}
	s := r.server()
	images := s.inferences
	if images == 0 {
		images = s.requests * float64(r.images())
	}
	if s.executions == 0 || images == 0 {
		return figure.Figure{}
	}
	return figure.Point(figure.Count, images/s.executions, int(s.executions))
}

// batchEfficiency is the share of executions that batching saved, 1 - executions/requests, in percent.
func (r *result) batchEfficiency() figure.Figure {
	if f := r.measured("batch_efficiency"); f.Known() {
		return f
	}
	s := r.server()
	if s.requests == 0 || s.executions == 0 {
		return figure.Figure{}
	}
	return figure.Point(figure.Percent, max(100*(1-s.executions/s.requests), 0), int(s.requests))
}

// network is the client's mean less the server's own total: wires, both kernels, and the client.
func (r *result) network() figure.Figure {
	if f := r.measured("network"); f.Known() {
		return f
	}
	if f := r.server().network; f.Known() {
		return f
	}
	return figure.Minus(r.mean(), r.server().total)
}

// backend is what computes, by label, else engine, else the subject's name.
func (r *result) backend() string {
	for _, name := range []string{r.subject.Labels["backend"], strings.TrimSpace(r.subject.Server.Software + " " + r.subject.Server.Engine)} {
		if name != "" {
			return name
		}
	}
	return r.subject.Name
}
