package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// Cell is one measurement that is to be made, Rounds times.
type Cell struct {
	Key      string
	Step     string
	Scenario string
	Target   string
	Params   record.Params
	Input    string // a specification of inputs
	Rounds   int
}

// Run is one round of a cell.
type Run struct {
	Cell  Cell
	Round int
}

// Expanded is a study for one edition.
type Expanded struct {
	Edition string
	Cells   []Cell
	Notes   []record.Note // what the edition leaves out, and why
}

// Expand makes the cells of an edition; "" is the whole study. The same study and edition give the same
// cells in the same order. Targets whose servers need a file that exists does not report are left out.
func (s *Study) Expand(edition string, exists func(path string) bool) (Expanded, error) {
	e, ok := s.Editions[edition]
	if !ok && edition != "" {
		return Expanded{}, fmt.Errorf("no edition %q: the study has %s", edition, cmp.Or(list(s.EditionNames()), "none"))
	}
	x := expander{study: s, name: edition, edition: e, exists: exists, missing: map[string]string{}, seen: map[string]bool{}}
	x.out.Edition = edition
	x.findMissing()
	x.sayBounds()
	for _, step := range s.Steps {
		x.step(step)
	}
	if len(x.out.Cells) == 0 {
		return x.out, fmt.Errorf("edition %q leaves no cell of the study", edition)
	}
	return x.out, nil
}

// EditionNames are the study's editions, sorted.
func (s *Study) EditionNames() []string {
	var names []string
	for n := range s.Editions {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Exists tells whether a file is there; what Expand takes outside tests.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

type expander struct {
	study   *Study
	name    string
	edition Edition
	exists  func(string) bool
	missing map[string]string // server: what it needs and is not there
	seen    map[string]bool   // keys
	out     Expanded
}

func (x *expander) note(step, format string, args ...any) {
	n := record.Note{Step: step, Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(x.out.Notes, n) {
		x.out.Notes = append(x.out.Notes, n)
	}
}

func (x *expander) findMissing() {
	for _, v := range x.study.Servers {
		for _, path := range slices.Concat(v.Needs, v.NeedsIn[x.name]) {
			if !x.exists(path) {
				x.missing[v.Name] = path
				x.note("", "targets of the server %q are left out: %s does not exist", v.Name, baseName(path))
				break
			}
		}
	}
}

// baseName is the last three parts of a path: a record names no machine's folders.
func baseName(path string) string {
	parts := strings.Split(path, "/")
	return strings.Join(parts[max(0, len(parts)-3):], "/")
}

// sayBounds notes what the edition bounds in every cell.
func (x *expander) sayBounds() {
	m, parts := x.edition.Most, []string{}
	for _, p := range []struct {
		set  bool
		text string
	}{
		{m.Rounds > 0, fmt.Sprintf("%d rounds", m.Rounds)}, {m.Requests > 0, fmt.Sprintf("%d requests", m.Requests)},
		{m.Warmup > 0, fmt.Sprintf("%d requests of warm-up", m.Warmup)}, {m.Duration > 0, m.Duration.String()},
	} {
		if p.set {
			parts = append(parts, p.text)
		}
	}
	if len(parts) > 0 {
		x.note("", "edition %q: each cell takes at most %s%s", x.name, list(parts), x.because())
	}
}

func (x *expander) because() string {
	if x.edition.Why == "" {
		return ""
	}
	return " (" + x.edition.Why + ")"
}

// step expands one step, scenarios in the order of Scenarios.
func (x *expander) step(s Step) {
	if !x.included(s.Editions) || len(x.edition.Steps) > 0 && !slices.Contains(x.edition.Steps, s.ID) {
		x.note(s.ID, "step %s (%s) is not part of edition %q%s", s.ID, s.Title, x.name, x.because())
		return
	}
	before := len(x.out.Cells)
	blocks := slices.Clone(s.Cells)
	slices.SortStableFunc(blocks, func(a, b Block) int {
		return slices.Index(Scenarios, a.Scenario) - slices.Index(Scenarios, b.Scenario)
	})
	for _, b := range blocks {
		x.block(s, b)
	}
	if len(x.out.Cells) == before {
		x.note(s.ID, "step %s (%s): no cell is left in edition %q", s.ID, s.Title, x.name)
	}
}

func (x *expander) included(editions []string) bool {
	return x.name == "" || len(editions) == 0 || slices.Contains(editions, x.name)
}

func (x *expander) block(s Step, b Block) {
	switch {
	case !x.included(b.Editions):
		x.note(s.ID, "%s is not part of edition %q", b.Scenario, x.name)
		return
	case len(x.edition.Keep.Scenarios) > 0 && !slices.Contains(x.edition.Keep.Scenarios, b.Scenario):
		x.note(s.ID, "%s is left out%s", b.Scenario, x.because())
		return
	}
	names := b.Targets
	if len(names) == 0 {
		names = s.Targets
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !x.measures(n) })
	for _, setting := range x.combine(s.ID, b) {
		for _, name := range names {
			x.add(s.ID, b.Scenario, x.study.Target(name), setting)
		}
	}
}

// measures tells whether the edition measures a target.
func (x *expander) measures(name string) bool {
	t := x.study.Target(name)
	return x.missing[t.Server] == "" && x.included(t.Editions) &&
		(len(x.edition.Targets) == 0 || slices.Contains(x.edition.Targets, name))
}

func (x *expander) add(step, scenario string, t *Target, c Cell) {
	c.Step, c.Scenario, c.Target = step, scenario, t.Name
	c.Key = Key(c)
	if x.seen[c.Key] {
		return // the same cell listed twice is one
	}
	x.seen[c.Key] = true
	x.out.Cells = append(x.out.Cells, c)
}

// combine makes every combination of a block's lists.
func (x *expander) combine(step string, b Block) []Cell {
	s := withBuiltin(merge(b.Settings, x.study.Defaults), b.Scenario).usedBy(b.Scenario)
	k := x.edition.Keep
	s.Batch = keep(x, step, b.Scenario, "batch", s.Batch, k.Batch)
	s.Concurrency = keep(x, step, b.Scenario, "concurrency", s.Concurrency, k.Concurrency)
	s.Instances = keep(x, step, b.Scenario, "instances", s.Instances, k.Instances)
	s.Link = keep(x, step, b.Scenario, "link", s.Link, k.Link)
	s.Input = keep(x, step, b.Scenario, "input", s.Input, k.Input)
	cells := []Cell{{Rounds: bound(s.Rounds, x.edition.Most.Rounds), Params: x.base(b.Scenario, s)}}
	cells = each(cells, s.Instances, func(c *Cell, v int) { c.Params.Instances = v })
	cells = each(cells, s.Input, func(c *Cell, v string) { c.Input = v })
	cells = each(cells, s.Link, func(c *Cell, v string) { c.Params.Link = noLink(v) })
	cells = each(cells, s.NewConnection, func(c *Cell, v bool) { c.Params.NewConnection = v })
	cells = each(cells, s.Formats, func(c *Cell, v string) { c.Params.Format = v })
	cells = each(cells, s.Encoders, func(c *Cell, v string) { c.Params.Encoder = v })
	cells = each(cells, s.Arrival, func(c *Cell, v string) { c.Params.Arrival = v })
	cells = each(cells, s.Rate, func(c *Cell, v float64) { c.Params.Rate = v })
	cells = each(cells, s.Batch, func(c *Cell, v int) { c.Params.Batch = v })
	return each(cells, s.Concurrency, func(c *Cell, v int) { c.Params.Concurrency = v })
}

func noLink(v string) string {
	if v == "none" || v == "off" {
		return ""
	}
	return v
}

// base are the settings that are no lists.
func (x *expander) base(scenario string, s Settings) record.Params {
	m := x.edition.Most
	p := record.Params{
		Requests: bound(s.Requests, m.Requests), Duration: bound(s.Duration, m.Duration), Timeout: bound(s.Timeout, m.Timeout),
	}
	if s.Warmup != nil {
		p.Warmup = bound(*s.Warmup, m.Warmup)
	}
	if p.Duration == 0 && uses[scenario].wire {
		p.Duration = m.Duration // a cell that only counts requests ends by the clock too
	}
	if scenario == record.RateSearch {
		p.Bound, p.Quantile = s.Bound, s.Quantile
	}
	return p
}

// bound is v, or the edition's bound where that is lower.
func bound[T int | time.Duration](v, most T) T {
	if most > 0 && v > most {
		return most
	}
	return v
}

func keep[T comparable](x *expander, step, scenario, key string, values, kept []T) []T {
	if len(kept) == 0 || len(values) == 0 {
		return values
	}
	var in, out []T
	for _, v := range values {
		if slices.Contains(kept, v) {
			in = append(in, v)
		} else {
			out = append(out, v)
		}
	}
	if len(in) == 0 { // the nearest to what was kept: a scenario is dropped by Keep.Scenarios only
		in, out = values[:1], values[1:]
	}
	if len(out) > 0 {
		x.note(step, "%s: %s %v left out%s", scenario, key, out, x.because())
	}
	return in
}

// each makes a copy of every cell for every value; no value leaves the cells as they are.
func each[T any](cells []Cell, values []T, set func(*Cell, T)) []Cell {
	if len(values) == 0 {
		return cells
	}
	var out []Cell
	for _, c := range cells {
		for _, v := range values {
			d := c
			set(&d, v)
			out = append(out, d)
		}
	}
	return out
}

// Key is a cell's name: same settings, same key. How long a cell is measured is no part of it.
func Key(c Cell) string {
	p := c.Params
	var b strings.Builder
	if c.Step != "" {
		b.WriteString(c.Step + "/")
	}
	b.WriteString(c.Scenario + "/" + c.Target)
	for _, f := range []struct {
		name string
		set  bool
		v    any
	}{
		{"format", p.Format != "", p.Format}, {"encoder", p.Encoder != "", p.Encoder}, {"batch", p.Batch > 0, p.Batch},
		{"concurrency", p.Concurrency > 0, p.Concurrency}, {"rate", p.Rate > 0, p.Rate}, {"arrival", p.Arrival != "", p.Arrival},
		{"bound", p.Bound > 0, p.Bound}, {"quantile", p.Quantile > 0, p.Quantile}, {"instances", p.Instances > 0, p.Instances},
		{"link", p.Link != "", p.Link}, {"new_connection", p.NewConnection, p.NewConnection}, {"input", c.Input != "", c.Input},
	} {
		if f.set {
			fmt.Fprintf(&b, "/%s=%v", f.name, f.v)
		}
	}
	return b.String()
}

// Order is the sequence in which cells are measured: step by step, round by round; within a round the
// settings are shuffled, and the targets of one setting are measured one after the other in an order of
// their own, so that what drifts on a machine hits all of them alike. Scenarios that start or stop
// servers stay in front, and cells with the same number of instances together.
func Order(cells []Cell, seed uint64) []Run {
	var runs []Run
	for _, step := range groups(cells, func(c Cell) string { return c.Step }) {
		rng := rand.New(rand.NewPCG(seed, uint64(len(runs))))
		front := slices.DeleteFunc(slices.Clone(step), func(c Cell) bool { return !exclusive(c.Scenario) })
		rest := slices.DeleteFunc(slices.Clone(step), func(c Cell) bool { return exclusive(c.Scenario) })
		runs = append(runs, interleave(front, nil)...)
		for _, same := range groups(rest, func(c Cell) string { return strconv.Itoa(c.Params.Instances) }) {
			runs = append(runs, interleave(same, rng)...)
		}
	}
	return runs
}

func exclusive(scenario string) bool {
	return scenario == record.ColdStart || scenario == record.Session
}

func interleave(cells []Cell, rng *rand.Rand) (runs []Run) {
	rounds := 0
	for _, c := range cells {
		rounds = max(rounds, c.Rounds)
	}
	settings := groups(cells, func(c Cell) string { c.Target, c.Step = "", ""; return Key(c) })
	for round := range rounds {
		shuffle(rng, settings)
		for _, group := range settings {
			group = slices.Clone(group)
			shuffle(rng, group)
			for _, c := range group {
				if round < c.Rounds {
					runs = append(runs, Run{c, round})
				}
			}
		}
	}
	return runs
}

func shuffle[T any](rng *rand.Rand, s []T) {
	if rng != nil {
		rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
}

// groups splits cells by key, groups and members in order of appearance.
func groups(cells []Cell, key func(Cell) string) (out [][]Cell) {
	index := map[string]int{}
	for _, c := range cells {
		k := key(c)
		i, ok := index[k]
		if !ok {
			i = len(out)
			index[k] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

// InProcess tells whether a target is an engine without a server.
func (t *Target) InProcess() bool { return t.Format == target.InProcess }
