package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
)

func modelCommand(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "model",
		Short: "Fetch, look at, write and calibrate models",
		Long: `A model is a folder or file (safetensors with open_clip_config.json or config.json beside it),
hub:owner/name[@revision], synthetic, or synthetic:ARCHITECTURE.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(pullCommand(std), inspectCommand(std), exportCommand(std), calibrateCommand(std))
	return c
}

// modelArgument is an optional REF that stands for --model.
func modelArgument(m *modelFlags, args []string) {
	if len(args) == 1 {
		m.reference, m.given = args[0], true
	}
}

func completeModel(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return modelNames(), cobra.ShellCompDirectiveDefault
}

func pullCommand(std streams) *cobra.Command {
	var m modelFlags
	c := &cobra.Command{
		Use:   "pull [REF]",
		Short: "Download a model into the Hugging Face cache",
		Long: `Pull downloads hub:owner/name[@revision] into the cache that Python's tools share, and prints the
folder. A download that was interrupted goes on where it stopped; checksums are verified.

$HF_ENDPOINT, $HF_TOKEN, $HF_HOME and $HF_HUB_CACHE mean what they mean there.`,
		Example:           "  vitrine model pull\n  vitrine model pull hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			modelArgument(&m, args)
			return runPull(cmd.Context(), &m, std)
		},
	}
	m.define(c.Flags())
	completeValues(c)
	return c
}

func inspectCommand(std streams) *cobra.Command {
	var m modelFlags
	var i imageFlags
	var l logFlags
	var asJSON, tensors bool
	c := &cobra.Command{
		Use:   "inspect [REF]",
		Short: "Print a model's shapes, parameters, FLOPs, bytes and space ids",
		Long: `Inspect prints what a model is and what its vectors are comparable with. Of an ONNX file, whatever it
computes, it prints operator set, inputs, outputs, weights and how often each operator occurs.`,
		Example:           "  vitrine model inspect synthetic\n  vitrine model inspect ./my-clip --json | jq .spaces\n  vitrine model inspect clip.onnx",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			modelArgument(&m, args)
			if model.IsONNX(m.reference) {
				return inspectONNX(std.out, m.reference, asJSON)
			}
			loaded, err := m.open(cmd.Context(), l.logger(std.err), std.err)
			if err != nil {
				return err
			}
			defer loaded.Close()
			report := inspect(loaded, i.rotate)
			if asJSON {
				return writeJSON(std.out, report)
			}
			return report.table(std.out, tensors)
		},
	}
	c.Flags().SortFlags = false
	cli.Group(c.Flags(), "Output", func(fs *pflag.FlagSet) {
		fs.BoolVar(&asJSON, "json", false, "print JSON")
		fs.BoolVar(&tensors, "tensors", false, "list every tensor")
	})
	cli.TypedOnly(c.Flags(), "json", "tensors")
	m.define(c.Flags())
	c.Flags().BoolVar(&i.rotate, "exif-rotate", false, "the space ids of a server that turns images upright")
	l.define(c.Flags(), "warn")
	completeValues(c)
	return c
}

// exportOptions are the flags of `vitrine model export`.
type exportOptions struct {
	format, output, precision string
	opset                     int
	external                  bool
}

func exportCommand(std streams) *cobra.Command {
	var m modelFlags
	var l logFlags
	var o exportOptions
	c := &cobra.Command{
		Use:   "export [REF] --output FOLDER",
		Short: "Write a model as safetensors, as ONNX, or as a model repository",
		Long: `Export writes what is loaded, synthetic weights included, to FOLDER: open_clip_model.safetensors and
open_clip_config.json. Anyone can then check Vitrine's embeddings in PyTorch.

With --format onnx it writes FOLDER/model.onnx (or the file that --output names, if it ends in .onnx):
image float32 [batch, 3, size, size], normalised, to embedding float32 [batch, dim], not scaled to
length 1. Weights of more than 2 GB go to model.onnx.data beside it.

With --format repository FOLDER becomes a model repository in Triton's layout, for
vitrine serve --model-repository FOLDER: the model, and two that share its queue, for pixels and for
image files.`,
		Example: "  vitrine model export synthetic --format safetensors --output exported\n" +
			"  vitrine model export --format onnx --opset 14 --output clip.onnx\n" +
			"  vitrine model export synthetic --format repository --output models",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			modelArgument(&m, args)
			if err := o.check(cmd.Flags()); err != nil {
				return err
			}
			loaded, err := m.open(cmd.Context(), l.logger(std.err), std.err)
			if err != nil {
				return err
			}
			defer loaded.Close()
			if err := o.run(loaded); err != nil {
				return err
			}
			fmt.Fprintln(std.out, o.output)
			return nil
		},
	}
	c.Flags().SortFlags = false
	cli.Group(c.Flags(), "Output", func(fs *pflag.FlagSet) {
		fs.StringVarP(&o.output, "output", "o", "", "`FOLDER` to write to, made if it is not there; for onnx also a file that ends in .onnx")
		fs.Var(cli.NewChoice(&o.format, "safetensors", "safetensors", "onnx", "repository"), "format",
			"safetensors: the weights and their configuration; onnx: the graph with its weights; repository: safetensors in a model repository")
	})
	cli.Group(c.Flags(), "ONNX", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewCount(&o.opset, model.DefaultOpset, model.MinOpset, model.MaxOpset), "opset", "operator set `version`; below 17 LayerNormalization is written out, from 20 on Gelu is one operator")
		fs.Var(cli.NewChoice(&o.precision, "fp32", "fp32", "fp16"), "onnx-precision", "numbers of weights and computation; input and output are float32 in any case")
		fs.BoolVar(&o.external, "external-data", false, "weights in a file beside the model, also below 2 GB")
	})
	cli.TypedOnly(c.Flags(), onnxExportFlags...)
	m.define(c.Flags())
	l.define(c.Flags(), "warn")
	completeValues(c)
	return c
}

var onnxExportFlags = []string{"opset", "onnx-precision", "external-data"}

// check refuses flags that would have no effect.
func (o *exportOptions) check(fs *pflag.FlagSet) error {
	if o.output == "" {
		return cli.Usage{Err: fmt.Errorf("--output is missing: a folder to write to")}
	}
	for _, name := range onnxExportFlags {
		if o.format != "onnx" && fs.Changed(name) {
			return cli.Usage{Err: fmt.Errorf("--%s is for --format onnx", name)}
		}
	}
	return nil
}

func (o *exportOptions) run(m *model.Model) error {
	onnx := model.ONNXOptions{Opset: o.opset, Half: o.precision == "fp16", ExternalData: o.external}
	switch {
	case o.format == "repository":
		return exportRepository(m, o.output, exportedBatch)
	case o.format == "safetensors":
		return model.Export(m, o.output)
	case strings.HasSuffix(o.output, ".onnx"):
		return model.ExportONNX(m, o.output, onnx)
	}
	return model.ExportONNXFolder(m, o.output, onnx)
}

// exportedBatch is the max_batch_size of exported repositories, which name the processor: what its engine prefers.
const exportedBatch = 32

// inspection is what `model inspect` prints, and its JSON.
type inspection struct {
	Source        string             `json:"source"`
	Path          string             `json:"path,omitempty"`
	Synthetic     bool               `json:"synthetic"`
	ModelName     string             `json:"model_name"`
	Pretrained    string             `json:"pretrained"`
	Architecture  string             `json:"architecture"`
	ImageSize     int                `json:"image_size"`
	PatchSize     int                `json:"patch_size"`
	Tokens        int                `json:"tokens"`
	Width         int                `json:"width"`
	Layers        int                `json:"layers"`
	Heads         int                `json:"heads"`
	MLP           int                `json:"mlp"`
	EmbedDim      int                `json:"embed_dim"`
	Activation    string             `json:"activation"`
	Parameters    int64              `json:"parameters"`
	Bytes         int64              `json:"bytes"`
	FLOPs         int64              `json:"flops_per_image"`
	WeightsHash   string             `json:"weights_hash"`
	Preprocessing string             `json:"preprocessing"`
	PlanHash      string             `json:"plan_hash"`
	Spaces        map[string]string  `json:"spaces"` // by precision
	Tensors       []model.TensorInfo `json:"tensors"`
}

func inspect(m *model.Model, rotate bool) inspection {
	i, c := model.Inspect(m), m.Config
	plan := preproc.PlanFor(c)
	plan.EXIF = rotate
	return inspection{
		Source: i.Source.Reference, Path: i.Source.Path, Synthetic: i.Source.Synthetic,
		ModelName: i.Source.ModelName, Pretrained: i.Source.Pretrained, Architecture: c.Architecture,
		ImageSize: c.ImageSize, PatchSize: c.PatchSize, Tokens: c.Tokens(), Width: c.Width, Layers: c.Layers,
		Heads: c.Heads, MLP: c.MLP, EmbedDim: c.EmbedDim, Activation: c.Activation.String(),
		Parameters: i.Parameters, Bytes: i.Bytes, FLOPs: i.FLOPs, WeightsHash: i.WeightsHash,
		Preprocessing: plan.String(), PlanHash: plan.Hash(), Spaces: spaces(m, plan), Tensors: i.Tensors,
	}
}

func (r inspection) table(out io.Writer, tensors bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("source", "%s", r.Source)
	if r.Path != "" {
		row("file", "%s", r.Path)
	}
	if r.Synthetic {
		row("weights", "SYNTHETIC: embeddings mean nothing")
	}
	row("answers to", "model_name %q, pretrained %q", r.ModelName, r.Pretrained)
	row("architecture", "%s: %d layers, width %d, %d heads, MLP %d, %s", r.Architecture, r.Layers, r.Width, r.Heads, r.MLP, r.Activation)
	row("input", "%dx%d pixels in patches of %d: %d tokens", r.ImageSize, r.ImageSize, r.PatchSize, r.Tokens)
	row("preprocessing", "%s", r.Preprocessing)
	row("embedding", "%d floats", r.EmbedDim)
	row("parameters", "%.1f million, %s as stored, %d tensors", float64(r.Parameters)/1e6, cli.FormatBytes(r.Bytes), len(r.Tensors))
	row("work", "%.2f GFLOP an image", float64(r.FLOPs)/1e9)
	row("weights hash", "%s", r.WeightsHash)
	for _, p := range sortedKeys(r.Spaces) {
		row("space "+p, "%s", r.Spaces[p])
	}
	if tensors {
		row("", "")
		for _, t := range r.Tensors {
			row(t.Name, "%s %s", t.DType, strings.Join(strings.Fields(fmt.Sprint(t.Shape)), " "))
		}
	}
	return w.Flush()
}

func sortedKeys(m map[string]string) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
