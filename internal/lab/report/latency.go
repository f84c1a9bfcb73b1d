package report

import (
	"fmt"
	"slices"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// transposed makes a table of a metric a row and a subject a column.
func (g *group) transposed(metrics []metric, conditions ...func(*result) bool) *page.Table {
	subjects := g.having(conditions...)
	t := &page.Table{Columns: columns(append([]string{"Metric"}, subjects...)...)}
	if g.reference != nil {
		t.Columns = append(t.Columns, page.Column{Title: "Record to beat"})
	}
	for _, m := range metrics {
		values, some := g.row(t, subjects, m, func(s string) *result { return g.first(append(conditions, subject(s))...) })
		if !some {
			continue
		}
		row := append([]page.Value{page.Words(m.name)}, values...)
		if g.reference != nil {
			row = append(row, g.toBeat(m, conditions[0]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// coldStarts has each part of a cold start with its extremes.
func coldStarts(g *group) []page.Part {
	t := &page.Table{Columns: columns("Subject", "<From", "Median", "Min", "Max", "n")}
	for _, r := range pick(g.results, scenario(record.ColdStart), (*result).ok) {
		for _, part := range []struct{ name, title string }{
			{"start_to_ready", "start of the process to ready"}, {"start_to_first_answer", "start of the process to the first answer"}, {"first_request", "first request to its answer"},
		} {
			values, unit := r.values(part.name)
			if n := len(values); n > 0 {
				t.Rows = append(t.Rows, []page.Value{
					page.Words(r.subject.Name), page.Words(part.title), page.Number(r.measured(part.name)),
					page.Number(figure.Point(unit, slices.Min(values), n)), page.Number(figure.Point(unit, slices.Max(values), n)), number(n),
				})
			}
		}
	}
	return one("cold-start", t)
}

func singleLatency(g *group) []page.Part {
	t := g.transposed([]metric{
		meanLatency, latency("Median (p50)", 0.50), latency("P95", 0.95), latency("P99", 0.99), leastOf, compute,
	}, scenario(record.Single), ordinary)
	parts := one("single", t)
	if c := g.distribution(); c != nil && parts != nil {
		parts[0].Charts = append(parts[0].Charts, c)
	}
	g.counts(t)
	return parts
}

// counts notes how many requests stand behind each column.
func (g *group) counts(t *page.Table) {
	text := ""
	for _, r := range pick(g.results, scenario(record.Single), ordinary) {
		if n := r.count(); n > 0 {
			text += fmt.Sprintf("; %s %s in %s", r.subject.Name, number(n).Text, plural(len(r.rounds()), "round"))
		}
	}
	if text != "" {
		t.Note("Requests measured: " + text[2:] + ". Latency counts from the instant at which a request was due.")
	}
}

// distribution charts the share of requests that were answered within a time.
func (g *group) distribution() *chart.Chart {
	c := &chart.Chart{
		ID: slug("latency", g.step, g.card), Kind: chart.Lines, Title: "Single-image latency, " + g.place(),
		X: chart.Axis{Title: "latency, ms", Log: true}, Y: chart.Axis{Title: "% of requests answered within", Ticks: []float64{0, 25, 50, 75, 100}},
	}
	for _, r := range pick(g.results, scenario(record.Single), ordinary) {
		if r.count() < 10 {
			continue
		}
		c.Series = append(c.Series, chart.Series{Name: r.subject.Name, Bare: true, Points: cumulative(r.pooled)})
		c.Alt += fmt.Sprintf("%s: half within %s, the slowest %s. ", r.subject.Name, r.p50().Text(), r.most().Text())
	}
	if len(c.Series) == 0 {
		return nil
	}
	return c
}

// cumulative gives at most 60 points of the distribution of sorted values.
func cumulative(sorted []float64) (points []chart.Point) {
	const most = 60
	n := len(sorted)
	last := -1
	for k := range most + 1 {
		if i := k * (n - 1) / most; i != last {
			points = append(points, chart.Point{X: max(sorted[i], 1e-3), Y: 100 * float64(i+1) / float64(n)})
			last = i
		}
	}
	return points
}

// byBatch makes a table of a batch size a row and a subject a column.
func (g *group) byBatch(m metric) *page.Table {
	in := []func(*result) bool{scenario(record.Batch), ordinary}
	subjects := g.having(in...)
	t := &page.Table{Columns: columns(append([]string{"Batch Size"}, subjects...)...)}
	t.Columns[0].Left = false
	if g.reference != nil {
		t.Columns = append(t.Columns, page.Column{Title: "Record to beat"})
	}
	for _, n := range distinct(pick(g.results, in...), (*result).images) {
		values, some := g.row(t, subjects, m, func(s string) *result { return g.first(append(in, batch(n), subject(s))...) })
		if !some {
			continue
		}
		row := append([]page.Value{page.Words(fmt.Sprint(n))}, values...)
		if g.reference != nil {
			row = append(row, g.toBeat(m, scenario(record.Batch), batch(n)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func batchThroughput(g *group) []page.Part {
	parts := one("batch-throughput", g.byBatch(images))
	if c := g.batchChart(); c != nil && parts != nil {
		parts[0].Charts = append(parts[0].Charts, c)
	}
	return parts
}

func (g *group) batchChart() *chart.Chart {
	in := pick(g.results, scenario(record.Batch), ordinary, (*result).ok)
	c := &chart.Chart{
		ID: slug("batch", g.step, g.card), Kind: chart.Lines, Title: "Throughput by batch size, " + g.place(),
		X: chart.Axis{Title: "images in one request", Log: true, Ticks: floats(distinct(in, (*result).images))}, Y: chart.Axis{Title: "img/s"},
	}
	for _, s := range g.having(scenario(record.Batch), ordinary, (*result).ok) {
		addSeries(c, s, pick(in, subject(s)), func(r *result) float64 { return float64(r.images()) })
	}
	if len(c.Series) == 0 || len(c.X.Ticks) < 2 {
		return nil
	}
	return c
}

func batchLatency(g *group) []page.Part {
	m := meanLatency
	return one("batch-latency", g.byBatch(m))
}

// part of a breakdown.
type component struct {
	name string
	time figure.Figure
}

// breakdown splits the client's mean latency. What the server does not tell apart stays in its overhead.
func (r *result) breakdown() (parts []component, total figure.Figure) {
	s := r.server()
	total = r.mean()
	if !total.Known() || !s.compute.Known() || !s.total.Known() {
		return nil, total
	}
	rest := figure.Minus(s.total, s.compute)
	stages := []component{{"Queue", s.queue}, {"Decode", s.decode}, {"Input processing", s.input}, {"Output processing", s.output}}
	parts = append(parts, component{"Compute", s.compute})
	for _, c := range stages {
		if c.time.Known() && c.time.Value > 0 {
			parts = append(parts, c)
			rest = figure.Minus(rest, c.time)
		}
	}
	if s.rest.Known() {
		rest = s.rest
	}
	if rest.Value < 0 {
		rest = figure.Point(figure.Millis, 0, rest.N)
	}
	return append(parts, component{"Server overhead", atLeastZero(rest)}, component{"Network + transfer", atLeastZero(r.network())}), total
}

func breakdowns(g *group) (parts []page.Part) {
	var shown []*result
	for _, r := range pick(g.results, scenario(record.Single), (*result).ok, func(r *result) bool { return r.params.Instances <= 1 }) {
		components, total := r.breakdown()
		if components == nil {
			continue
		}
		shown = append(shown, r)
		t := &page.Table{Columns: columns("Component", "Time", "% of Total")}
		for _, c := range components {
			t.Rows = append(t.Rows, []page.Value{page.Words(c.name), page.Number(c.time), page.Number(figure.Share(c.time, total))})
		}
		t.Rows = append(t.Rows, []page.Value{page.Words("Total (client)"), page.Number(total), page.Words("100 %")})
		t.Note("Server figures: " + r.server().source + ". Network + transfer is the client's mean less the server's total.")
		parts = append(parts, page.Part{ID: slug("breakdown", r.subject.Name, describe(r)), Text: []string{r.subject.Name + ", " + describe(r) + ":"}, Table: t})
	}
	if len(parts) > 0 {
		parts[len(parts)-1].Charts = append(parts[len(parts)-1].Charts, g.breakdownChart(shown))
	}
	return parts
}

func (g *group) breakdownChart(results []*result) *chart.Chart {
	names := []string{"Compute", "Queue", "Input", "Network", "Other server time"}
	c := &chart.Chart{
		ID: slug("breakdown", g.step, g.card), Kind: chart.Stack, Title: "Where a single image's time goes, " + g.place(),
		X: chart.Axis{Title: "mean, ms"}, Parts: names,
	}
	for _, r := range results {
		parts, total := r.breakdown()
		values := make([]float64, len(names))
		for _, p := range parts {
			values[chartPart(p.name)] += max(p.time.Value, 0)
		}
		name := r.subject.Name
		if r.params.Link != "" {
			name += " (" + r.params.Link + ")"
		}
		c.Bars = append(c.Bars, chart.Bar{Name: name, Values: values})
		c.Alt += fmt.Sprintf("%s: %s in all, compute %.0f %%, network %.0f %%. ", name, total.Text(), 100*values[0]/total.Value, 100*values[3]/total.Value)
	}
	return c
}

func chartPart(name string) int {
	switch name {
	case "Compute":
		return 0
	case "Queue":
		return 1
	case "Decode", "Input processing":
		return 2
	case "Network + transfer":
		return 3
	default:
		return 4
	}
}

// links shows what a network between client and server does.
func links(g *group) []page.Part {
	in := []func(*result) bool{scenario(record.Single, record.Batch), func(r *result) bool { return r.params.Instances <= 1 }}
	if len(pick(g.results, append(in, func(r *result) bool { return !ordinary(r) })...)) == 0 {
		return nil
	}
	t := &page.Table{Columns: columns("Subject", "<Workload", "<Connection", "Latency p50", "Latency mean", "Server total", "Network share", "Sent per image")}
	for _, r := range pick(g.results, in...) {
		if !g.hasLinked(r) {
			continue
		}
		out, _ := r.wire()
		t.Rows = append(t.Rows, []page.Value{
			page.Words(r.subject.Name), page.Words(workload(r)), page.Words(connection(r.params)),
			latency("", 0.5).value(t, r), meanLatency.value(t, r), page.Number(r.server().total), page.Number(figure.Share(r.network(), r.mean())), page.Number(out),
		})
	}
	return one("links", t)
}

// hasLinked tells whether the result, or one that differs in its connection alone, went over a link.
func (g *group) hasLinked(r *result) bool {
	return slices.ContainsFunc(g.results, func(o *result) bool {
		return !ordinary(o) && o.scenario == r.scenario && o.subject.Name == r.subject.Name && o.images() == r.images()
	})
}

func connection(p record.Params) string {
	link := p.Link
	if link == "" {
		link = "direct"
	}
	if p.NewConnection {
		return link + ", new for each request"
	}
	return link + ", kept"
}

func serverSide(g *group) []page.Part {
	in := []func(*result) bool{scenario(record.Single), ordinary, func(r *result) bool { return r.server().compute.Known() || !r.ok() }}
	if len(pick(g.results, append(in, (*result).ok)...)) == 0 {
		return nil
	}
	subjects := g.having(in...)
	t := &page.Table{Columns: columns(append([]string{"Metric"}, subjects...)...)}
	if len(subjects) == 2 {
		t.Columns = append(t.Columns, page.Column{Title: "Speedup of " + subjects[1]})
	}
	for _, m := range []metric{compute, serverTotal, serverQueue, serverInput} {
		values, some := g.row(t, subjects, m, func(s string) *result { return g.first(append(in, subject(s))...) })
		if !some {
			continue
		}
		row := append([]page.Value{page.Words(m.name)}, values...)
		if len(subjects) == 2 {
			row = append(row, speedup(values[0], values[1]))
		}
		t.Rows = append(t.Rows, row)
	}
	t.Note("Means per request, without the network; compute is the GPU's where there is one.")
	return one("server", t)
}

// speedup is how many times faster the second column is than the first.
func speedup(before, after page.Value) page.Value {
	if before.Figure == nil || after.Figure == nil {
		return page.Words("—")
	}
	return page.Number(figure.Ratio(*before.Figure, *after.Figure, figure.Times))
}
