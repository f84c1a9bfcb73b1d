package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// studyOptions are the flags of `vitrine bench study`.
type studyOptions struct {
	edition, out string
	resume, list bool
	quiet        bool
	set          []string
	seed         uint64
	log          logFlags
}

func studyCommand(std streams) *cobra.Command {
	var o studyOptions
	c := &cobra.Command{
		Use:   "study FILE --out FOLDER",
		Short: "Run a plan: servers, scenarios, rounds",
		Long: `Study runs a plan (YAML): it starts the servers, measures every cell, targets in turn, and stops the
servers again. FOLDER gets the records and, in logs/, what the servers printed.

An interrupted study goes on with --resume: cells that ended well are not measured again. An edition is a
smaller form of the study that its file describes; what it leaves out is noted in the record.`,
		Example: `  vitrine bench study studies/reference.yaml --edition ci --list
  vitrine bench study studies/reference.yaml --edition cpu --out results/
  vitrine bench study studies/reference.yaml --edition cpu --out results/ --resume
  vitrine report results/*.jsonl.zst --format html --out report.html`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runStudy(cmd.Context(), &o, args[0], std) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	cli.Group(fs, "Study", func(fs *pflag.FlagSet) {
		fs.StringVarP(&o.out, "out", "o", "", "`FOLDER` of the records; made if it does not exist")
		fs.StringVar(&o.edition, "edition", "", "`NAME` of the edition; none is the whole study")
		fs.BoolVar(&o.resume, "resume", false, "go on with the study that FOLDER holds")
		fs.BoolVar(&o.list, "list", false, "print the cells and what is left out, and measure nothing")
		fs.StringArrayVar(&o.set, "set", nil, "`NAME=VALUE` of a variable of the study; again for more")
		fs.Uint64Var(&o.seed, "seed", 1, "`number` that the order of the cells comes from")
		fs.BoolVar(&o.quiet, "quiet", false, "no progress, only the table")
		cli.TypedOnly(fs, "out", "edition", "resume", "list", "set", "seed", "quiet")
	})
	o.log.define(fs, "warn")
	completeValues(c)
	return c
}

func runStudy(ctx context.Context, o *studyOptions, path string, std streams) error {
	study, text, err := loadStudy(path, o.set)
	if err != nil {
		return cli.Usage{Err: err}
	}
	x, err := study.Expand(o.edition, plan.Exists)
	if err != nil {
		return cli.Usage{Err: err}
	}
	if o.list {
		printCells(std.out, x, o.seed)
		return nil
	}
	if o.out == "" {
		return cli.Usage{Err: errors.New("--out is missing: a folder for the records")}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	b := &benchRun{study: study, text: text, cells: x, seed: o.seed, python: study.Variables["python"], quiet: o.quiet,
		folder: filepath.Join(o.out, "logs"), log: o.log.logger(std.err), std: std, lowest: 8, highest: 1e5}
	b.path = filepath.Join(o.out, recordName(study.Name, o.edition))
	if err := o.goOn(b); err != nil {
		return err
	}
	return b.run(ctx)
}

// recordName is the file of a study's record.
func recordName(study, edition string) string {
	if edition != "" {
		study += "-" + edition
	}
	return study + ".jsonl.zst"
}

// goOn looks whether the study was begun before.
func (o *studyOptions) goOn(b *benchRun) error {
	switch _, err := os.Stat(b.path); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !o.resume:
		return cli.Usage{Err: fmt.Errorf("%s is there already: --resume goes on with it, another --out begins anew", b.path)}
	}
	b.resume = true
	return nil
}

// loadStudy reads a study with the variables that every study has: ${vitrine} is this program, ${cache} the
// user's cache folder.
func loadStudy(path string, set []string) (*plan.Study, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	values := map[string]string{"vitrine": self}
	if cache, err := os.UserCacheDir(); err == nil { // without one a study that asks for it says so
		values["cache"] = cache
	}
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, "", fmt.Errorf("--set %s: want NAME=VALUE", s)
		}
		values[name] = value
	}
	study, text, err := plan.Load(path, values)
	if err != nil {
		return nil, "", err
	}
	if study.Variables == nil {
		study.Variables = map[string]string{}
	}
	for name, value := range values {
		study.Variables[name] = value
	}
	return study, text, nil
}

// measuredBefore tells which runs ended well in a record. A record of another plan is refused: its cells
// could mean something else.
func measuredBefore(before *record.Data, text string) (func(plan.Run) bool, error) {
	type key struct {
		cell   string
		round  int
		limits record.Params
	}
	done := map[key]bool{}
	for _, run := range before.Runs {
		if run.Manifest.Plan != text {
			return nil, cli.Usage{Err: errors.New("the study's file has changed since its record was begun: use another --out")}
		}
		for _, c := range run.Cells {
			if c.Status() == record.OK {
				done[key{c.Key, c.Round, limits(c.Params)}] = true
			}
		}
	}
	return func(r plan.Run) bool { return done[key{r.Cell.Key, r.Round, limits(r.Cell.Params)}] }, nil
}

// limits are a cell's settings without what is only known when it runs.
func limits(p record.Params) record.Params {
	p.Input, p.InputBytes = "", 0
	return p
}

// printCells lists what would be measured, in order.
func printCells(w io.Writer, x plan.Expanded, seed uint64) {
	for _, n := range x.Notes {
		fmt.Fprintf(w, "note: %s\n", strings.TrimSpace(stepOf(n.Step)+n.Text))
	}
	runs := plan.Order(x.Cells, seed)
	for _, r := range runs {
		fmt.Fprintf(w, "%s round %d\n", r.Cell.Key, r.Round+1)
	}
	fmt.Fprintf(w, "%d cells, measured %d times in all, in about %v once what the servers need is installed\n",
		len(x.Cells), len(runs), plan.Estimate(runs).Round(time.Minute))
}

func stepOf(id string) string {
	if id == "" {
		return ""
	}
	return "step " + id + ": "
}
