package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// reportOptions are the flags of `vitrine report`.
type reportOptions struct {
	format, out, title, charts string
	reference                  []string
	info                       bool
}

func reportCommand(std streams) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report RECORD...",
		Short: "Make a document of records",
		Long: `Report makes tables, charts and findings of record files alone: no server is asked. Records of several
machines and cards become one document. Findings are computed by named rules and only where the
intervals support them; docs/figures.md defines every figure.`,
		Example: `  vitrine report results/*.jsonl.zst                                  # Markdown on standard output
  vitrine report results/*.jsonl.zst --format html --out report.html  # one file, charts included
  vitrine report results/reference-cpu.jsonl.zst --reference studies/reference-2026-02.jsonl
  vitrine report --info results/reference-cpu.jsonl.zst               # what a record holds`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runReport(&o, args, std) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	cli.Group(fs, "Document", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&o.format, "md", "md", "html", "json"), "format", "md for reading in a repository, html for reading in a browser and on paper, json for programs")
		fs.StringVarP(&o.out, "out", "o", "-", "`FILE` to write; - is standard output")
		fs.StringVar(&o.title, "title", "", "`TEXT` that heads the document (default the first record's)")
		fs.StringSliceVar(&o.reference, "reference", nil, "`RECORD` to beat, whose best figures get a column; separated by commas")
		fs.StringVar(&o.charts, "charts", "", "`FOLDER` that every chart is written to as well, as an .svg file of its own")
		fs.BoolVar(&o.info, "info", false, "say what each record holds instead")
		cli.TypedOnly(fs, "format", "out", "title", "reference", "charts", "info")
	})
	completeValues(c)
	return c
}

func runReport(o *reportOptions, paths []string, std streams) error {
	if o.info {
		return printInfo(std.out, paths)
	}
	data, err := record.Load(paths...)
	if err != nil {
		return err
	}
	var beat *record.Data
	if len(o.reference) > 0 {
		if beat, err = record.Load(o.reference...); err != nil {
			return err
		}
	}
	doc := report.Build(data, report.Options{Title: o.title, Reference: beat})
	if o.charts != "" {
		if err := writeCharts(o.charts, doc); err != nil {
			return err
		}
	}
	return writeTo(o.out, std.out, func(w io.Writer) error { return writeDocument(w, doc, o.format) })
}

func writeDocument(w io.Writer, doc *page.Document, format string) error {
	switch format {
	case "html":
		return doc.HTML(w)
	case "json":
		return doc.JSON(w)
	}
	return doc.Markdown(w)
}

// writeTo writes a file whole or not at all; - is stdout.
func writeTo(path string, stdout io.Writer, write func(io.Writer) error) error {
	if path == "-" {
		return write(stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func writeCharts(folder string, doc *page.Document) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, c := range doc.Charts() {
		if err := os.WriteFile(filepath.Join(folder, c.ID+".svg"), []byte(c.Standalone()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// printInfo says what records hold, and how they end.
func printInfo(w io.Writer, paths []string) error {
	for _, path := range paths {
		data, err := record.LoadWithin(record.Limits{Requests: -1}, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %s\n", path, data.Files[0].Ending)
		for _, r := range data.Runs {
			m, ends := r.Manifest, map[string]int{}
			for _, c := range r.Cells {
				ends[c.Status()]++
			}
			fmt.Fprintf(w, "  run %s of %s: %s\n  %s %s, seed %d, %s, %d cores\n", m.Run, m.Started.Format("2006-01-02 15:04:05Z07:00"), m.Title,
				m.Tool.Name, m.Tool.Version, m.Seed, m.Client.CPU, m.Client.Cores)
			for _, s := range r.Subjects {
				fmt.Fprintf(w, "  subject %s (%s)\n", s.Name, s.Format)
			}
			fmt.Fprintf(w, "  %d cells: %d ok, %d failed, %d timed out, %d invalid; %d notes\n", len(r.Cells), ends[record.OK],
				ends[record.Failed], ends[record.Timeout], ends[record.Invalid], len(r.Notes))
		}
	}
	return nil
}
