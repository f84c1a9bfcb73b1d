package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/vectorfile"
)

// embedOptions are the flags of `vitrine embed`.
type embedOptions struct {
	output    string
	list      string
	normalize bool
	overwrite bool
	every     time.Duration // between checkpoints
	space     string
	model     modelFlags
	engine    engineFlags
	devices   deviceFlags
	image     imageFlags
	log       logFlags
}

func embedCommand(std streams) *cobra.Command {
	var o embedOptions
	c := &cobra.Command{
		Use:   "embed PATH... --output FILE",
		Short: "Turn images into a file of vectors",
		Long: `Embed writes one row for each image, in the order given, to a .npy, .jsonl or .parquet file.

PATH is a file, a folder (all .jpg, .jpeg, .jpe, .jfif, .png, .webp and .gif below it, sorted by
name, hidden ones left out) or a quoted pattern. An image that fails keeps its row (NaN or null,
with the reason), is named at the end and makes the exit code 3.

An interrupted run goes on where it stopped when the same command is given again: its journal is
FILE.journal. It does not go on with another model or other images.

  .npy      vectors, float32; beside it FILE.index.jsonl: what they are, then row, path, error
  .jsonl    a line each: row, path, space, embedding, error
  .parquet  columns path, embedding, error; the space id in the file's metadata`,
		Example: `  vitrine embed photos/ --output photos.parquet
  vitrine embed a.jpg b.png --output two.npy --model ./my-clip
  find / -name '*.jpg' | vitrine embed --files-from - --output all.npy`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.model.given = cmd.Flags().Changed("model")
			return runEmbed(cmd.Context(), &o, args, std)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	cli.Group(fs, "Input and output", func(fs *pflag.FlagSet) {
		fs.StringVarP(&o.output, "output", "o", "", "`FILE` to write; its ending says how: .npy, .jsonl, .parquet")
		fs.StringVar(&o.list, "files-from", "", "`FILE` with paths of images, one a line; - is standard input")
		fs.BoolVar(&o.normalize, "normalize", true, "scale each vector to length 1")
		fs.BoolVar(&o.overwrite, "overwrite", false, "replace a finished output, or start an interrupted one over")
		fs.DurationVar(&o.every, "checkpoint-interval", 2*time.Second, "`time` between checkpoints: what a crash costs at most")
		fs.StringVar(&o.space, "space", "", "`ID` of the vector space that is wanted; refuse to make vectors of another")
	})
	o.model.define(fs)
	o.engine.define(fs)
	o.devices.define(fs)
	o.image.define(fs)
	o.log.define(fs, "warn")
	completeValues(c)
	return c
}

func runEmbed(ctx context.Context, o *embedOptions, args []string, std streams) error {
	if o.output == "" {
		return cli.Usage{Err: errors.New("--output is missing: a name that ends in .npy, .jsonl or .parquet")}
	}
	if _, err := vectorfile.FormatOf(o.output); err != nil {
		return cli.Usage{Err: fmt.Errorf("--output: %w", err)}
	}
	files, err := listInputs(args, o.list)
	if err != nil {
		return err
	}
	limitMemory()
	log := o.log.logger(std.err)
	plant, err := buildPlant(ctx, plantOptions{
		model: o.model, engine: o.engine, devices: o.devices, image: o.image, space: o.space,
		log: log, progress: std.err,
	})
	if err != nil {
		return err
	}
	defer plant.Close()
	return embedTo(ctx, o, plant.images, files, std.err)
}

// embedTo writes the rows of files and tells the outcome on report.
func embedTo(ctx context.Context, o *embedOptions, m service.Model, files []string, report *os.File) (err error) {
	w, err := vectorfile.Open(vectorfile.Options{
		Output: o.output, Info: info(m.Metadata(), o.normalize), Inputs: digest(files), Overwrite: o.overwrite,
	})
	if err != nil {
		return explainOpen(err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if w.Rows() > 0 {
		fmt.Fprintf(report, "going on at row %d of %d\n", w.Rows(), len(files))
	}
	if err := embedRest(ctx, o, m, w, files, report); err != nil {
		if w.Rows() > 0 && ctx.Err() != nil {
			fmt.Fprintf(report, "stopped at row %d of %d; the same command goes on from there\n", w.Rows(), len(files))
		}
		return err
	}
	if err := w.Finish(); err != nil {
		return err
	}
	return summarize(report, o, m.Metadata(), w)
}

func embedRest(ctx context.Context, o *embedOptions, m service.Model, w *vectorfile.Writer, files []string, report *os.File) error {
	if w.Rows() == len(files) {
		return nil
	}
	bar := cli.NewProgress(report, "embed", cli.Items, int64(len(files)), int64(w.Rows()))
	defer bar.Finish()
	meta := m.Metadata()
	e := &embedder{model: m, normalize: o.normalize, maxBytes: int64(o.image.maxBytes),
		chunk: max(1, meta.MaxBatch), inFlight: 2 + max(1, meta.Instances)}
	saved := time.Now()
	err := e.run(ctx, files[w.Rows():], func(rows []vectorfile.Row) error {
		if err := w.Append(rows...); err != nil {
			return err
		}
		bar.Set(int64(w.Rows()), 0)
		if time.Since(saved) < o.every {
			return nil
		}
		saved = time.Now()
		return w.Checkpoint()
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func info(m service.Metadata, normalize bool) vectorfile.Info {
	return vectorfile.Info{
		Space: m.Space, Model: m.Source, ModelName: m.ModelName, Pretrained: m.Pretrained, Synthetic: m.Synthetic,
		Precision: m.Precision, Plan: m.Plan, Dim: m.Dim, Normalized: normalize,
	}
}

// explainOpen says what to do about an output that cannot be opened.
func explainOpen(err error) error {
	switch {
	case errors.Is(err, os.ErrExist):
		return cli.Usage{Err: fmt.Errorf("%w; --overwrite replaces it", err)}
	case errors.Is(err, vectorfile.ErrOther):
		return cli.Usage{Err: fmt.Errorf("%w; --overwrite starts over", err)}
	}
	return err
}

// namedFailures is how many failed images the summary names.
const namedFailures = 20

func summarize(w io.Writer, o *embedOptions, m service.Metadata, out *vectorfile.Writer) error {
	fmt.Fprintf(w, "%s: %d rows of %d floats, space %s\n", o.output, out.Rows(), m.Dim, m.Space)
	if m.Synthetic {
		fmt.Fprintln(w, "the weights are synthetic: these vectors mean nothing")
	}
	failed := out.Failed()
	if failed == 0 {
		return nil
	}
	fmt.Fprintf(w, "%d of %d images failed:\n", failed, out.Rows())
	for i, f := range out.Failures() {
		if i == namedFailures {
			fmt.Fprintf(w, "  and %d more, each named in the output\n", failed-i)
			break
		}
		fmt.Fprintf(w, "  row %d  %s: %s\n", f.Row, f.Path, f.Error)
	}
	return partial{failed}
}
