package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
	"github.com/vitrine-project/vitrine/internal/lab/stats"
)

// method says how it was measured, by whom, and what is not to be quoted.
func method(b *book) page.Section {
	s := page.Section{ID: "method", Title: "Method", Text: []string{
		"Latency counts from the instant at which a request was due to the last byte of its answer; in a closed loop that is the instant of sending. Warm-up requests are kept apart. Intervals are of 95 %: order statistics for quantiles, means and rates by rounds or by batches of time, ratios from their parts. A figure is bold where the interval of its ratio to each other figure excludes 1. A cell that failed or timed out is a result with its reason; INVALID marks a cell whose harness was the bottleneck or whose counts disagree.",
	}}
	if n := pooled(b); n > 0 {
		s.Text = append(s.Text, fmt.Sprintf("For %s of the same subject, card and settings the rounds of more than one run are taken together.", plural(n, "cell")))
	}
	s.Parts = append(s.Parts, page.Part{ID: "settings", Title: "Settings", Table: settingsTable(b)})
	for _, build := range []func(*book) *page.Part{subjectsTable, harnessTable, refusedTable, checksTable, notesTable} {
		if p := build(b); p != nil {
			s.Parts = append(s.Parts, *p)
		}
	}
	return s
}

// pooled counts results whose rounds come from several runs.
func pooled(b *book) (n int) {
	for _, r := range b.results {
		if slices.ContainsFunc(r.cells, func(c *cell) bool { return c.run != r.run }) {
			n++
		}
	}
	return n
}

func settingsTable(b *book) *page.Table {
	t := &page.Table{Columns: columns("Scenario", "Cells", "Rounds", "Requests", "Warm-up", "<Longest", "<Timeout", "<Input")}
	for _, same := range split(b.results, func(r *result) string { return r.scenario }) {
		var cells, rounds, requests, warm int
		var longest, timeout time.Duration
		var inputs []string
		for _, r := range same {
			cells += len(r.cells)
			rounds = max(rounds, len(r.cells))
			for _, c := range r.cells {
				all, w := tally(c)
				requests, warm = requests+all, warm+w
				timeout = max(timeout, c.Params.Timeout)
				if c.end != nil {
					longest = max(longest, c.end.Elapsed)
				}
			}
			if r.params.Input != "" && !slices.Contains(inputs, r.params.Input) {
				inputs = append(inputs, r.params.Input)
			}
		}
		t.Rows = append(t.Rows, []page.Value{
			page.Words(strings.ReplaceAll(same[0].scenario, "_", " ")), number(cells), number(rounds), number(requests), number(warm),
			page.Words(orDash(longest)), page.Words(orDash(timeout)), page.Words(cmp.Or(strings.Join(inputs, "; "), "—")),
		})
	}
	return t
}

func orDash(d time.Duration) string {
	if d == 0 {
		return "—"
	}
	return figure.Point("s", d.Seconds(), 0).Text()
}

func number(n int) page.Value { return page.Number(figure.Point(figure.Count, float64(n), 0)) }

// tally counts a cell's measured and warm-up requests.
func tally(c *cell) (measured, warm int) {
	for _, q := range c.requests {
		if q.Warmup {
			warm++
		} else {
			measured++
		}
	}
	return measured, warm
}

func subjectsTable(b *book) *page.Part {
	t := &page.Table{Columns: columns("Subject", "<Format", "<Software", "<Engine", "<Precision", "<Model")}
	seen := map[string]bool{}
	for _, r := range b.results {
		s := r.subject
		if seen[s.Name] {
			continue
		}
		seen[s.Name] = true
		model := s.Model
		if s.Server.Synthetic {
			model = strings.TrimSpace(model + " (synthetic weights)")
		}
		t.Rows = append(t.Rows, []page.Value{
			page.Words(s.Name), page.Words(formatName(s.Format)), page.Words(cmp.Or(strings.TrimSpace(s.Server.Software+" "+s.Server.Version), "—")),
			page.Words(cmp.Or(s.Server.Engine, s.Labels["backend"], "—")), page.Words(cmp.Or(s.Server.Precision, "—")), page.Words(cmp.Or(model, "—")),
		})
	}
	return table("subjects", "What was measured", t)
}

// harnessTable has the instrument's own lateness and processor time, the worst cell of each scenario.
func harnessTable(b *book) *page.Part {
	t := &page.Table{Columns: columns("Scenario", "Late p50", "Late p99", "Latest", "Unsent", "Processor share")}
	for _, same := range split(b.results, func(r *result) string { return r.scenario }) {
		var worst record.Harness
		var share float64
		for _, r := range same {
			for _, c := range r.cells {
				if c.end == nil {
					continue
				}
				h := c.end.Harness
				worst.LatenessP50, worst.LatenessP99 = max(worst.LatenessP50, h.LatenessP50), max(worst.LatenessP99, h.LatenessP99)
				worst.LatenessMax, worst.Unsent = max(worst.LatenessMax, h.LatenessMax), worst.Unsent+h.Unsent
				if c.end.Elapsed > 0 {
					share = max(share, 100*h.CPU.Seconds()/c.end.Elapsed.Seconds())
				}
			}
		}
		if worst == (record.Harness{}) && share == 0 {
			continue
		}
		t.Rows = append(t.Rows, []page.Value{
			page.Words(strings.ReplaceAll(same[0].scenario, "_", " ")), lateness(worst.LatenessP50), lateness(worst.LatenessP99), lateness(worst.LatenessMax),
			number(worst.Unsent), page.Number(figure.Point(figure.Percent, share, 0)),
		})
	}
	if len(t.Rows) > 0 {
		t.Note("The worst cell of each scenario. Lateness is sent minus due; the processor share is of one core, of the measuring process.")
	}
	return table("harness", "The harness itself", t)
}

func lateness(d time.Duration) page.Value {
	return page.Number(figure.Point(figure.Millis, millis(int64(d)), 0))
}

// refusedTable lists the cells that are not ok, with their reasons.
func refusedTable(b *book) *page.Part {
	t := &page.Table{Columns: columns("Subject", "<Step", "<"+b.machine(), "<Cell", "<Round", "<Status", "<Reason", "<Seen, not to be quoted")}
	for _, r := range b.results {
		for _, c := range r.cells {
			status, reasons := c.status()
			if status == record.OK {
				continue
			}
			t.Rows = append(t.Rows, []page.Value{
				page.Words(r.subject.Name), page.Words(cmp.Or(r.step, "—")), page.Words(r.card), page.Words(describe(r)), page.Words(fmt.Sprint(c.Round + 1)),
				{Text: statusWord(status), Status: status}, page.Words(cmp.Or(strings.Join(reasons, "; "), "—")),
				page.Words(cmp.Or(c.seen(), "—")),
			})
		}
	}
	return table("refused", "Cells that failed, timed out or are invalid", t)
}

// seen is what was measured of a cell that is not ok, in words: nothing is computed with it.
func (c *cell) seen() string {
	var latencies []float64
	for _, q := range c.requests {
		if !q.Warmup && q.Error == "" {
			latencies = append(latencies, millis(q.Done-q.Due))
		}
	}
	if len(latencies) == 0 {
		return ""
	}
	slices.Sort(latencies)
	return fmt.Sprintf("%d answers, p50 %.4g ms, at most %.4g ms", len(latencies), stats.QuantileOf(latencies, 0.5), latencies[len(latencies)-1])
}

func statusWord(s string) string {
	if s == record.Invalid {
		return "INVALID"
	}
	return s
}

// checksTable has the cross-checks that did not hold, and how many did.
func checksTable(b *book) *page.Part {
	t := &page.Table{Columns: columns("Check", "<Subject", "<Cell", "Client", "Other source")}
	held := 0
	for _, r := range b.results {
		for _, c := range r.cells {
			if c.end == nil {
				continue
			}
			for _, k := range c.end.Checks {
				if k.OK {
					held++
					continue
				}
				t.Rows = append(t.Rows, []page.Value{
					page.Words(k.Name), page.Words(r.subject.Name), page.Words(describe(r)),
					page.Number(figure.Point(figure.Count, k.Want, 0)), page.Number(figure.Point(figure.Count, k.Got, 0)),
				})
			}
		}
	}
	if held+len(t.Rows) == 0 {
		return nil
	}
	p := &page.Part{ID: "checks", Title: "Cross-checks", Text: []string{fmt.Sprintf("%d of %d cross-checks between the client's counts and another source held.", held, held+len(t.Rows))}}
	if len(t.Rows) > 0 {
		p.Table = t
	}
	return p
}

// notesTable has what runs remarked: cells that were left out and why, where figures were imported from.
func notesTable(b *book) *page.Part {
	t := &page.Table{Columns: columns("Step", "<Remark")}
	for _, r := range b.runs {
		for _, n := range r.notes {
			t.Rows = append(t.Rows, []page.Value{page.Words(cmp.Or(n.Step, "—")), page.Words(n.Text)})
		}
	}
	return table("notes", "Remarks of the runs", t)
}

// rawData lists the files behind the report.
func rawData(b *book) page.Section {
	s := page.Section{ID: "raw-data", Title: "Raw Data Files"}
	t := &page.Table{Columns: columns("File", "<Contents", "Size", "<SHA-256", "<Ended", "<Command")}
	for _, f := range filesOf(b.runs) {
		size := page.Words("—")
		if f.Bytes > 0 {
			size = page.Number(figure.Point(figure.Bytes, float64(f.Bytes), 0))
		}
		t.Rows = append(t.Rows, []page.Value{
			page.Words(code(f.Name)), page.Words(strings.Join(f.contents, "; ")), size, page.Words(code(f.SHA256)), page.Words(cmp.Or(f.Ended, "—")), page.Words(strings.Join(f.commands, " ")),
		})
	}
	s.Parts = one("raw-data", t)
	return s
}

func code(text string) string {
	if text == "" {
		return "—"
	}
	return "`" + text + "`"
}

// rawFile is a file with what its runs say of themselves.
type rawFile struct {
	File
	contents, commands []string
}

// filesOf lists each file once; a run that came from no file stands by its name.
func filesOf(runs []*run) (files []*rawFile) {
	at := map[string]*rawFile{}
	for _, r := range runs {
		own := r.files
		if len(own) == 0 {
			own = []File{{Name: "run " + r.manifest.Run}}
		}
		for _, f := range own {
			if at[f.Name] == nil {
				at[f.Name] = &rawFile{File: f}
				files = append(files, at[f.Name])
			}
			at[f.Name].contents = append(at[f.Name].contents, contents(r))
			if c := code(strings.Join(r.manifest.Command, " ")); !slices.Contains(at[f.Name].commands, c) {
				at[f.Name].commands = append(at[f.Name].commands, c)
			}
		}
	}
	return files
}

func contents(r *run) string {
	m := r.manifest
	text := cmp.Or(m.Title, m.Study, "run "+m.Run) + " (" + plural(len(r.cells), "cell")
	if tool := strings.TrimSpace(m.Tool.Name + " " + m.Tool.Version); tool != "" {
		text += ", " + tool
	}
	return text + ")"
}
