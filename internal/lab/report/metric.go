package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// metric is a row or a column of a comparison: what is read from a result, and which way is better.
type metric struct {
	name   string
	of     func(*result) figure.Figure
	lower  bool    // better
	q      float64 // of a quantile; 0 otherwise
	client bool    // a latency of the client: anomalies are marked on it
	plain  bool    // not a latency and not a rate: nothing is better
}

func latency(name string, q float64) metric {
	return metric{name: name, of: func(r *result) figure.Figure { return r.quantile(q) }, lower: true, q: q, client: true}
}

var (
	meanLatency = metric{name: "Mean", of: (*result).mean, lower: true, client: true}
	leastOf     = metric{name: "Min", of: (*result).least, lower: true}
	images      = metric{name: "Throughput", of: (*result).throughput}
	requests    = metric{name: "Requests/s", of: (*result).answered}
	compute     = metric{name: "Server compute", of: func(r *result) figure.Figure { return r.server().compute }, lower: true}
	coldStart   = metric{name: "Cold start", of: func(r *result) figure.Figure {
		return r.measured("start_to_first_answer", "start_to_ready", "first_request")
	}, lower: true}
	serverTotal = metric{name: "Server request", of: func(r *result) figure.Figure { return r.server().total }, lower: true}
	serverInput = metric{name: "Input processing", of: func(r *result) figure.Figure { return r.server().input }, lower: true}
	serverQueue = metric{name: "Queue", of: func(r *result) figure.Figure { return r.server().queue }, lower: true}
)

// value is the metric of a result for a table, whose footnotes take the reasons of what is not quoted.
func (m metric) value(t *page.Table, r *result) page.Value {
	if r == nil {
		return page.Words("—")
	}
	status, reasons := r.status()
	if status != record.OK {
		return refused(t, r, status, reasons)
	}
	v := page.Number(m.of(r))
	if v.Figure == nil && m.q > 0 {
		v = m.instead(t, r)
	}
	if v.Figure == nil && m.name == compute.name {
		v = r.estimate()
	}
	if why := r.anomaly(); why != "" && m.client && v.Figure != nil {
		v.Marks = append(v.Marks, t.Mark(why))
	}
	if len(reasons) > 0 {
		v.Marks = append(v.Marks, t.Mark(r.subject.Name+": "+brief(reasons)+"."))
	}
	return v
}

// refused stands where a cell has no figure to quote: its status is the result.
func refused(t *page.Table, r *result, status string, reasons []string) page.Value {
	v := page.Value{Text: status, Status: status}
	if status == record.Invalid {
		v.Text = "INVALID"
	}
	if len(reasons) > 0 {
		v.Marks = []string{t.Mark(fmt.Sprintf("%s, %s: %s.", r.subject.Name, strings.ToLower(v.Text), strings.TrimSuffix(brief(reasons), ".")))}
	}
	return v
}

// brief names two reasons at most; the table of refused cells has them all.
func brief(reasons []string) string {
	if len(reasons) > 2 {
		return fmt.Sprintf("%s; and %d more like it or others", reasons[0], len(reasons)-1)
	}
	return strings.Join(reasons, "; ")
}

// estimate is a range that a record gives in place of a measurement: it takes no part in comparisons.
func (r *result) estimate() page.Value {
	values, unit := r.values("server_compute_estimate")
	if len(values) == 0 {
		return page.Words("—")
	}
	return page.Words(fmt.Sprintf("~%g–%g %s (est.)", slices.Min(values), slices.Max(values), unit))
}

// statusInstead marks a value that is another than its row's, and takes no part in comparisons.
const statusInstead = "maximum"

// instead of a quantile that the sample cannot carry stand its maximum and its size.
func (m metric) instead(t *page.Table, r *result) page.Value {
	worst := r.most()
	if !worst.Known() || r.count() == 0 {
		return page.Words("—")
	}
	t.Note(fmt.Sprintf("“max … of n” stands where n requests cannot carry the quantile: a p90 takes %d, a p95 %d, a p99 %d.", needs(0.90), needs(0.95), needs(0.99)))
	return page.Value{Text: fmt.Sprintf("max %s of %d", worst.Text(), r.count()), Figure: &worst, Status: statusInstead}
}

// describe a result's settings in words.
func describe(r *result) string {
	p := r.params
	var parts []string
	if r.scenario != record.Concurrency && r.scenario != record.Batch {
		parts = append(parts, strings.ReplaceAll(r.scenario, "_", " "))
	}
	add := func(ok bool, format string, v any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	add(p.Batch > 1 || r.scenario == record.Batch, "batch %d", p.Batch)
	add(p.Concurrency > 1 || r.scenario == record.Concurrency && p.Concurrency > 0, "concurrency %d", p.Concurrency)
	add(p.Rate > 0, "%g requests/s", p.Rate)
	add(p.Instances > 0, "%s", plural(p.Instances, "instance"))
	add(p.Format != "", "%s", p.Format)
	add(p.Link != "", "link %s", p.Link)
	add(p.NewConnection, "%s", "a new connection each")
	if len(parts) == 0 {
		return "concurrent requests"
	}
	return strings.Join(parts, ", ")
}

// markBest sets Best on the value that is better than each other by an interval of their ratio. Where one
// of them has no interval, or is not apart, nobody is best.
func markBest(values []page.Value, m metric) {
	best := bestOf(values, m)
	if best < 0 || m.plain {
		return
	}
	others := 0
	for i, v := range values {
		if i == best || v.Figure == nil || v.Status != "" {
			continue
		}
		others++
		if !figure.Apart(*v.Figure, *values[best].Figure) {
			return
		}
	}
	values[best].Best = others > 0
}

// bestOf gives the index of the best value, quantiles of too small samples apart; -1 if there is none.
func bestOf(values []page.Value, m metric) int {
	best := -1
	for i, v := range values {
		if v.Figure == nil || v.Status != "" {
			continue
		}
		if best < 0 || m.lower == (v.Figure.Value < values[best].Figure.Value) && v.Figure.Value != values[best].Figure.Value {
			best = i
		}
	}
	return best
}

// advantage is how many times better a is than b.
func (m metric) advantage(a, b figure.Figure) figure.Figure {
	if m.lower {
		return figure.Ratio(b, a, figure.Times)
	}
	return figure.Ratio(a, b, figure.Times)
}
