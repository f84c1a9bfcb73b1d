package report

import (
	"slices"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
)

// result is one setting of one subject, over all its rounds.
type result struct {
	run        *run
	subject    record.Subject
	card, step string
	scenario   string
	params     record.Params
	cells      []*cell

	loaded  bool
	due     [][]float64 // latency from the due instant, ms, in the order of time, one slice a round
	sent    [][]float64 // latency from the sending likewise
	pooled  []float64   // due of all rounds, sorted
	failed  int         // requests that failed, in rounds that are quoted
	known   map[quantileKey]figure.Figure
	rate    *figure.Figure
	stage   *stages
	devices []device
}

// images of one request.
func (r *result) images() int { return max(r.params.Batch, 1) }

// status is OK if any round is; then only those rounds count. Reasons are those of the rounds that are
// not, or the warnings of those that are.
func (r *result) status() (string, []string) {
	status := ""
	var reasons []string
	for _, c := range r.cells {
		s, why := c.status()
		if s == record.OK || status == "" {
			status = s
		}
		reasons = append(reasons, why...)
	}
	slices.Sort(reasons)
	return status, slices.Compact(reasons)
}

func (c *cell) status() (string, []string) {
	if c.end == nil {
		if len(c.requests) == 0 && len(c.measures) > 0 {
			return record.OK, nil
		}
		return record.Failed, []string{"the run ended before the cell did"}
	}
	return c.end.Status, c.end.Reasons
}

func (r *result) ok() bool {
	status, _ := r.status()
	return status == record.OK
}

// rounds that may be quoted.
func (r *result) rounds() (good []*cell) {
	for _, c := range r.cells {
		if s, _ := c.status(); s == record.OK {
			good = append(good, c)
		}
	}
	return good
}

// load sorts the latencies of what was answered with success, warm-up apart.
func (r *result) load() {
	if r.loaded {
		return
	}
	r.loaded = true
	for _, c := range r.rounds() {
		var due, sent []float64
		for _, q := range c.requests {
			switch {
			case q.Warmup:
			case q.Error != "":
				r.failed++
			default:
				due = append(due, millis(q.Done-q.Due))
				sent = append(sent, millis(q.Done-q.Sent))
			}
		}
		r.due, r.sent = append(r.due, due), append(r.sent, sent)
		r.pooled = append(r.pooled, due...)
	}
	slices.Sort(r.pooled)
}

// quantileKey tells quantiles apart that were computed: many tables show the same.
type quantileKey struct {
	q        float64
	fromSent bool
}

func (r *result) latencyQuantile(key quantileKey) figure.Figure {
	r.load()
	if !carries(len(r.pooled), key.q) {
		return figure.Figure{}
	}
	f, ok := r.known[key]
	if !ok {
		rounds := r.due
		if key.fromSent {
			rounds = r.sent
		}
		f = quantileOver(figure.Millis, rounds, key.q)
		if r.known == nil {
			r.known = map[quantileKey]figure.Figure{}
		}
		r.known[key] = f
	}
	return f
}

func millis(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }

// count of latencies.
func (r *result) count() int {
	r.load()
	return len(r.pooled)
}

// quantile of the latency from the due instant. It is unknown where the sample cannot carry it.
func (r *result) quantile(q float64) figure.Figure {
	if f := r.measured(quantileNames[q]...); f.Known() {
		return f
	}
	return r.latencyQuantile(quantileKey{q, false})
}

// quantileSent is the same from the instant of sending: what a closed-loop tool would show.
func (r *result) quantileSent(q float64) figure.Figure {
	return r.latencyQuantile(quantileKey{q, true})
}

func (r *result) p50() figure.Figure { return r.quantile(0.50) }

func (r *result) mean() figure.Figure {
	if f := r.measured("latency_mean"); f.Known() {
		return f
	}
	r.load()
	return mean(figure.Millis, r.due)
}

// least and most are the smallest and the largest latency, without an interval.
func (r *result) least() figure.Figure { return r.extreme(slices.Min[[]float64], "latency_min") }
func (r *result) most() figure.Figure  { return r.extreme(slices.Max[[]float64], "latency_max") }

func (r *result) extreme(of func([]float64) float64, name string) figure.Figure {
	if f := r.measured(name); f.Known() {
		return f
	}
	r.load()
	if len(r.pooled) == 0 {
		return figure.Figure{}
	}
	return figure.Point(figure.Millis, of(r.pooled), len(r.pooled))
}

// answered is the rate of requests answered with success.
func (r *result) answered() figure.Figure {
	if f := r.measured("request_rate", "requests_per_second"); f.Known() {
		f.Unit = figure.Requests
		return f
	}
	if f := r.measured("throughput"); f.Known() {
		return f.Scale(1/float64(r.images()), figure.Requests)
	}
	if r.rate == nil {
		f := rate(r.rounds())
		if !f.Known() {
			f = r.oneByOne()
		}
		r.rate = &f
	}
	return *r.rate
}

// oneByOne is the rate of a single client whose latency alone is known: requests follow each other, so that
// it is 1,000 by the mean in ms.
func (r *result) oneByOne() figure.Figure {
	if r.scenario != record.Single && r.scenario != record.Batch && r.scenario != record.Compute {
		return figure.Figure{}
	}
	return r.mean().Inverse(1000, figure.Requests)
}

// throughput is answered images a second.
func (r *result) throughput() figure.Figure {
	if f := r.measured("throughput", "images_per_second"); f.Known() {
		f.Unit = figure.Images
		return f
	}
	return r.answered().Scale(float64(r.images()), figure.Images)
}

// wire bytes of one image, out and in, heads included.
func (r *result) wire() (out, in figure.Figure) {
	var o, i, n float64
	for _, c := range r.rounds() {
		for _, q := range c.requests {
			if !q.Warmup && q.Error == "" {
				o, i, n = o+float64(q.BytesOut), i+float64(q.BytesIn), n+1
			}
		}
	}
	if n == 0 || o == 0 {
		f := r.measured("payload", "payload_per_image")
		f.Unit = figure.Bytes
		return f, figure.Figure{}
	}
	per := n * float64(r.images())
	return figure.Point(figure.Bytes, o/per, int(n)), figure.Point(figure.Bytes, i/per, int(n))
}

// measured is the median of a measure by the first of the names that there is.
func (r *result) measured(names ...string) figure.Figure {
	for _, name := range names {
		if values, unit := r.values(name); len(values) > 0 {
			slices.Sort(values)
			return quantile(unit, values, 0.5)
		}
	}
	return figure.Figure{}
}

// values of a measure over the rounds that are quoted.
func (r *result) values(name string) (all []float64, unit figure.Unit) {
	for _, c := range r.rounds() {
		for _, m := range c.measures {
			if m.Name == name {
				all, unit = append(all, m.Values...), figure.Unit(m.Unit)
			}
		}
	}
	return all, unit
}

var quantileNames = map[float64][]string{
	0.50: {"latency_p50"}, 0.90: {"latency_p90"}, 0.95: {"latency_p95"}, 0.99: {"latency_p99"}, 0.999: {"latency_p99_9"},
}

// noteOf is what the record says of a measure, "" if nothing.
func (r *result) noteOf(name string) string {
	for _, c := range r.rounds() {
		for _, m := range c.measures {
			if m.Name == name && m.Note != "" {
				return m.Note
			}
		}
	}
	return ""
}
