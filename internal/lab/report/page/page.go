// Package page is a report as a document of sections, tables, charts and findings, and its three ways to
// be written: Markdown, one HTML file that stands alone, and JSON.
package page

import (
	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
)

// Schema is the version of the JSON form. It rises when a key changes its meaning or goes away.
const Schema = 1

// Document is a report.
type Document struct {
	Schema   int       `json:"schema"`
	Title    string    `json:"title"`
	Lead     []string  `json:"lead,omitempty"`
	Summary  []Finding `json:"summary,omitempty"` // the findings that matter most, which sections have again
	Sections []Section `json:"sections"`
}

// Section is numbered by its place, from 1, as its parts are within it.
type Section struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Context  []string  `json:"context,omitempty"` // "GPU: A100", "Date: ..."
	Text     []string  `json:"text,omitempty"`
	Parts    []Part    `json:"parts,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// Part is a table, a chart or both. A part without a title belongs to the one before.
type Part struct {
	ID     string         `json:"id"`
	Title  string         `json:"title,omitempty"`
	Text   []string       `json:"text,omitempty"`
	Table  *Table         `json:"table,omitempty"`
	Charts []*chart.Chart `json:"charts,omitempty"`
}

// Table has one header row. Notes explain the marks of its values.
type Table struct {
	Columns []Column  `json:"columns"`
	Rows    [][]Value `json:"rows"`
	Notes   []Note    `json:"notes,omitempty"`
}

// Column of a table.
type Column struct {
	Title string `json:"title"`
	Left  bool   `json:"-"` // words; numbers stand on the right
}

// Note is a table's footnote. One without a mark speaks of the whole table.
type Note struct {
	Mark string `json:"mark,omitempty"`
	Text string `json:"text"`
}

// Value is a cell of a table: words, or a figure.
type Value struct {
	Text   string         `json:"text"`             // what is shown
	Range  string         `json:"-"`                // the interval as it is shown
	Figure *figure.Figure `json:"figure,omitempty"` // in its own unit, not rounded
	From   string         `json:"from,omitempty"`   // whose it is, where the column does not say
	Status string         `json:"status,omitempty"` // failed, timeout, invalid: there is no figure to quote; maximum: it stands for a quantile
	Best   bool           `json:"best,omitempty"`   // clearly the best of its group
	Star   bool           `json:"star,omitempty"`   // the peak of a curve
	Marks  []string       `json:"marks,omitempty"`
}

// Finding is what a rule concluded. Evidence are the figures that it rests on.
type Finding struct {
	Rule     string          `json:"rule"`
	Text     string          `json:"text"`
	Evidence []figure.Figure `json:"evidence,omitempty"`
}

// Words is a value of text.
func Words(text string) Value { return Value{Text: text} }

// Number is a value of a figure, with its interval.
func Number(f figure.Figure) Value {
	if !f.Known() {
		return Value{Text: "—"}
	}
	return Value{Text: f.Text(), Range: f.Range(), Figure: &f}
}

// marks are those that a table gives out, in order.
var marks = []string{"†", "‡", "§", "¶", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"}

// Mark gives the mark of a footnote, which is added if the table has none of that text.
func (t *Table) Mark(text string) string {
	used := 0
	for _, n := range t.Notes {
		if n.Mark == "" {
			continue
		}
		if n.Text == text {
			return n.Mark
		}
		used++
	}
	mark := marks[used%len(marks)]
	for range used / len(marks) {
		mark += marks[used%len(marks)]
	}
	t.Notes = append(t.Notes, Note{Mark: mark, Text: text})
	return mark
}

// Note adds a footnote to the whole table, once.
func (t *Table) Note(text string) {
	for _, n := range t.Notes {
		if n.Mark == "" && n.Text == text {
			return
		}
	}
	t.Notes = append(t.Notes, Note{Text: text})
}

// Charts of a document, in order.
func (d *Document) Charts() (all []*chart.Chart) {
	for _, s := range d.Sections {
		for _, p := range s.Parts {
			all = append(all, p.Charts...)
		}
	}
	return all
}
