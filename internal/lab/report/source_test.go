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
