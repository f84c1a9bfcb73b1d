package main

import (
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report"
)

// compareOptions are the flags of `vitrine compare`.
type compareOptions struct{ format, out, nameA, nameB string }

func compareCommand(std streams) *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Is B faster than A, by how much, how sure",
		Long: `Compare sets two records against each other, cell by cell of the same settings: B's speed by A's with its
interval, and what can be said. RECORD@SUBJECT names one target of a record; where both sides are of one
record whose rounds took turns, rounds are compared in pairs, which is the surest way.`,
		Example: `  vitrine compare before.jsonl.zst after.jsonl.zst
  vitrine compare 'both.jsonl.zst@Triton ONNX' both.jsonl.zst@Vitrine`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return runCompare(&o, args, std) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	cli.Group(fs, "Comparison", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&o.format, "md", "md", "html", "json"), "format", "md for people, html for a browser, json for programs")
		fs.StringVarP(&o.out, "out", "o", "-", "`FILE` to write; - is standard output")
		fs.StringVar(&o.nameA, "name-a", "", "`NAME` of A in the answer (default its subject or file)")
		fs.StringVar(&o.nameB, "name-b", "", "`NAME` of B")
		cli.TypedOnly(fs, "format", "out", "name-a", "name-b")
	})
	completeValues(c)
	return c
}

func runCompare(o *compareOptions, args []string, std streams) error {
	pathA, subjectA := splitSubject(args[0])
	pathB, subjectB := splitSubject(args[1])
	a, err := record.Load(pathA)
	if err != nil {
		return err
	}
	b := a // one record, so that rounds that took turns are known as such
	if pathB != pathA {
		if b, err = record.Load(pathB); err != nil {
			return err
		}
	}
	sides := report.Sides{NameA: nameSide(o.nameA, subjectA, pathA), NameB: nameSide(o.nameB, subjectB, pathB), SubjectA: subjectA, SubjectB: subjectB}
	c, err := report.Compare(a, b, sides)
	if err != nil {
		return cli.Usage{Err: err}
	}
	return writeTo(o.out, std.out, func(w io.Writer) error { return writeDocument(w, c.Document(), o.format) })
}

// splitSubject takes RECORD@SUBJECT apart. Only what follows a record's ending is a subject, so a path may
// hold an @.
func splitSubject(arg string) (path, subject string) {
	for _, ending := range []string{".zst@", ".jsonl@"} {
		if i := strings.Index(arg, ending); i >= 0 {
			return arg[:i+len(ending)-1], arg[i+len(ending):]
		}
	}
	return arg, ""
}

func nameSide(name, subject, path string) string {
	switch {
	case name != "":
		return name
	case subject != "":
		return subject
	}
	return filepath.Base(path)
}
