package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// serialization has a table for each encoder and direction: a batch size a row, time and payload of each
// format, and how much slower the slowest is than the fastest.
func serialization(g *group) (parts []page.Part) {
	in := pick(g.results, scenario(record.Serialization))
	for _, byEncoder := range split(in, func(r *result) string { return r.params.Encoder }) {
		for _, direction := range []string{"encode", "decode"} {
			if t := serializationTable(byEncoder, direction); t != nil {
				name := cmp.Or(encoders[byEncoder[0].params.Encoder], byEncoder[0].params.Encoder, "encoder not named")
				parts = append(parts, page.Part{ID: slug("serialization", byEncoder[0].params.Encoder, direction), Text: []string{name + ", " + direction + ":"}, Table: t})
			}
		}
	}
	return parts
}

var encoders = map[string]string{"go": "Go client", "python": "Python client", "server": "Server's own code"}

func serializationTable(results []*result, direction string) *page.Table {
	var formats []string
	for _, r := range results {
		if r.measured(direction).Known() && !slices.Contains(formats, r.params.Format) {
			formats = append(formats, r.params.Format)
		}
	}
	if len(formats) == 0 {
		return nil
	}
	t := &page.Table{Columns: columns("Batch Size")}
	t.Columns[0].Left = false
	for _, f := range formats {
		t.Columns = append(t.Columns, page.Column{Title: formatName(f)})
	}
	for _, f := range formats {
		t.Columns = append(t.Columns, page.Column{Title: "Payload (" + formatName(f) + ")"})
	}
	t.Columns = append(t.Columns, page.Column{Title: "Slowest / Fastest", Left: true})
	m := metric{of: func(r *result) figure.Figure { return r.measured(direction) }, lower: true}
	size := metric{of: func(r *result) figure.Figure { return r.measured("payload").Scale(1, figure.Bytes) }, plain: true}
	for _, n := range distinct(results, (*result).images) {
		t.Rows = append(t.Rows, serializationRow(t, pick(results, batch(n)), n, formats, m, size))
	}
	return t
}

func serializationRow(t *page.Table, results []*result, n int, formats []string, m, size metric) []page.Value {
	find := func(format string) *result {
		for _, r := range results {
			if r.params.Format == format {
				return r
			}
		}
		return nil
	}
	var times, sizes []page.Value
	for _, f := range formats {
		times, sizes = append(times, m.value(t, find(f))), append(sizes, size.value(t, find(f)))
	}
	markBest(times, m)
	row := append([]page.Value{page.Words(fmt.Sprint(n))}, times...)
	return append(append(row, sizes...), slowest(times, formats, m))
}

// slowest names the slowest format and by how much it is slower than the fastest.
func slowest(times []page.Value, formats []string, m metric) page.Value {
	best := bestOf(times, m)
	worst := bestOf(times, metric{})
	if best < 0 || best == worst {
		return page.Words("—")
	}
	v := page.Number(figure.Ratio(*times[worst].Figure, *times[best].Figure, figure.Times))
	v.Text = formatName(formats[worst]) + " slower by " + v.Text
	return v
}

// changes are this step's subjects whose backend was measured on this card in an earlier step in another
// format, and not in this one.
func (g *group) changes() (all []*change) {
	earlier := g.earlier()
	for _, own := range split(pick(g.results, scenario(record.Single, record.Batch, record.Concurrency)), func(r *result) string { return r.subject.Name }) {
		r := own[0]
		was := pick(earlier, func(o *result) bool { return sameBackend(o, r) })
		if len(was) == 0 || slices.ContainsFunc(was, func(o *result) bool { return o.subject.Format == r.subject.Format }) {
			continue
		}
		o := was[0]
		if i := slices.IndexFunc(was, func(o *result) bool { return strings.HasSuffix(o.subject.Format, "json") }); i >= 0 {
			o = was[i] // the reference's change: from JSON
		}
		all = append(all, &change{g.book.groupOf(o.step, o.card), g, o.subject.Name, r.subject.Name, o.subject.Format, r.subject.Format})
	}
	return all
}

// earlier results on the same card; groups are in the order of steps.
func (g *group) earlier() (all []*result) {
	for _, old := range g.book.groups {
		if old == g {
			break
		}
		if old.card == g.card && old.step != g.step {
			all = append(all, pick(old.results, scenario(record.Single, record.Batch, record.Concurrency))...)
		}
	}
	return all
}

func sameBackend(a, b *result) bool {
	return a.backend() == b.backend() && a.subject.Server.Software == b.subject.Server.Software
}

// change of a backend's format from one step to another.
type change struct {
	old, now           *group
	oldName, nowName   string
	oldFormat, nowForm string
}

// protocolChange sets the later step beside the earlier one, with the others of this card for scale.
func protocolChange(g *group) (parts []page.Part) {
	for _, c := range g.changes() {
		t := c.table()
		if len(t.Rows) == 0 {
			continue
		}
		parts = append(parts, page.Part{ID: slug("protocol", c.nowName), Table: t})
	}
	return parts
}

func (c *change) table() *page.Table {
	t := &page.Table{Columns: columns("Metric")}
	others := c.others()
	for _, o := range others {
		t.Columns = append(t.Columns, page.Column{Title: o.subject.Name})
	}
	for _, title := range []string{withFormat(c.nowName, c.nowForm), "Before (" + formatName(c.oldFormat) + ")", "Improvement"} {
		t.Columns = append(t.Columns, page.Column{Title: title})
	}
	c.rows(func(name string, m metric, find func(g *group, s string) *result) {
		was, is := find(c.old, c.oldName), find(c.now, c.nowName)
		if was == nil || is == nil {
			return
		}
		row := []page.Value{page.Words(name)}
		for _, o := range others {
			row = append(row, m.value(t, cmp.Or(find(c.now, o.subject.Name), find(c.old, o.subject.Name))))
		}
		now, then := m.value(t, is), m.value(t, was)
		row = append(row, now, then, page.Words("—"))
		if now.Figure != nil && then.Figure != nil {
			row[len(row)-1] = page.Number(m.advantage(*now.Figure, *then.Figure))
		}
		t.Rows = append(t.Rows, row)
	}, distinct(pick(c.old.results, scenario(record.Batch)), (*result).images))
	return t
}

// withFormat names a subject with its format where its name does not.
func withFormat(name, format string) string {
	if strings.Contains(name, "(") {
		return name
	}
	return name + " (" + formatName(format) + ")"
}

// rows are the reference's: single p50, each batch, the best of concurrency.
func (c *change) rows(add func(string, metric, func(*group, string) *result), batches []int) {
	at := func(conditions ...func(*result) bool) func(*group, string) *result {
		return func(g *group, s string) *result { return g.first(append(conditions, subject(s), ordinary)...) }
	}
	add("Single p50", latency("", 0.50), at(scenario(record.Single)))
	for _, n := range batches {
		if n > 1 {
			add(fmt.Sprintf("Batch-%d", n), meanLatency, at(scenario(record.Batch), batch(n)))
		}
	}
	add("Concurrent req/s", requests, func(g *group, s string) *result {
		return peak(pick(g.results, scenario(record.Concurrency), subject(s), ordinary))
	})
}

// others are the earlier step's subjects that this step did not change: what the change is measured
// against.
func (c *change) others() (all []*result) {
	changed := map[string]bool{c.oldName: true}
	for _, o := range c.now.changes() {
		changed[o.oldName] = true
	}
	for _, own := range split(pick(c.old.results, scenario(record.Single, record.Batch)), func(r *result) string { return r.subject.Name }) {
		if !changed[own[0].subject.Name] {
			all = append(all, own[0])
		}
	}
	return all
}

// wireBytes lists what an image costs on the wire.
func wireBytes(g *group) []page.Part {
	t := &page.Table{Columns: columns("Subject", "<Format", "<Workload", "<Input", "Sent per image", "Received per image")}
	counted := func(r *result) bool {
		_, in := r.wire()
		return in.Known() && ordinary(r) && r.scenario != record.Concurrency
	}
	for _, r := range g.peaks(counted) {
		out, in := r.wire()
		t.Rows = append(t.Rows, []page.Value{
			page.Words(r.subject.Name), page.Words(formatName(r.subject.Format)), page.Words(workload(r)), page.Words(cmp.Or(r.params.Input, "—")), page.Number(out), page.Number(in),
		})
	}
	return one("wire", t)
}

// protocolImpact is the cross-step table of formats: payload and network time, and who used them.
func protocolImpact(b *book) *page.Part {
	t := &page.Table{Columns: columns("Format", "Payload per Image", "Network Time", "<Used By")}
	c := &chart.Chart{
		ID: "payload-network", Kind: chart.Scatter, Title: "Payload against network time, single image",
		X: chart.Axis{Title: "sent per image, KiB", Log: true}, Y: chart.Axis{Title: "network + transfer, ms", Log: true},
	}
	for _, r := range pick(b.results, scenario(record.Single, record.Serialization), (*result).ok) {
		out, _ := r.wire()
		net := r.network()
		if r.scenario == record.Serialization {
			out = r.measured("payload_per_image")
		}
		if !out.Known() && !net.Known() {
			continue
		}
		t.Rows = append(t.Rows, []page.Value{page.Words(formatName(cmp.Or(r.params.Format, r.subject.Format))), page.Number(out), page.Number(atLeastZero(net)), page.Words(usedBy(r))})
		if out.Known() && net.Known() && net.Value > 0 {
			addPoint(c, formatName(r.subject.Format), chart.Point{X: out.Value / 1024, Y: net.Value})
			c.Alt += fmt.Sprintf("%s by %s: %s, %s. ", formatName(r.subject.Format), r.subject.Name, out.Text(), net.Text())
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	t.Note("Network time is the client's mean less the server's own total, single image.")
	p := &page.Part{ID: "protocol-impact", Title: "Protocol impact", Table: t}
	if len(c.Series) > 0 {
		p.Charts = append(p.Charts, c)
	}
	return p
}

func usedBy(r *result) string {
	s := r.subject.Name
	if r.card != unknownProcessor {
		s += ", " + r.card
	}
	if r.step != "" {
		s += " (step " + r.step + ")"
	}
	if r.params.Link != "" || r.params.NewConnection {
		s += ", " + connection(r.params)
	}
	return s
}

func addPoint(c *chart.Chart, series string, p chart.Point) {
	for i := range c.Series {
		if c.Series[i].Name == series {
			c.Series[i].Points = append(c.Series[i].Points, p)
			return
		}
	}
	c.Series = append(c.Series, chart.Series{Name: series, Points: []chart.Point{p}})
}
