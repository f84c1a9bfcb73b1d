package report

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// section writes a step on a card. used collects the kinds of table that had their cells.
func (g *group) section(used map[string]bool) page.Section {
	s := page.Section{ID: slug("step", g.step, g.card), Title: g.title(), Context: g.context()}
	for _, k := range stepKinds {
		parts := k.build(g)
		if len(parts) == 0 {
			continue
		}
		used[k.id] = true
		parts[0].Title = k.title
		for i := range parts {
			parts[i].ID = slug(s.ID, parts[i].ID)
		}
		s.Parts = append(s.Parts, parts...)
	}
	s.Findings = apply(groupRules, g)
	return s
}

// title says what the step is from what it has.
func (g *group) title() string {
	what := "Measurements"
	subjects := g.having(scenario(record.ColdStart, record.Single, record.Batch, record.Concurrency, record.OpenLoop, record.RateSearch, record.Soak))
	switch n := len(subjects); {
	case g.named() != "":
		what = g.named()
	case len(pick(g.results, func(r *result) bool { return r.params.Instances > 1 })) > 0 || strings.Contains(g.card, "×"):
		what = "Scaling"
	case len(pick(g.results, scenario(record.Serialization))) > 0 && len(g.changes()) > 0:
		what = "After the change of protocol"
	case n == 2:
		what = subjects[0] + " vs " + subjects[1]
	case n > 2:
		what = fmt.Sprintf("%d-Way Comparison", n)
	case n == 1:
		what = subjects[0]
	}
	if g.step != "" {
		what = "Step " + g.step + ": " + what
	}
	return what + " (" + g.card + ")"
}

// named is the step's title in the plan of the run.
func (g *group) named() string {
	for _, r := range g.results {
		if title := r.run.titles()[g.step]; title != "" {
			return title
		}
		if title, ok := strings.CutPrefix(r.run.manifest.Title, "Step "+g.step+": "); ok {
			if i := strings.LastIndex(title, " ("); i > 0 {
				title = title[:i] // the card, which follows anyway
			}
			return title
		}
	}
	return ""
}

// titles of the steps in the study's plan. A plan that cannot be read has none: it is a courtesy.
func (r *run) titles() map[string]string {
	if r.steps == nil {
		var plan struct {
			Steps []struct{ ID, Title string }
		}
		r.steps = map[string]string{}
		if err := yaml.Unmarshal([]byte(r.manifest.Plan), &plan); err == nil {
			for _, s := range plan.Steps {
				r.steps[s.ID] = s.Title
			}
		}
	}
	return r.steps
}

func (g *group) context() []string {
	name := "GPU"
	if !slices.ContainsFunc(g.results, func(r *result) bool { return hasCard(r) }) {
		name = "Processor"
	}
	out := []string{name + ": " + g.card, "Protocol: " + strings.Join(g.protocols(), "; ")}
	if label := g.label("interconnect"); label != "" {
		out = append(out, "Interconnect: "+label)
	}
	return append(out, "Date: "+g.date())
}

// place names the card and the step, for a chart that stands alone.
func (g *group) place() string {
	if g.step == "" {
		return g.card
	}
	return g.card + " (step " + g.step + ")"
}

func hasCard(r *result) bool {
	named := func(h *record.Host) bool {
		return h != nil && slices.ContainsFunc(h.GPUs, func(g record.GPU) bool { return g.Name == r.card })
	}
	return r.subject.Labels["gpu"] != "" || named(r.subject.Server.Host) || named(&r.run.manifest.Client)
}

// label is the first subject's that has it.
func (g *group) label(name string) string {
	for _, r := range g.results {
		if v := r.subject.Labels[name]; v != "" {
			return v
		}
	}
	return ""
}

func (g *group) protocols() (all []string) {
	for _, r := range g.results {
		if f := formatName(r.subject.Format); f != "" && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return []string{"—"}
	}
	return all
}

func (g *group) date() string {
	first, last := g.results[0].run.manifest.Started, g.results[0].run.manifest.Started
	for _, r := range g.results {
		if t := r.run.manifest.Started; t.Before(first) {
			first = t
		} else if t.After(last) {
			last = t
		}
	}
	const day = "Jan 2, 2006"
	if from, to := first.UTC().Format(day), last.UTC().Format(day); from != to {
		return from + " – " + to
	}
	return first.UTC().Format(day)
}

// formatNames are what readers of the field call the formats of a target.
var formatNames = map[string]string{
	"embed-base64": "base64 JPEG", "embed-raw": "raw JPEG", "embed-batch": "multipart JPEG", "openai": "OpenAI data URI",
	"oip-json": "JSON", "oip-binary": "binary tensor", "oip-binary-u8": "binary UINT8", "oip-raw": "raw JPEG (OIP)",
	"oip-grpc": "gRPC FP32", "oip-grpc-jpeg": "gRPC JPEG", "in-process": "in process",
	"json": "JSON", "binary": "binary tensor", "base64_jpeg": "base64 JPEG",
}

func formatName(f string) string {
	if name, ok := formatNames[f]; ok {
		return name
	}
	return f
}

// overview is the step's table: a metric a row, a subject a column, and who is ahead by how much.
func overview(g *group) []page.Part {
	subjects := g.having(scenario(record.ColdStart, record.Single, record.Batch, record.Concurrency), ordinary, informative)
	if len(subjects) == 0 {
		return nil
	}
	t := &page.Table{}
	type entry struct {
		m      metric
		values []page.Value
		record page.Value
	}
	var entries []entry
	add := func(name string, m metric, find func(s string) *result, conditions ...func(*result) bool) {
		m.name = name
		if values, some := g.row(t, subjects, m, find); some {
			entries = append(entries, entry{m, values, g.toBeat(m, conditions...)})
		}
	}
	g.overviewRows(add)
	ahead := leader(subjects, func(yield func(metric, []page.Value)) {
		for _, e := range entries {
			yield(e.m, e.values)
		}
	})
	t.Columns = columns(append([]string{"Metric"}, subjects...)...)
	t.Columns = append(t.Columns, lastColumn(subjects, ahead)...)
	if g.reference != nil {
		t.Columns = append(t.Columns, page.Column{Title: "Record to beat"})
	}
	for _, e := range entries {
		row := append([]page.Value{page.Words(e.m.name)}, e.values...)
		row = append(row, verdict(subjects, ahead, e.m, e.values)...)
		if g.reference != nil {
			row = append(row, e.record)
		}
		t.Rows = append(t.Rows, row)
	}
	g.noteConcurrency(t, subjects)
	return one("overview", t)
}

// noteConcurrency says at which concurrency each subject gave its best.
func (g *group) noteConcurrency(t *page.Table, subjects []string) {
	var at []string
	for _, s := range subjects {
		if r := peak(pick(g.results, scenario(record.Concurrency), subject(s), ordinary)); r != nil && r.params.Concurrency > 0 {
			at = append(at, fmt.Sprintf("%s at %d", s, r.params.Concurrency))
		}
	}
	if len(at) > 0 {
		t.Note("Concurrent req/s is each subject's best: " + strings.Join(at, ", ") + " clients.")
	}
}

// overviewRows are the reference's: cold start, single image, batches, the best of concurrency.
func (g *group) overviewRows(add func(string, metric, func(string) *result, ...func(*result) bool)) {
	find := func(conditions ...func(*result) bool) func(string) *result {
		return func(s string) *result { return g.first(append(conditions, subject(s))...) }
	}
	plain := func(name string, m metric, conditions ...func(*result) bool) {
		add(name, m, find(append(conditions, ordinary)...), conditions...)
	}
	plain("Cold start", coldStart, scenario(record.ColdStart))
	plain("Single p50", latency("", 0.50), scenario(record.Single))
	plain("Single mean", meanLatency, scenario(record.Single))
	plain("Single p95", latency("", 0.95), scenario(record.Single))
	plain("Single p99", latency("", 0.99), scenario(record.Single))
	for _, n := range distinct(pick(g.results, scenario(record.Batch), ordinary), (*result).images) {
		if n > 1 {
			plain(fmt.Sprintf("Batch-%d", n), meanLatency, scenario(record.Batch), batch(n))
		}
	}
	add("Concurrent req/s", requests, func(s string) *result {
		return peak(pick(g.results, scenario(record.Concurrency), subject(s), ordinary))
	}, scenario(record.Concurrency))
}

// peak is the result of the highest throughput; failed cells count only if there is nothing else.
func peak(results []*result) (best *result) {
	for _, r := range results {
		if best == nil || r.ok() && (!best.ok() || r.throughput().Value > best.throughput().Value) {
			best = r
		}
	}
	return best
}

// leader is the subject that is best in most rows of two subjects.
func leader(subjects []string, rows func(func(metric, []page.Value))) int {
	wins := make([]int, len(subjects))
	rows(func(m metric, values []page.Value) {
		if best := bestOf(values, m); best >= 0 {
			wins[best]++
		}
	})
	if len(wins) == 0 {
		return -1
	}
	return slices.Index(wins, slices.Max(wins))
}

func lastColumn(subjects []string, ahead int) []page.Column {
	switch {
	case len(subjects) < 2:
		return nil
	case len(subjects) == 2:
		return []page.Column{{Title: subjects[ahead] + " Advantage"}}
	default:
		return []page.Column{{Title: "Winner", Left: true}}
	}
}

// verdict is the row's last value: with two subjects the leader's advantage, with more the winner and its
// advantage over the runner-up, if the interval shows one.
func verdict(subjects []string, ahead int, m metric, values []page.Value) []page.Value {
	switch {
	case len(subjects) < 2:
		return nil
	case len(subjects) == 2:
		a, b := values[ahead].Figure, values[1-ahead].Figure
		if a == nil || b == nil || values[0].Status+values[1].Status != "" {
			return []page.Value{page.Words("—")}
		}
		return []page.Value{page.Number(m.advantage(*a, *b))}
	}
	return []page.Value{winner(subjects, m, values)}
}

func winner(subjects []string, m metric, values []page.Value) page.Value {
	best := bestOf(values, m)
	if best < 0 {
		return page.Words("—")
	}
	rest := slices.Clone(values)
	rest[best] = page.Value{}
	second := bestOf(rest, m)
	if second < 0 {
		return page.Words(subjects[best] + " alone")
	}
	f := m.advantage(*values[best].Figure, *rest[second].Figure)
	v := page.Number(f)
	switch {
	case !f.HasInterval():
		v.From = "no interval"
	case !values[best].Best:
		return page.Words("none clear")
	}
	v.Text = subjects[best] + " by " + v.Text
	return v
}

// toBeat is the reference's best figure for a metric: of the same step where it has one, else of any.
func (g *group) toBeat(m metric, conditions ...func(*result) bool) page.Value {
	if g.reference == nil {
		return page.Value{}
	}
	found := pick(g.reference.results, append(conditions, func(r *result) bool { return r.ok() && m.of(r).Known() })...)
	if same := pick(found, func(r *result) bool { return r.step == g.step }); len(same) > 0 {
		found = same
	}
	var best *result
	for _, r := range found {
		if best == nil || m.lower == (m.of(r).Value < m.of(best).Value) {
			best = r
		}
	}
	if best == nil {
		return page.Words("—")
	}
	v := page.Number(m.of(best))
	v.From = best.subject.Name + ", " + best.card
	return v
}

// slug joins names to an identifier of letters, digits and hyphens.
func slug(names ...string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.Join(names, "-")) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}
