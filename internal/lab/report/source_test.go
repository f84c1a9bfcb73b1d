package report

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// write puts a synthetic run into a record file.
func write(t *testing.T, r *run, path string) {
	t.Helper()
	w, err := record.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(events ...record.Event) {
		if err := w.Write(events...); err != nil {
			t.Fatal(err)
		}
	}
	put(r.manifest)
	for _, s := range r.subjects {
		put(s)
	}
	for _, c := range r.cells {
		put(c.Cell)
		log := w.Requests(c.ID)
		for _, q := range c.requests {
			log.Add(q)
		}
		log.Close()
		for _, s := range c.samples {
			put(s)
		}
		for _, m := range c.measures {
			put(m)
		}
		for _, o := range c.operators {
			put(o)
		}
		for _, m := range c.models {
			put(m)
		}
		put(*c.end)
	}
	for _, n := range r.notes {
		put(n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// A report from files is the report from memory; only its list of files differs.
func TestReportFromFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "study.jsonl.zst")
	write(t, short(1), path)
	d, err := record.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(text string) string { return text[:strings.Index(text, "Raw Data Files\n\n|")] }
	got := markdown(t, Build(d, Options{}))
	if diff := cmp.Diff(cut(markdown(t, build("", []*run{short(1)}, nil))), cut(got)); diff != "" {
		t.Errorf("(-memory +file):\n%s", diff)
	}
	raw := got[strings.Index(got, "Raw Data Files\n\n|"):]
	for _, want := range []string{"`study.jsonl.zst`", "closed properly", "`vitrine bench study"} {
		if !strings.Contains(raw, want) {
			t.Errorf("no %q in the list of files:\n%s", want, raw)
		}
	}
	if strings.Contains(got, filepath.Dir(path)) {
		t.Error("the report names a folder of this machine")
	}
	same, err := Compare(d, d, Sides{})
	if err != nil {
		t.Fatal(err)
	}
	if same.Overall.Value != 1 {
		t.Errorf("a record is %s as fast as itself", same.Overall)
	}
}

// The reference's own figures, as they were typed, give the reference's own derived figures.
func TestReferenceDocumentComesOutAgain(t *testing.T) {
	d, err := record.Load("../../../studies/reference-2026-02.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	text := markdown(t, Build(d, Options{}))
	for _, line := range []string{
		"| Single p50 | 168 ms | 564 ms | 3.36× |",                      // table 2, printed 3.4×
		"| Batch-16 | 625 ms | 6,690 ms | 10.7× |",                      // printed 10.7×
		"| Concurrent req/s | 36.8 req/s | 8.7 req/s | 4.23× |",         // printed 4.2×
		"11,918 KiB | 2,352 KiB | JSON slower by 1,409× |",              // 3.1, printed 1,403× from unrounded times
		"| Batch-32 | 1,070 ms | 5,614 ms | 9,649 ms | 1.72× |",         // 3.2, printed 1.7×
		"| Server compute | 31.1 ms | 4.7 ms | 6.62× |",                 // 4.1, printed 6.6×
		"| P99 | 72.3 ms | 210.5 ms | 350.2 ms |",                       // 5.1
		"| 8 | 39.7 img/s | 27.3 img/s | timeout",                       // 5.2
		"| Network + transfer | 167.8 ms | 91.7 % |",                    // 5.4
		"| A100 SXM4 | ONNX CUDA EP | 4.4 ms | TensorRT EP | 29.1 ms |", // 6.2
		"| 32 | 43.2 img/s ⭐ | 415.9 ms |",                              // 7.1
		"| 43.2 img/s | 1.78× | 44.4 % | $8.00 | $0.0514 |",             // 7.2, printed 1.8×, 45 %, $0.051
		"This table mixes workloads",                                    // which 7.2 does not say
		"| Queue time | 8.8 ms | 49.2 % |",                              // 7.3
		"| Batch efficiency | 22 % |",                                   // 7.4
		"| Total | 9.84 GiB | 64 GiB |",                                 // 7.5
		"| MatMul | 28,153 ms |",                                        // 9.1
		"| 32 | 585 ms | 54.7 img/s | 19.6× |",                          // 9.2, printed 19.5×
		"| Mean | 278.9 ms |",                                           // 9.3
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in the report of the reference", line)
		}
	}
	if strings.Contains(text, "**Finding** (`record-beaten`)") || strings.Contains(text, "**168 ms**") {
		t.Error("a figure without an interval was called a winner")
	}
}
