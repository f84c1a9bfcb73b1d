package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// calibrateOptions are the flags of `vitrine model calibrate`.
type calibrateOptions struct {
	images    []string
	most      int
	output    string
	minCosine float64
	threads   int
	model     modelFlags
	image     imageFlags
	log       logFlags
}

func calibrateCommand(std streams) *cobra.Command {
	var o calibrateOptions
	c := &cobra.Command{
		Use:   "calibrate [REF] --images FOLDER --output FILE",
		Short: "Find the scales that --precision fp8 needs, from a folder of images",
		Long: `Calibrate computes images on the processor in float32, notes how large the numbers in the model become,
and finds out which layers can be in 8-bit floating point (E4M3): as many as leave the embedding of
every image at a cosine of at least --min-cosine with float32's. The others stay in fp16. The work and
the file are the same whatever card will compute; no card is needed.

Some hundred images like those that will be served are enough. The file belongs to these weights: it is
refused with any other.

Use it with  vitrine serve --engine cuda --precision fp8 --calibration FILE  on a Hopper card. The engine
compares itself with its own float32 when it starts. fp8's kernels are ` + fp8Untested + `.`,
		Example: "  vitrine model calibrate --images photos/ --output vit-b-32.fp8.json\n" +
			"  vitrine model calibrate ./my-clip --images photos/ --min-cosine 0.9995 --output my-clip.fp8.json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			modelArgument(&o.model, args)
			return o.run(cmd.Context(), std)
		},
	}
	c.Flags().SortFlags = false
	cli.Group(c.Flags(), "Calibration", func(fs *pflag.FlagSet) {
		fs.StringArrayVar(&o.images, "images", nil, "`PATH` of images: a folder, a file or a quoted pattern; again for more")
		fs.StringVarP(&o.output, "output", "o", "", "`FILE` to write")
		fs.Var(cli.NewCount(&o.most, 256, 1, 1<<16), "max-images", "`images` that are used at most; of more, an even choice")
		fs.Float64Var(&o.minCosine, "min-cosine", 0.9992, "lowest `COSINE` with float32 that an image may have; the contract of fp8 is 0.999")
		fs.Var(cli.NewCount(&o.threads, 0, 0, 4096), "threads", "threads that compute; 0 is one for each processor")
	})
	cli.TypedOnly(c.Flags(), "images", "output", "max-images", "min-cosine")
	o.model.define(c.Flags())
	o.image.define(c.Flags())
	o.log.define(c.Flags(), "warn")
	completeValues(c)
	return c
}

// check refuses flags that make no sense.
func (o *calibrateOptions) check() error {
	switch {
	case len(o.images) == 0:
		return cli.Usage{Err: errors.New("--images is missing: a folder of images like those that will be served")}
	case o.output == "":
		return cli.Usage{Err: errors.New("--output is missing: a file to write the calibration to")}
	case !(o.minCosine > 0 && o.minCosine < 1):
		return cli.Usage{Err: fmt.Errorf("--min-cosine %v: want a number between 0 and 1", o.minCosine)}
	}
	return nil
}

func (o *calibrateOptions) run(ctx context.Context, std streams) error {
	if err := o.check(); err != nil {
		return err
	}
	files, err := listInputs(o.images, "")
	if err != nil {
		return err
	}
	if model.IsONNX(o.model.reference) {
		return cli.Usage{Err: fmt.Errorf("%s is ONNX: --precision fp8 computes safetensors only", o.model.reference)}
	}
	limitMemory()
	m, err := o.model.open(ctx, o.log.logger(std.err), std.err)
	if err != nil {
		return err
	}
	defer m.Close()
	plan := preproc.PlanFor(m.Config)
	plan.EXIF = o.image.rotate
	images, err := o.pixels(ctx, plan, evenly(files, o.most), std.err)
	if err != nil {
		return err
	}
	bar := cli.NewProgress(std.err, "calibrate", cli.Items, 0, 0)
	c, err := fp8.Calibrate(ctx, m, images, fp8.Options{
		Threads: o.threads, MinCosine: o.minCosine, Model: m.Source.Reference, Plan: plan.String(), Program: readBuild().Version,
		Progress: func(done, all int) { bar.Set(int64(done), int64(all)) },
	})
	bar.Finish()
	if err != nil {
		return err
	}
	if err := c.Write(o.output); err != nil {
		return err
	}
	return printCalibration(std.out, o.output, c)
}

// evenly is at most n of files, spread over all of them.
func evenly(files []string, n int) []string {
	if len(files) <= n {
		return files
	}
	chosen := make([]string, n)
	for i := range chosen {
		chosen[i] = files[i*len(files)/n]
	}
	return chosen
}

// pixels decodes files into what the model sees. One that is no image is named and left out.
func (o *calibrateOptions) pixels(ctx context.Context, plan preproc.Plan, files []string, report io.Writer) ([][]byte, error) {
	p, err := preproc.New(plan, o.image.options())
	if err != nil {
		return nil, err
	}
	rows := engine.NewRowPool(plan.Size, plan.Size, 0, tensor.FormatUint8HWC)
	var images [][]byte
	for _, path := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row, err := rows.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			return nil, err
		}
		data, err := readAtMost(path, int64(o.image.maxBytes))
		if err == nil {
			_, err = p.Into(data, row)
		}
		if err != nil {
			fmt.Fprintf(report, "left out: %s: %v\n", path, err)
			continue
		}
		images = append(images, row.Bytes())
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("none of %d files is an image that can be decoded", len(files))
	}
	return images, nil
}

// printCalibration says what is in fp8, what each part costs, and what comes of it.
func printCalibration(w io.Writer, path string, c *fp8.Calibration) error {
	t := newTable(w, "BLOCK", "QKV", "ERROR ALONE", "MLP", "ERROR ALONE")
	for i, b := range c.Blocks {
		t.row(fmt.Sprint(i), inEight(b.QKV), alone(b.QKVError), inEight(b.FC1), alone(b.MLPError))
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s: %.0f %% of the blocks' products in fp8 by %d images; emulated cosine with float32 %.6f at least, %.6f in the mean\n",
		path, 100*c.Share, c.Images, c.MinCosine, c.MeanCosine)
	return err
}

func inEight(scale float32) string {
	if scale == 0 {
		return "fp16"
	}
	return "fp8"
}

// alone is 1 - cosine with one part in fp8.
func alone(e float64) string {
	if e == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1e", e)
}
