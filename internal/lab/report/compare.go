package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// Sides of a comparison: a subject each, by name, of records that may be the same. An empty subject takes
// all.
type Sides struct {
	NameA, NameB       string // in the document
	SubjectA, SubjectB string
}

// Comparison answers whether B is faster than A, by how much, and how sure that is.
type Comparison struct {
	NameA, NameB string
	Rows         []Difference
	Overall      figure.Figure // geometric mean of B's speed by A's, over the rows
	Verdict      string        // of the overall figure, in words
	Interleaved  bool          // the rounds behind Overall were taken in turns within one run
	Unmatched    []string      // cells that only one side has
	operators    []operatorPair
}

// Difference is one metric of one cell on both sides.
type Difference struct {
	Cell    string
	Metric  string
	A, B    figure.Figure
	Speed   figure.Figure // of B by A's: above 1 B is faster
	Verdict string
	Rounds  int // that were compared in pairs; 0 where they were not taken in turns
}

type operatorPair struct{ a, b *result }

// Compare sets b against a, cell by cell of the same settings.
func Compare(a, b *record.Data, s Sides) (*Comparison, error) {
	runsA := runsOf(a)
	runsB := runsA
	if a != b {
		runsB = runsOf(b)
	}
	return compareRuns(runsA, runsB, s)
}

func compareRuns(runsA, runsB []*run, s Sides) (*Comparison, error) {
	sideA, err := side(runsA, s.SubjectA)
	if err != nil {
		return nil, err
	}
	sideB, err := side(runsB, s.SubjectB)
	if err != nil {
		return nil, err
	}
	c := &Comparison{NameA: label(s.NameA, s.SubjectA, "A"), NameB: label(s.NameB, s.SubjectB, "B"), Interleaved: true}
	c.match(sideA, sideB)
	if len(c.Rows) == 0 && len(c.operators) == 0 {
		return nil, fmt.Errorf("nothing to compare: no cell has the same scenario and settings on both sides%s", hint(sideA, sideB))
	}
	c.conclude()
	return c, nil
}

func label(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// hint names a few cells of either side to the one who compares what cannot be compared.
func hint(a, b []*result) string {
	name := func(r []*result) string {
		if len(r) == 0 {
			return "nothing"
		}
		return r[0].scenario + " of " + r[0].subject.Name
	}
	return " (A begins with " + name(a) + ", B with " + name(b) + ")"
}

// side are the results of a subject, or of all.
func side(runs []*run, name string) ([]*result, error) {
	all := newBook(runs).results
	if name == "" {
		return all, nil
	}
	mine := pick(all, subject(name))
	if len(mine) > 0 {
		return mine, nil
	}
	var names []string
	for _, own := range split(all, func(r *result) string { return r.subject.Name }) {
		names = append(names, own[0].subject.Name)
	}
	return nil, fmt.Errorf("no subject %q in the record; it has: %s", name, strings.Join(names, ", "))
}

// match pairs results of the same scenario, settings and step: by the subject's name, or, where each side
// has but one candidate, whatever its name.
func (c *Comparison) match(sideA, sideB []*result) {
	taken := map[*result]bool{}
	for _, a := range sideA {
		b := counterpart(a, sideA, sideB)
		if b == nil {
			c.Unmatched = append(c.Unmatched, "A only: "+a.subject.Name+", "+describe(a))
			continue
		}
		taken[b] = true
		c.add(a, b)
	}
	for _, b := range sideB {
		if !taken[b] {
			c.Unmatched = append(c.Unmatched, "B only: "+b.subject.Name+", "+describe(b))
		}
	}
}

func counterpart(a *result, sideA, sideB []*result) *result {
	same := func(r *result) bool {
		p, q := r.params, a.params
		p.InputBytes, q.InputBytes = 0, 0 // the same image, as each format sends it
		return r.scenario == a.scenario && r.step == a.step && settings(p) == settings(q)
	}
	found := pick(sideB, same)
	if named := pick(found, subject(a.subject.Name)); len(named) == 1 {
		return named[0]
	}
	if len(found) == 1 && len(pick(sideA, same)) == 1 {
		return found[0]
	}
	return nil
}

// compared are the metrics of each scenario that a comparison shows; the first is the one that the
// overall figure takes.
var compared = map[string][]metric{
	record.Single:        {latency("p50", 0.50), latency("p99", 0.99), compute},
	record.Batch:         {latency("p50", 0.50), images},
	record.Compute:       {latency("p50", 0.50)},
	record.Concurrency:   {images, latency("p50", 0.50), latency("p99", 0.99)},
	record.Soak:          {images, latency("p99", 0.99)},
	record.OpenLoop:      {latency("p99", 0.99), latency("p50", 0.50)},
	record.RateSearch:    {measure("highest rate", "highest_rate", false)},
	record.ColdStart:     {measure("start to first answer", "start_to_first_answer", true), measure("start to ready", "start_to_ready", true), measure("first request", "first_request", true)},
	record.Session:       {measure("session creation", "session_creation", true)},
	record.Serialization: {measure("encode", "encode", true), measure("decode", "decode", true)},
}

func measure(title, name string, lower bool) metric {
	return metric{name: title, of: func(r *result) figure.Figure { return r.measured(name) }, lower: lower}
}

func (c *Comparison) add(a, b *result) {
	if a.scenario == record.Profile {
		c.operators = append(c.operators, operatorPair{a, b})
		return
	}
	for _, m := range compared[a.scenario] {
		if d, ok := difference(a, b, m); ok {
			c.Rows = append(c.Rows, d)
		}
	}
}

// difference compares one metric. Rounds that were taken in turns are compared in pairs, which keeps what
// both felt of a changing machine out of the ratio; else the two figures are.
func difference(a, b *result, m metric) (Difference, bool) {
	d := Difference{Cell: cellName(a, b), Metric: m.name}
	if !a.ok() || !b.ok() {
		sa, _ := a.status()
		sb, _ := b.status()
		d.Verdict = fmt.Sprintf("not comparable: A %s, B %s", sa, sb)
		return d, m.name == compared[a.scenario][0].name
	}
	d.A, d.B = m.of(a), m.of(b)
	if !d.A.Known() || !d.B.Known() {
		return d, false
	}
	d.Speed = m.advantage(d.B, d.A)
	if ratios := pairs(a, b, m); len(ratios) >= leastPairs {
		d.Speed, d.Rounds = pairedRatio(ratios), len(ratios)
	}
	d.Verdict = verdictOf(d.Speed)
	return d, true
}

func cellName(a, b *result) string {
	name := describe(a)
	if a.step != "" {
		name = "step " + a.step + ", " + name
	}
	if a.subject.Name == b.subject.Name {
		return a.subject.Name + ", " + name
	}
	return name
}

// leastPairs of rounds make an interval of their own.
const leastPairs = 5

// pairs gives B's speed by A's for each round that both have in one run, taken in turns.
func pairs(a, b *result, m metric) (ratios []float64) {
	if a.run != b.run {
		return nil
	}
	for _, ca := range a.rounds() {
		for _, cb := range b.rounds() {
			if ca.Round != cb.Round {
				continue
			}
			fa, fb := m.of(a.only(ca)), m.of(b.only(cb))
			if f := m.advantage(fb, fa); f.Known() {
				ratios = append(ratios, f.Value)
			}
		}
	}
	if !inTurns(a.rounds(), b.rounds()) {
		return nil
	}
	return ratios
}

// inTurns tells whether no side was measured as a whole before the other.
func inTurns(a, b []*cell) bool {
	before := func(x, y []*cell) bool {
		last, first := int64(0), int64(math.MaxInt64)
		for _, c := range x {
			last = max(last, c.At)
		}
		for _, c := range y {
			first = min(first, c.At)
		}
		return last < first
	}
	return !before(a, b) && !before(b, a)
}

// only is the result of one of its rounds.
func (r *result) only(c *cell) *result {
	return &result{run: r.run, subject: r.subject, card: r.card, step: r.step, scenario: r.scenario, params: r.params, cells: []*cell{c}}
}

func verdictOf(speed figure.Figure) string {
	switch {
	case !speed.HasInterval():
		return "no interval: nothing can be said"
	case speed.Above(1):
		return "B faster by " + speed.String()
	case speed.Below(1):
		return "B slower: A faster by " + speed.Inverse(1, figure.Times).String()
	default:
		return "no difference seen: " + speed.String()
	}
}

// conclude takes the geometric mean of the rows' first metrics. Their intervals, on the logarithmic
// scale, are added in quadrature: cells are measured apart from each other.
func (c *Comparison) conclude() {
	var sum, low, high float64
	n := 0
	seen := map[string]bool{}
	for _, d := range c.Rows {
		if seen[d.Cell] || !d.Speed.HasInterval() || d.Speed.Low <= 0 {
			continue
		}
		seen[d.Cell] = true
		c.Interleaved = c.Interleaved && d.Rounds > 0
		v := math.Log(d.Speed.Value)
		sum, n = sum+v, n+1
		low, high = math.Hypot(low, v-math.Log(d.Speed.Low)), math.Hypot(high, math.Log(d.Speed.High)-v)
	}
	if n == 0 {
		c.Verdict = "no cell has an interval on both sides: nothing can be said"
		c.Interleaved = false
		return
	}
	k := float64(n)
	c.Overall = figure.Of(figure.Times, math.Exp(sum/k), math.Exp((sum-low)/k), math.Exp((sum+high)/k), n)
	c.Verdict = verdictOf(c.Overall)
}

// Document is the comparison for readers.
func (c *Comparison) Document() *page.Document {
	d := &page.Document{Schema: page.Schema, Title: "Comparison of " + c.NameA + " (A) and " + c.NameB + " (B)", Lead: c.lead()}
	if len(c.Rows) > 0 {
		d.Sections = append(d.Sections, page.Section{ID: "cells", Title: "Cells", Parts: one("cells", c.table())})
	}
	for _, p := range c.operators {
		d.Sections = append(d.Sections, page.Section{ID: slug("operators", p.a.subject.Name), Title: "Operator profiles", Parts: one("operators", p.table())})
	}
	if len(c.Unmatched) > 0 {
		t := &page.Table{Columns: columns("Cell")}
		for _, u := range c.Unmatched {
			t.Rows = append(t.Rows, []page.Value{page.Words(u)})
		}
		d.Sections = append(d.Sections, page.Section{ID: "unmatched", Title: "Cells of one side only", Parts: one("unmatched", t)})
	}
	return d
}

func (c *Comparison) lead() []string {
	var out []string
	if len(c.Rows) > 0 {
		text := "Overall: " + c.Verdict
		if c.Overall.N > 0 {
			text += fmt.Sprintf(" (geometric mean over %s, each by its first metric that has an interval)", plural(c.Overall.N, "cell"))
		}
		out = append(out, text+".")
		if c.Interleaved {
			out = append(out, "The rounds of the two were taken in turns within one run and are compared in pairs.")
		} else {
			out = append(out, "The rounds of the two, or of some cells, were not taken in turns within one run, or were fewer than five: what changed on the machine between them is in the ratios and not in the intervals.")
		}
	}
	return out
}

func (c *Comparison) table() *page.Table {
	t := &page.Table{Columns: columns("Cell", "<Metric", c.NameA, c.NameB, "B's speed by A's", "Rounds in pairs", "<Verdict")}
	for _, d := range c.Rows {
		rounds := "—"
		if d.Rounds > 0 {
			rounds = fmt.Sprint(d.Rounds)
		}
		speed := page.Number(d.Speed)
		speed.Best = d.Speed.Above(1) || d.Speed.Below(1)
		t.Rows = append(t.Rows, []page.Value{page.Words(d.Cell), page.Words(d.Metric), page.Number(d.A), page.Number(d.B), speed, page.Words(rounds), page.Words(d.Verdict)})
	}
	t.Note("Above 1× B is faster. Bold: the 95 % interval excludes 1. With many rows one in twenty is bold by chance.")
	return t
}

// table sets two operator profiles side by side, by the total of the first.
func (p operatorPair) table() *page.Table {
	a, totalA := p.a.operators()
	b, totalB := p.b.operators()
	t := &page.Table{Columns: columns("Operator", "A total", "A share", "A mean", "B total", "B share", "B mean", "B by A")}
	row := func(name string, x, y operator) {
		values := []page.Value{page.Words(name)}
		for _, side := range []struct {
			operator
			whole float64
		}{{x, float64(totalA)}, {y, float64(totalB)}} {
			if side.count == 0 {
				values = append(values, page.Words("—"), page.Words("—"), page.Words("—"))
				continue
			}
			values = append(values, page.Number(figure.Point(figure.Millis, millis(int64(side.total)), side.count)), page.Number(figure.Point(figure.Percent, 100*float64(side.total)/side.whole, 0)),
				page.Number(figure.Point("µs", float64(side.total)/1e3/float64(side.count), 0)))
		}
		ratio := figure.Figure{}
		if x.total > 0 && y.total > 0 {
			ratio = figure.Point(figure.Times, float64(y.total)/float64(x.total), 0)
		}
		t.Rows = append(t.Rows, append(values, page.Number(ratio)))
	}
	for _, o := range a {
		row(o.name, o, named(b, o.name))
	}
	for _, o := range b {
		if named(a, o.name).count == 0 {
			row(o.name, operator{}, o)
		}
	}
	row("Total", total(a), total(b))
	t.Note("A profile is one sum an operator: its ratios have no interval.")
	return t
}

func named(all []operator, name string) (sum operator) {
	for _, o := range all {
		if o.name == name {
			sum.total, sum.count = sum.total+o.total, sum.count+o.count
		}
	}
	return sum
}

func total(all []operator) (sum operator) {
	for _, o := range all {
		sum.total, sum.count = sum.total+o.total, sum.count+o.count
	}
	return sum
}
