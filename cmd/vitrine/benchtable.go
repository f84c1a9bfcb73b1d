package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// benchView names the tables of the report that a scenario shows beside its cells, by their beginnings.
type benchView []string

var (
	viewStages    = benchView{"breakdown", "server"}
	viewBatching  = benchView{"batching", "server-load"}
	viewOperators = benchView{"operators"}
	viewScaling   = benchView{"scaling"}
)

// printParts writes tables of the report for a terminal.
func printParts(w io.Writer, data *record.Data, view benchView) error {
	if len(view) == 0 {
		return nil
	}
	for _, section := range report.Build(data, report.Options{}).Sections {
		for _, part := range section.Parts {
			id := strings.TrimPrefix(part.ID, section.ID+"-")
			wanted := slices.ContainsFunc(view, func(v string) bool { return strings.HasPrefix(id, v) })
			if !wanted || part.Table == nil {
				continue
			}
			if err := printPart(w, &part); err != nil {
				return err
			}
		}
	}
	return nil
}

func printPart(w io.Writer, part *page.Part) error {
	fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(strings.Join(append([]string{part.Title}, part.Text...), " ")))
	var heads []string
	for _, c := range part.Table.Columns {
		heads = append(heads, strings.ToUpper(c.Title))
	}
	t := newTable(w, heads...)
	for _, row := range part.Table.Rows {
		var texts []string
		for _, v := range row {
			texts = append(texts, strings.TrimSpace(v.Text+" "+v.Range))
		}
		t.row(texts...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, n := range part.Table.Notes {
		fmt.Fprintln(w, strings.TrimSpace(n.Mark+" "+n.Text))
	}
	return nil
}

// setting is a cell's rounds together.
type setting struct {
	key    string
	first  *record.CellData
	rounds []*record.CellData
}

// shown are the rounds that are ok or, where none is, those of which something was measured: their figures
// stand beside the status that says what they are worth.
func (s *setting) shown() []*record.CellData {
	if good := s.ok(); len(good) > 0 {
		return good
	}
	return s.rounds
}

// ok are the rounds that may be quoted.
func (s *setting) ok() (good []*record.CellData) {
	for _, c := range s.rounds {
		if c.Status() == record.OK {
			good = append(good, c)
		}
	}
	return good
}

// settingsOf groups the record's cells by key, in the order of the plan: by scenario, then what varies.
func settingsOf(data *record.Data) []*setting {
	index, all := map[string]*setting{}, []*setting(nil)
	for _, run := range data.Runs {
		for _, c := range run.Cells {
			s := index[c.Key]
			if s == nil {
				s = &setting{key: c.Key, first: c}
				index[c.Key], all = s, append(all, s)
			}
			s.rounds = append(s.rounds, c)
		}
	}
	slices.SortStableFunc(all, func(a, b *setting) int {
		p, q := &a.first.Params, &b.first.Params
		return cmp.Or(cmp.Compare(a.first.Step, b.first.Step), cmp.Compare(a.first.Scenario, b.first.Scenario),
			cmp.Compare(p.Format, q.Format), cmp.Compare(p.Encoder, q.Encoder), cmp.Compare(p.Instances, q.Instances),
			cmp.Compare(p.Link, q.Link), cmp.Compare(p.Input, q.Input), cmp.Compare(p.Batch, q.Batch),
			cmp.Compare(p.Concurrency, q.Concurrency), cmp.Compare(p.Rate, q.Rate), cmp.Compare(a.first.Subject, b.first.Subject))
	})
	return all
}

// printBench writes what a record holds as tables for a terminal.
func printBench(w io.Writer, data *record.Data, view benchView) error {
	all := settingsOf(data)
	if err := printLoad(w, all); err != nil {
		return err
	}
	printSaturation(w, all)
	printVerdicts(w, all, data.Runs[0].Manifest.Seed)
	if err := printMeasures(w, all); err != nil {
		return err
	}
	if err := printIdle(w, all); err != nil {
		return err
	}
	printTrouble(w, all)
	return printParts(w, data, view)
}

// table aligns columns.
type table struct {
	w    *tabwriter.Writer
	rows int
	head string
}

func newTable(w io.Writer, columns ...string) *table {
	return &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), head: strings.Join(columns, "\t")}
}

func (t *table) row(values ...string) {
	if t.rows == 0 {
		fmt.Fprintf(t.w, "\n%s\n", t.head)
	}
	t.rows++
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(values, "\t"), "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// what is a cell's setting for people, without its target.
func what(c *record.CellData) string {
	p, parts := c.Params, []string{}
	if c.Step != "" {
		parts = append(parts, "step "+c.Step)
	}
	parts = append(parts, strings.ReplaceAll(c.Scenario, "_", " "))
	for _, f := range []struct {
		set  bool
		text string
	}{
		{p.Format != "", p.Format}, {p.Encoder != "", p.Encoder}, {p.Batch > 1, fmt.Sprintf("batch %d", p.Batch)},
		{p.Concurrency > 1, fmt.Sprintf("%d clients", p.Concurrency)}, {p.Rate > 0, fmt.Sprintf("%.5g/s", p.Rate)},
		{p.Bound > 0, fmt.Sprintf("p%.6g within %v", 100*p.Quantile, p.Bound)},
		{p.Instances > 0, fmt.Sprintf("%d instances", p.Instances)}, {p.Link != "", p.Link}, {p.NewConnection, "new connections"},
	} {
		if f.set {
			parts = append(parts, f.text)
		}
	}
	return strings.Join(parts, ", ")
}

// printTrouble says what is wrong with cells that are not ok, and what to know about those that are.
func printTrouble(w io.Writer, all []*setting) {
	for _, s := range all {
		said := map[string]bool{}
		for _, c := range s.rounds {
			if c.End == nil || len(c.End.Reasons) == 0 {
				continue
			}
			word := strings.ToUpper(c.End.Status)
			if c.End.Status == record.OK {
				word = "note"
			}
			text := strings.Join(c.End.Reasons, "; ")
			if !said[text] {
				said[text] = true
				fmt.Fprintf(w, "%s: %s, %s: %s\n", word, c.Subject, what(c), text)
			}
		}
	}
}

// printMeasures writes what was timed or counted outside requests.
func printMeasures(w io.Writer, all []*setting) error {
	t := newTable(w, "WHAT", "TARGET", "MEASURE", "N", "MEDIAN", "MIN", "MAX", "UNIT")
	for _, s := range all {
		for _, name := range measureNames(s.rounds) {
			var values []float64
			unit := ""
			for _, c := range s.ok() {
				for _, m := range c.Measures {
					if m.Name == name {
						values, unit = append(values, m.Values...), m.Unit
					}
				}
			}
			if len(values) == 0 {
				continue
			}
			slices.Sort(values)
			t.row(what(s.first), s.first.Subject, strings.ReplaceAll(name, "_", " "), fmt.Sprint(len(values)),
				short(median(values)), short(values[0]), short(values[len(values)-1]), unit)
		}
	}
	return t.flush()
}

func measureNames(cells []*record.CellData) (names []string) {
	for _, c := range cells {
		for _, m := range c.Measures {
			if !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

// median of sorted values.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// short is a number with four digits, and no exponent where people would not write one.
func short(v float64) string {
	switch {
	case v >= 1e4 && v < 1e15:
		return fmt.Sprintf("%.0f", v)
	case v >= 1000:
		return fmt.Sprintf("%.4g", v)
	}
	return fmt.Sprintf("%.3g", v)
}
