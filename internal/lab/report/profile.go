package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// profiles writes the section of the model itself: operators, batch scaling without a server, and the
// creation of a session.
func profiles(b *book) (s page.Section, some bool) {
	s = page.Section{ID: "profile", Title: "Model Profile"}
	for _, r := range pick(b.results, scenario(record.Profile)) {
		s.Context = modelContext(r)
		s.Parts = append(s.Parts, operatorPart(r))
	}
	s.Parts = append(s.Parts, batchScaling(b)...)
	if p := sessions(b); p != nil {
		s.Parts = append(s.Parts, *p)
	}
	return s, len(s.Parts) > 0
}

func modelContext(r *result) []string {
	i := slices.IndexFunc(r.cells, func(c *cell) bool { return len(c.models) > 0 })
	if i < 0 {
		return nil
	}
	m := r.cells[i].models[0]
	out := []string{"Model: " + m.Name, "File: " + figure.Point(figure.Bytes, float64(m.Bytes), 0).Text()}
	if m.Opset > 0 {
		out = append(out, fmt.Sprintf("Opset: %d", m.Opset))
	}
	if m.Nodes > 0 {
		out = append(out, "Nodes: "+figure.Point(figure.Count, float64(m.Nodes), 0).Text())
	}
	return out
}

// operator is a line of a profile, over all rounds.
type operator struct {
	name, where string
	total       time.Duration
	count       int
	flops       int64
	bytes       int64
}

func (r *result) operators() (all []operator, total time.Duration) {
	for _, c := range r.cells {
		for _, o := range c.operators {
			total += o.Total
			i := slices.IndexFunc(all, func(a operator) bool { return a.name == o.Name && a.where == o.Where })
			if i < 0 {
				all = append(all, operator{name: o.Name, where: o.Where})
				i = len(all) - 1
			}
			all[i].total += o.Total
			all[i].count += o.Count
			all[i].flops += o.FLOPs
			all[i].bytes += o.Bytes
		}
	}
	slices.SortStableFunc(all, func(a, b operator) int { return cmp.Compare(b.total, a.total) })
	return all, total
}

func operatorPart(r *result) page.Part {
	all, total := r.operators()
	whole := figure.Point(figure.Millis, millis(int64(total)), 0)
	if f := r.measured("profile_total"); f.Known() {
		whole = f
	}
	t := &page.Table{Columns: columns("Operator", "Total Time", "% of Compute", "Invocations", "Mean", "<Where")}
	costed := slices.ContainsFunc(all, func(o operator) bool { return o.flops+o.bytes > 0 })
	if costed {
		t.Columns = append(t.Columns, columns("", "Arithmetic", "% of Peak Arithmetic", "Memory", "% of Peak Memory")[1:]...)
	}
	for _, o := range all {
		time := figure.Point(figure.Millis, millis(int64(o.total)), o.count)
		row := []page.Value{
			page.Words(o.name), page.Number(time), page.Number(figure.Share(time, whole)), page.Number(figure.Point(figure.Count, float64(o.count), 0)),
			page.Number(figure.Point("µs", float64(o.total)/1e3/float64(max(o.count, 1)), 0)), page.Words(cmp.Or(o.where, "—")),
		}
		if costed {
			row = append(row, o.rates(r)...)
		}
		t.Rows = append(t.Rows, row)
	}
	t.Note(operatorNote(r, all, whole))
	if runs := r.measured("model_run"); runs.Known() {
		text := fmt.Sprintf("A run of the model took %s (median of %d)", runs.String(), runs.N)
		if outside := r.measured("outside_operators"); outside.Known() {
			text += "; all runs less all operators are " + outside.Text()
		}
		t.Note(text + ".")
	}
	if about := r.noteOf("model_run"); about != "" {
		t.Note(strings.ToUpper(about[:1]) + about[1:] + ".")
	}
	if costed {
		t.Note(costNote(r))
	}
	return page.Part{ID: slug("operators", r.subject.Name, r.card, r.step), Title: "Operator breakdown, " + r.subject.Name, Table: t}
}

func operatorNote(r *result, all []operator, whole figure.Figure) string {
	text := fmt.Sprintf("%s on %s. Operators add up to %s", r.subject.Name, r.card, whole.Text())
	if slices.ContainsFunc(all, func(o operator) bool { return o.where != "device" }) {
		return text + "; times on “host” are those of the host, which on a GPU are not the card's."
	}
	return text + " of the device's own time."
}

// rates are what an operator did in a second, and what share of the device's most that is.
func (o operator) rates(r *result) (values []page.Value) {
	for _, of := range []struct {
		amount int64
		scale  float64
		unit   figure.Unit
		peak   string
	}{{o.flops, 1e12, "TFLOP/s", "peak_flops"}, {o.bytes, 1e9, "GB/s", "peak_bytes"}} {
		if of.amount == 0 || o.total <= 0 {
			values = append(values, page.Words("—"), page.Words("—"))
			continue
		}
		rate := figure.Point(of.unit, float64(of.amount)/o.total.Seconds()/of.scale, 0)
		share := page.Words("—")
		if peak := r.measured(of.peak); peak.Known() {
			share = page.Number(figure.Point(figure.Percent, 100*rate.Value*of.scale/peak.Value, 0))
		}
		values = append(values, page.Number(rate), share)
	}
	return values
}

// costNote says what rates are of.
func costNote(r *result) string {
	text := "Arithmetic is that of matrix products, memory what operands and results measure, each read or written once: what a kernel cannot do without, not what it did."
	flops, bytes := r.measured("peak_flops"), r.measured("peak_bytes")
	if !flops.Known() || !bytes.Known() {
		return text + " The device's peaks are not all known."
	}
	return text + fmt.Sprintf(" The peaks are %.0f TFLOP/s in this precision and %.0f GB/s, by the device's highest clocks; operands that stay in its caches can pass the second.", flops.Value/1e12, bytes.Value/1e9)
}

// typical is the median latency, or the mean where it alone is known.
var typical = metric{lower: true, of: func(r *result) figure.Figure {
	if f := r.p50(); f.Known() {
		return f
	}
	return r.mean()
}}

// batchScaling has an engine's own batches: latency, images a second, and latency by that of one image.
func batchScaling(b *book) (parts []page.Part) {
	for _, own := range split(pick(b.results, scenario(record.Compute)), func(r *result) string { return r.subject.Name + "\x00" + r.card }) {
		slices.SortStableFunc(own, func(x, y *result) int { return cmp.Compare(x.images(), y.images()) })
		t := &page.Table{Columns: columns("Batch Size", "Latency", "Images/sec", "Scaling", "Throughput vs batch 1")}
		t.Columns[0].Left = false
		base := own[0]
		for _, r := range own {
			t.Rows = append(t.Rows, []page.Value{
				page.Words(fmt.Sprint(r.images())), typical.value(t, r), page.Number(r.throughput()),
				page.Number(figure.Ratio(typical.of(r), typical.of(base), figure.Times)), page.Number(figure.Ratio(r.throughput(), base.throughput(), figure.Times)),
			})
		}
		t.Note("Scaling is the batch's latency by that of the smallest batch; below the batch size, batching pays.")
		p := page.Part{ID: slug("batch-scaling", own[0].subject.Name, own[0].card), Title: "Batch scaling, " + own[0].subject.Name + " (" + own[0].card + ")", Table: t}
		if c := scalingChart(own); c != nil {
			p.Charts = append(p.Charts, c)
		}
		parts = append(parts, p)
	}
	return parts
}

func scalingChart(own []*result) *chart.Chart {
	c := &chart.Chart{
		ID: slug("scaling", own[0].subject.Name, own[0].card), Kind: chart.Lines, Title: "Batch scaling, " + own[0].subject.Name,
		X: chart.Axis{Title: "images in one run", Log: true, Ticks: floats(distinct(own, (*result).images))}, Y: chart.Axis{Title: "img/s"},
	}
	addSeries(c, own[0].subject.Name, pick(own, (*result).ok), func(r *result) float64 { return float64(r.images()) })
	if len(c.Series) == 0 || len(c.Series[0].Points) < 2 {
		return nil
	}
	return c
}

// creation of a session: the values' mean and ends, or those that were recorded as such.
func (r *result) creation() (average, least, most figure.Figure, n int) {
	values, unit := r.values("session_creation")
	if len(values) == 0 {
		return r.measured("session_creation_mean"), r.measured("session_creation_min"), r.measured("session_creation_max"), 0
	}
	n = len(values)
	return mean(unit, [][]float64{values}), figure.Point(unit, slices.Min(values), n), figure.Point(unit, slices.Max(values), n), n
}

func sessions(b *book) *page.Part {
	t := &page.Table{Columns: columns("Metric")}
	rows := [][]page.Value{{page.Words("Mean")}, {page.Words("Min")}, {page.Words("Max")}, {page.Words("n")}}
	for _, r := range pick(b.results, scenario(record.Session)) {
		average, least, most, n := r.creation()
		if !average.Known() {
			continue
		}
		t.Columns = append(t.Columns, page.Column{Title: r.subject.Name + " (" + r.card + ")"})
		for i, f := range []figure.Figure{average, least, most} {
			rows[i] = append(rows[i], page.Number(f))
		}
		rows[3] = append(rows[3], count(float64(n)))
	}
	if len(t.Columns) == 1 {
		return nil
	}
	t.Rows = rows
	return table("session", "Session creation (cold start)", t)
}
