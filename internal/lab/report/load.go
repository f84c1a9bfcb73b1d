package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// curve is a subject's concurrency results on one number of instances.
type curve struct {
	name    string
	results []*result
}

func (g *group) curves() (all []curve) {
	in := pick(g.results, scenario(record.Concurrency, record.Soak), func(r *result) bool { return r.params.Concurrency > 0 })
	for _, s := range g.subjects {
		mine := pick(in, subject(s))
		for _, c := range split(mine, func(r *result) string { return variant(r.params) }) {
			name := s
			if v := variant(c[0].params); v != "" {
				name += ", " + v
			}
			slices.SortStableFunc(c, func(a, b *result) int { return cmp.Compare(a.params.Concurrency, b.params.Concurrency) })
			all = append(all, curve{name, c})
		}
	}
	return all
}

// variant names what else than concurrency tells load results of a subject apart.
func variant(p record.Params) string {
	var parts []string
	if p.Batch > 1 {
		parts = append(parts, fmt.Sprintf("batch %d", p.Batch))
	}
	if p.Instances > 0 {
		parts = append(parts, plural(p.Instances, "instance"))
	}
	if p.Link != "" {
		parts = append(parts, p.Link)
	}
	if p.NewConnection {
		parts = append(parts, "new connections")
	}
	return strings.Join(parts, ", ")
}

// split groups results by a key, in order of first appearance.
func split(results []*result, key func(*result) string) (groups [][]*result) {
	at := map[string]int{}
	for _, r := range results {
		k := key(r)
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

func concurrency(g *group) (parts []page.Part) {
	for _, c := range g.curves() {
		t := &page.Table{Columns: columns("Concurrency", "Throughput (img/s)", "Latency p50", "Latency p95", "Latency p99", "Failed")}
		t.Columns[0].Left = false
		if g.reference != nil {
			t.Columns = append(t.Columns, page.Column{Title: "Record to beat"})
		}
		best := peak(c.results)
		for _, r := range c.results {
			row := []page.Value{
				page.Words(strconv.Itoa(r.params.Concurrency)), images.value(t, r), latency("", 0.50).value(t, r),
				latency("", 0.95).value(t, r), latency("", 0.99).value(t, r), failures(r),
			}
			row[1].Star = r == best && len(c.results) > 1 && row[1].Figure != nil
			if g.reference != nil {
				row = append(row, g.toBeat(images, scenario(record.Concurrency), at(r.params.Concurrency)))
			}
			t.Rows = append(t.Rows, row)
		}
		parts = append(parts, page.Part{ID: slug("concurrency", c.name), Text: []string{c.name + ":"}, Table: t})
	}
	if c := g.concurrencyChart(); c != nil && len(parts) > 0 {
		parts[len(parts)-1].Charts = append(parts[len(parts)-1].Charts, c)
	}
	return parts
}

func at(concurrency int) func(*result) bool {
	return func(r *result) bool { return r.params.Concurrency == concurrency }
}

func failures(r *result) page.Value {
	n := r.count()
	if n+r.failed == 0 {
		return page.Words("—")
	}
	return page.Words(fmt.Sprintf("%s of %s", number(r.failed).Text, number(n+r.failed).Text))
}

func (g *group) concurrencyChart() *chart.Chart {
	c := &chart.Chart{
		ID: slug("concurrency", g.step, g.card), Kind: chart.Lines, Title: "Throughput against concurrency, " + g.place(),
		X: chart.Axis{Title: "concurrent clients", Log: true}, Y: chart.Axis{Title: "img/s"},
	}
	var all []*result
	for _, line := range g.curves() {
		good := pick(line.results, (*result).ok)
		addSeries(c, line.name, good, func(r *result) float64 { return float64(r.params.Concurrency) })
		all = append(all, good...)
		if best := peak(good); best != nil && len(good) > 1 {
			mark(&c.Series[len(c.Series)-1], float64(best.params.Concurrency))
		}
	}
	c.X.Ticks = floats(distinct(all, func(r *result) int { return r.params.Concurrency }))
	if len(c.X.Ticks) < 2 {
		return nil
	}
	return c
}

func mark(s *chart.Series, x float64) {
	for i := range s.Points {
		s.Points[i].Star = s.Points[i].X == x
	}
}

// addSeries adds the throughput of results over x, with intervals, and says in the description where it
// ends.
func addSeries(c *chart.Chart, name string, results []*result, x func(*result) float64) {
	s := chart.Series{Name: name}
	for _, r := range results {
		f := r.throughput()
		if !f.Known() || x(r) <= 0 {
			continue
		}
		p := chart.Point{X: x(r), Y: f.Value}
		if f.HasInterval() {
			p.Low, p.High = f.Low, f.High
		}
		s.Points = append(s.Points, p)
	}
	slices.SortFunc(s.Points, func(a, b chart.Point) int { return cmp.Compare(a.X, b.X) })
	if len(s.Points) == 0 {
		return
	}
	best := slices.MaxFunc(s.Points, func(a, b chart.Point) int { return cmp.Compare(a.Y, b.Y) })
	c.Alt += fmt.Sprintf("%s: %.4g img/s at %g, at most %.4g img/s at %g. ", name, s.Points[0].Y, s.Points[0].X, best.Y, best.X)
	c.Series = append(c.Series, s)
}

func floats(values []int) (out []float64) {
	for _, v := range values {
		out = append(out, float64(v))
	}
	return out
}

// loaded are a group's concurrency results with the server's account, the peak of each curve.
func (g *group) loaded() (all []*result) {
	for _, c := range g.curves() {
		if best := peak(c.results); best.ok() {
			all = append(all, best)
		}
	}
	return all
}

func serverLoad(g *group) (parts []page.Part) {
	for _, r := range g.loaded() {
		s := r.server()
		if !s.total.Known() || !s.compute.Known() {
			continue
		}
		t := &page.Table{Columns: columns("Metric", "Per-Request Average", "Share")}
		row := func(name string, f figure.Figure) {
			if f.Known() {
				t.Rows = append(t.Rows, []page.Value{page.Words(name), page.Number(f), page.Number(figure.Share(f, s.total))})
			}
		}
		t.Rows = append(t.Rows, []page.Value{page.Words("Total request time"), page.Number(s.total), page.Words("100 %")})
		row("Queue time", s.queue)
		row("Compute", s.compute)
		row("Decode", s.decode)
		row("Input processing", s.input)
		row("Output processing", s.output)
		t.Note("Server figures: " + s.source + ".")
		parts = append(parts, page.Part{ID: slug("server-load", r.subject.Name, variant(r.params)), Text: []string{r.subject.Name + ", " + describe(r) + ":"}, Table: t})
	}
	return parts
}

func batching(g *group) []page.Part {
	var shown []*result
	for _, r := range g.loaded() {
		if r.averageBatch().Known() {
			shown = append(shown, r)
		}
	}
	t := &page.Table{Columns: columns("Metric")}
	rows := [][]page.Value{{page.Words("Measured at")}, {page.Words("Total requests")}, {page.Words("Model executions")}, {page.Words("Batch efficiency")}, {page.Words("Avg batch size")}}
	for _, r := range shown {
		s := r.server()
		t.Columns = append(t.Columns, page.Column{Title: r.subject.Name})
		for i, v := range []page.Value{
			page.Words(describe(r)), count(s.requests), count(s.executions), page.Number(r.batchEfficiency()), page.Number(r.averageBatch()),
		} {
			rows[i] = append(rows[i], v)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	t.Rows = rows
	t.Note("Counts are the server's own between the first and the last scrape. Batch efficiency is the share of executions saved: 1 − executions/requests.")
	return one("batching", t)
}

func count(n float64) page.Value {
	if n == 0 {
		return page.Words("—")
	}
	return page.Number(figure.Point(figure.Count, n, 0))
}

func openLoop(g *group) []page.Part {
	t := &page.Table{Columns: columns("Subject", "<Arrival", "Rate asked", "Rate answered", "p50", "p95", "p99", "p99 from sending", "Unsent", "Harness late p99")}
	for _, r := range pick(g.results, scenario(record.OpenLoop)) {
		t.Rows = append(t.Rows, []page.Value{
			page.Words(r.subject.Name), page.Words(arrival(r.params)), page.Number(figure.Point(figure.Requests, r.params.Rate, 0)), requests.value(t, r),
			latency("", 0.50).value(t, r), latency("", 0.95).value(t, r), latency("", 0.99).value(t, r), page.Number(r.quantileSent(0.99)),
			page.Words(strconv.Itoa(r.unsent())), page.Number(r.lateness()),
		})
	}
	if len(t.Rows) > 0 {
		t.Note("Latency counts from the instant at which a request was due; “from sending” is what a tool shows that waits for the server before it sends.")
	}
	return one("open-loop", t)
}

func arrival(p record.Params) string {
	name := cmp.Or(p.Arrival, "constant")
	if v := variant(p); v != "" {
		return name + ", " + v
	}
	return name
}

func (r *result) unsent() (n int) {
	for _, c := range r.cells {
		if c.end != nil {
			n += c.end.Harness.Unsent
		}
	}
	return n
}

// lateness is the harness' own, p99 of sent minus due, the worst round's.
func (r *result) lateness() figure.Figure {
	var worst int64
	for _, c := range r.cells {
		if c.end != nil {
			worst = max(worst, int64(c.end.Harness.LatenessP99))
		}
	}
	if worst == 0 {
		return figure.Figure{}
	}
	return figure.Point(figure.Millis, millis(worst), 0)
}

func rateSearch(g *group) []page.Part {
	t := &page.Table{Columns: columns("Subject", "<Bound", "<Arrival", "Highest rate")}
	highest := metric{of: func(r *result) figure.Figure { return r.measured("highest_rate").Scale(1, figure.Requests) }}
	for _, r := range pick(g.results, scenario(record.RateSearch)) {
		bound := fmt.Sprintf("p%g ≤ %s", 100*r.params.Quantile, figure.Point(figure.Millis, millis(int64(r.params.Bound)), 0).Text())
		t.Rows = append(t.Rows, []page.Value{page.Words(r.subject.Name), page.Words(bound), page.Words(arrival(r.params)), highest.value(t, r)})
	}
	return one("rate-search", t)
}
