package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// File is a record file that the report rests on.
type File struct {
	Name   string // without its folder: reports name no machine's paths
	Bytes  int64
	SHA256 string
	Ended  string // how it stops
}

// build writes the document of the runs; reference may be nil.
func build(title string, runs, reference []*run) *page.Document {
	b := newBook(runs)
	var record *book
	if len(reference) > 0 {
		record = newBook(reference)
	}
	d := &page.Document{Schema: page.Schema, Title: cmp.Or(title, titleOf(runs)), Lead: lead(b, record)}
	used := map[string]bool{}
	d.Sections = append(d.Sections, hardware(b))
	for _, g := range b.groups {
		g.reference = record
		if s := g.section(used); len(s.Parts) > 0 {
			d.Sections = append(d.Sections, s)
		}
	}
	cross, some := crossStep(b)
	if some {
		d.Sections = append(d.Sections, cross)
	}
	model, modelled := profiles(b)
	if modelled {
		d.Sections = append(d.Sections, model)
	}
	d.Summary = summary(d.Sections)
	d.Sections = append(d.Sections, method(b), rawData(b))
	if missing := leftOut(used, some, modelled); len(missing.Text) > 1 {
		d.Sections = append(d.Sections, missing)
	}
	return d
}

// headlines are the rules whose findings head the document, in this order; the others are for those who
// read the step.
var headlines = []string{
	"winner-changes-with-card", "record-beaten", "cheapest", "payload-and-network", "protocol-change",
	"serialization-dominates", "scaling-poor", "compute-is-not-latency", "network-dominates", "single-image-winner",
}

const mostHeadlines = 8

// summary picks at most two findings of each headline rule.
func summary(sections []page.Section) (top []page.Finding) {
	for _, rule := range headlines {
		taken := 0
		for _, s := range sections {
			for _, f := range s.Findings {
				if f.Rule == rule && taken < 2 && len(top) < mostHeadlines {
					top, taken = append(top, f), taken+1
				}
			}
		}
	}
	return top
}

func titleOf(runs []*run) string {
	name := func(r *run) string { return cmp.Or(r.manifest.Title, r.manifest.Study) }
	differ := func(of func(*run) string) bool {
		return slices.ContainsFunc(runs, func(r *run) bool { return of(r) != of(runs[0]) })
	}
	study := func(r *run) string { return r.manifest.Study }
	switch {
	case len(runs) == 0 || differ(study) || name(runs[0]) == "":
		return "Benchmark report"
	case differ(name):
		return "Benchmark report: " + study(runs[0])
	}
	return name(runs[0])
}

// lead says what the document is made of.
func lead(b *book, reference *book) []string {
	requests, cells := 0, 0
	for _, r := range b.results {
		cells += len(r.cells)
		for _, c := range r.cells {
			measured, _ := tally(c)
			requests += measured
		}
	}
	text := fmt.Sprintf("Made from records alone: %s, %s, %s measured requests.", plural(len(b.runs), "run"), plural(cells, "cell"), group3(requests))
	if requests == 0 {
		text = fmt.Sprintf("Made from records alone: %s, %s, whose figures were recorded as such, without single requests and so without intervals.", plural(len(b.runs), "run"), plural(cells, "cell"))
	}
	out := []string{text + " Figures stand with their 95 % intervals; the section Method says how they were come by."}
	if reference != nil {
		out = append(out, "“Record to beat” is the best figure of the reference given, of the same step where it has one; its machine, network and method were others.")
	}
	return out
}

func group3(n int) string { return number(n).Text }

// leftOut names the tables that have no data, with the cells that would fill them.
func leftOut(used map[string]bool, cross, model bool) page.Section {
	s := page.Section{ID: "left-out", Title: "Tables Left Out", Text: []string{"No cell of these records fills the tables below."}}
	for _, k := range stepKinds {
		if !used[k.id] {
			s.Text = append(s.Text, k.title+": needs "+k.wants+".")
		}
	}
	if !cross {
		s.Text = append(s.Text, "Cross-step comparison: needs `single`, `batch` or `concurrency` cells.")
	}
	if !model {
		s.Text = append(s.Text, "Model profile: needs `profile`, `compute` or `session` cells.")
	}
	return s
}

// base is a path's last element, of either kind of separator.
func base(path string) string {
	return path[strings.LastIndexAny(path, `/\`)+1:]
}
