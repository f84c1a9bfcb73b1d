package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// crossStep writes the tables that run over all steps and cards.
func crossStep(b *book) (s page.Section, some bool) {
	s = page.Section{ID: "cross-step", Title: "Cross-Step Comparison Tables"}
	for _, build := range []func(*book) *page.Part{
		latencyEvolution, computeEvolution, bestThroughput, protocolImpact, winnerPerCard, backends, memoryByCard,
	} {
		if p := build(b); p != nil {
			s.Parts = append(s.Parts, *p)
		}
	}
	s.Findings = apply(bookRules, b)
	return s, len(s.Parts) > 0
}

// machine titles the columns of what computed.
func (b *book) machine() string {
	if slices.ContainsFunc(b.results, hasCard) {
		return "GPU"
	}
	return "Processor"
}

func single(b *book) []*result { return pick(b.results, scenario(record.Single), ordinary) }

// who are the leading values of a cross-step row.
func who(r *result) []page.Value {
	return []page.Value{page.Words(cmp.Or(r.step, "—")), page.Words(r.subject.Name), page.Words(r.backend()), page.Words(r.card)}
}

func latencyEvolution(b *book) *page.Part {
	t := &page.Table{Columns: columns("Step", "<Subject", "<Backend", "<"+b.machine(), "<Protocol", "Latency (p50)")}
	m := latency("", 0.50)
	for _, r := range single(b) {
		if v := m.value(t, r); v.Figure != nil || v.Status != "" {
			t.Rows = append(t.Rows, append(who(r), page.Words(formatName(r.subject.Format)), v))
		}
	}
	bestInColumn(t, 5, m)
	return table("latency-evolution", "Single-image client latency evolution", t)
}

func computeEvolution(b *book) *page.Part {
	t := &page.Table{Columns: columns("Step", "<Subject", "<Backend", "<"+b.machine(), "<Measured in", "Compute Time")}
	for _, r := range withCompute(b) {
		t.Rows = append(t.Rows, append(who(r), page.Words(describe(r)), compute.value(t, r)))
	}
	bestInColumn(t, 5, compute)
	return table("compute-evolution", "Server-side compute evolution", t)
}

// withCompute are the results that tell a backend's compute time: single images, or the best load where
// a step has no single images.
func withCompute(b *book) (all []*result) {
	knows := func(r *result) bool { return r.server().compute.Known() }
	for _, g := range b.groups {
		for _, s := range g.subjects {
			mine := pick(g.results, subject(s), (*result).ok, knows)
			r := cmp.Or(g.first(scenario(record.Single), ordinary, subject(s), (*result).ok, knows), peak(pick(mine, scenario(record.Concurrency))))
			if r != nil {
				all = append(all, r)
			}
		}
	}
	return all
}

func bestInColumn(t *page.Table, column int, m metric) {
	values := make([]page.Value, len(t.Rows))
	for i := range t.Rows {
		values[i] = t.Rows[i][column]
	}
	markBest(values, m)
	for i := range t.Rows {
		t.Rows[i][column] = values[i]
	}
}

func table(id, title string, t *page.Table) *page.Part {
	if len(t.Rows) == 0 {
		return nil
	}
	return &page.Part{ID: id, Title: title, Table: t}
}

// bestThroughput has the best configuration of each step.
func bestThroughput(b *book) *page.Part {
	t := &page.Table{Columns: columns("Step", "<Config", "Best Throughput", "<Notes")}
	var used []*result
	for _, step := range split(pick(b.results, scenario(record.Single, record.Batch, record.Concurrency), (*result).ok, func(r *result) bool { return r.throughput().Known() }), func(r *result) string { return r.step + "\x00" + r.card }) {
		r := peak(step)
		used = append(used, r)
		t.Rows = append(t.Rows, []page.Value{page.Words(cmp.Or(r.step, "—")), page.Words(r.subject.Name + ", " + r.card), images.value(t, r), page.Words(describe(r))})
	}
	bestInColumn(t, 2, images)
	mixed(t, used)
	return table("best-throughput", "Throughput comparison (best result of each step and card)", t)
}

// oncePerBackend keeps the first result of each backend.
func oncePerBackend(results []*result) (first []*result) {
	for _, own := range split(results, (*result).backend) {
		first = append(first, own[0])
	}
	return first
}

// ranked is the compute of one card's backends, fastest first, one result a backend.
func ranked(results []*result) []*result {
	best := oncePerBackend(results)
	slices.SortStableFunc(best, func(x, y *result) int { return cmp.Compare(x.server().compute.Value, y.server().compute.Value) })
	return best
}

// byCard groups single-image results that tell their compute time by card.
func byCard(b *book) [][]*result {
	in := pick(withCompute(b), scenario(record.Single))
	return split(in, func(r *result) string { return r.card })
}

func winnerPerCard(b *book) *page.Part {
	t := &page.Table{Columns: columns(b.machine(), "<Best for Compute", "Compute Time", "<Runner-Up", "Compute Time", "Ahead by")}
	for _, card := range byCard(b) {
		order := ranked(card)
		if len(order) < 2 {
			continue
		}
		a, z := order[0].server().compute, order[1].server().compute
		values := []page.Value{page.Number(a), page.Number(z)}
		markBest(values, compute)
		ahead := page.Number(compute.advantage(a, z))
		if r := compute.advantage(a, z); r.HasInterval() && !r.Above(1) {
			ahead.Marks = []string{t.Mark("The interval holds 1: no winner can be named.")}
		}
		t.Rows = append(t.Rows, []page.Value{page.Words(order[0].card), page.Words(order[0].backend()), values[0], page.Words(order[1].backend()), values[1], ahead})
	}
	return table("winner-per-card", "Winner and runner-up by card", t)
}

// backends compares compute over all backends of each card with the card's first as the baseline.
func backends(b *book) *page.Part {
	t := &page.Table{Columns: columns("Backend", "<"+b.machine(), "Compute", "vs Baseline")}
	for _, card := range byCard(b) {
		card = oncePerBackend(card)
		if len(card) < 2 {
			continue
		}
		base := card[0]
		for _, r := range card {
			row := []page.Value{page.Words(r.backend()), page.Words(r.card), page.Number(r.server().compute), page.Words("baseline")}
			if r != base {
				row[3] = page.Number(compute.advantage(r.server().compute, base.server().compute))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	if len(t.Rows) > 0 {
		t.Note("The baseline of a card is the backend that was measured first on it; above 1× is faster.")
	}
	return table("backends", "Comparison across all backends (server-side compute)", t)
}

// memoryByCard has the memory and utilisation of each card that was sampled.
func memoryByCard(b *book) *page.Part {
	t := &page.Table{Columns: columns("Resource")}
	rows := [][]page.Value{{page.Words("Total VRAM used")}, {page.Words("GPU utilization")}}
	for _, g := range b.groups {
		seen := g.observed()
		if len(seen) == 0 || slices.ContainsFunc(t.Columns, func(c page.Column) bool { return c.Title == g.card }) {
			continue
		}
		r := seen[len(seen)-1]
		t.Columns = append(t.Columns, page.Column{Title: g.card})
		rows[0] = append(rows[0], page.Number(sumOf(r.sampled(), func(d device) figure.Figure { return d.used })))
		rows[1] = append(rows[1], page.Number(averageUtilization(r.sampled())))
	}
	if len(t.Columns) < 3 {
		return nil
	}
	t.Rows = rows
	return table("memory-by-card", "VRAM usage by card", t)
}

// hardware lists cards with what labels and servers say of them.
func hardware(b *book) page.Section {
	s := page.Section{ID: "hardware", Title: "Hardware Tested"}
	t := &page.Table{Columns: columns(b.machine(), "<Type", "VRAM", "<Provider", "<Price", "<Steps")}
	for _, card := range split(b.results, func(r *result) string { return r.card }) {
		if card[0].card == unknownProcessor && len(b.groups) > 1 {
			continue
		}
		find := func(name string) string {
			for _, r := range card {
				if v := r.subject.Labels[name]; v != "" {
					return v
				}
			}
			return "—"
		}
		t.Rows = append(t.Rows, []page.Value{
			page.Words(card[0].card), page.Words(find("type")), page.Words(memoryOf(card, find("vram"))), page.Words(find("provider")), page.Words(dollars(find("price"))), page.Words(stepsOf(card)),
		})
	}
	s.Parts = one("hardware", t)
	if clients := clientsOf(b); len(clients) > 0 {
		s.Text = append(s.Text, "Client: "+strings.Join(clients, "; ")+".")
	}
	return s
}

func dollars(price string) string {
	if price == "—" {
		return price
	}
	return "$" + price + "/h"
}

func memoryOf(results []*result, label string) string {
	for _, r := range results {
		if h := r.subject.Server.Host; h != nil && len(h.GPUs) > 0 && h.GPUs[0].Memory > 0 && label == "—" {
			text := figure.Point(figure.Bytes, float64(h.GPUs[0].Memory), 0).Text()
			if len(h.GPUs) > 1 {
				return fmt.Sprintf("%d × %s", len(h.GPUs), text)
			}
			return text
		}
	}
	return label
}

func stepsOf(results []*result) string {
	var steps []string
	for _, r := range results {
		if r.step != "" && !slices.Contains(steps, r.step) {
			steps = append(steps, r.step)
		}
	}
	if len(steps) == 0 {
		return "—"
	}
	return strings.Join(steps, ", ")
}

func clientsOf(b *book) (all []string) {
	for _, r := range b.runs {
		c := r.manifest.Client
		if c.CPU == "" && c.OS == "" {
			continue
		}
		text := c.OS
		if c.CPU != "" {
			text = processor(c) + ", " + c.OS
		}
		if c.Memory > 0 {
			text += ", " + figure.Point(figure.Bytes, float64(c.Memory), 0).Text()
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}
