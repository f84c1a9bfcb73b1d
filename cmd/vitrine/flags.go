package main

import (
	"math"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitrine-project/vitrine/internal/cardjpeg"
	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/model"
)

// modelFlags choose the weights. They mean the same in every command.
type modelFlags struct {
	reference string
	given     bool // by the command line, the environment or the file
	name, tag string
	seed      uint64
	outliers  bool

	preprocessing model.Preprocessing // a repository's model's, of an ONNX file
}

func (m *modelFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Model", func(fs *pflag.FlagSet) {
		fs.StringVar(&m.reference, "model", model.Default, "`REF` of the weights: a folder or file (safetensors with open_clip_config.json or "+
			"config.json, or ONNX), hub:owner/name[@revision], synthetic, or synthetic:ARCHITECTURE such as synthetic:ViT-B-16")
		fs.StringVar(&m.name, "model-name", "", "open_clip `NAME` that the model answers to, where its folder does not tell (ViT-B-32)")
		fs.StringVar(&m.tag, "pretrained", "", "open_clip `TAG` that the model answers to, where its folder does not tell (openai)")
		fs.Uint64Var(&m.seed, "synthetic-seed", 0, "`number` that synthetic weights are made from: the same number makes the same weights")
		fs.BoolVar(&m.outliers, "synthetic-outliers", false, "plant channels of large magnitude in synthetic weights, as trained transformers have them")
	})
}

// largestBatch is the most that --max-batch-size takes.
const largestBatch = 4096

// engineFlags choose what computes. They mean the same in every command.
type engineFlags struct {
	name, precision    string
	threads, instances int
	maxBatch           int
	calibration        string // the file, for fp8
	pinned             cli.Bytes
	torch              torchFlags
	nullLatency        time.Duration
	onnx               onnxFlags
}

// torchFlags are the PyTorch engine's own.
type torchFlags struct {
	python, device string
	compile        bool
}

const defaultPython = "python3"

func (e *engineFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Engine", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewChoice(&e.name, autoEngine, engineNames()...), "engine",
			"what computes: auto is what vitrine doctor --tune found fastest for the precision, else an NVIDIA GPU (cuda) before the processor (cpu); "+
				"onnxruntime computes on the processor, behind a colon with another of its providers, and is auto's choice for an ONNX file; torch is PyTorch in a Python worker; null computes nothing: its vectors mean nothing, and the rest can be measured")
		fs.Var(cli.NewChoice(&e.precision, "auto", precisionNames...), "precision",
			"numbers that the engine computes with: auto is fp16 on a GPU, bf16 where the processor has instructions for it, else fp32; fp8 is on Hopper cards only and needs --calibration; part of the space id")
		fs.StringVar(&e.calibration, "calibration", "", "`FILE` that vitrine model calibrate wrote for these weights, for --precision fp8")
		fs.Var(cli.NewCount(&e.instances, 1, 1, 1024), "instances", "batches that are computed at the same time: on each GPU, where 1 means 2 so that pixels move while a batch is computed, or on the processor, where they share the threads")
		fs.Var(cli.NewCount(&e.threads, 0, 0, 4096), "threads", "threads that compute on the processor, all instances together; 0 is one for each processor")
		fs.Var(cli.NewCount(&e.maxBatch, 0, 0, largestBatch), "max-batch-size",
			"`images` of the largest batch; 0 is what the engine prefers: 32, and on a GPU with --engine cuda 256 of ViT-B/32, fewer of larger models")
		fs.Var(&e.pinned, "pinned-memory", "`bytes` of host memory that each GPU of --engine cuda may pin for images of requests under way; more get 429; 0 is 1 GiB, or a quarter of --memory-budget where that is less")
		fs.DurationVar(&e.nullLatency, "null-latency", 0, "`time` that --engine null takes for a batch of any size, as a card of known speed would; 0 answers at once")
		fs.StringVar(&e.torch.python, "torch-python", defaultPython, "`PATH` of a Python that has torch, for --engine torch")
		fs.Var(cli.NewChoice(&e.torch.device, "auto", "auto", "cpu", "cuda"), "torch-device", "`DEVICE` of --engine torch: cpu, cuda (the cards of --gpus), or auto: cuda where there are cards")
		fs.BoolVar(&e.torch.compile, "torch-compile", false, "torch.compile for --engine torch: faster, after minutes of compilation for each batch size (1, 2, 4 and so on)")
	})
	e.onnx.define(fs)
}

// imageFlags bound and shape what happens to an image before the engine.
type imageFlags struct {
	workers   int
	memory    cli.Bytes
	maxBytes  cli.Bytes
	maxPixels int
	rotate    bool
	jpeg      string

	decode     string // where JPEG files are decoded
	cardMemory cli.Bytes
	nvjpeg     string // file of libnvjpeg
}

func (i *imageFlags) define(fs *pflag.FlagSet) {
	i.memory, i.maxBytes = 1<<30, 32<<20
	i.cardMemory = cardjpeg.DefaultMemory
	cli.Group(fs, "Images", func(fs *pflag.FlagSet) {
		fs.Var(cli.NewCount(&i.workers, 0, 0, 4096), "decode-workers", "`images` that are decoded at the same time; 0 is one for each processor")
		fs.Var(&i.memory, "decode-memory", "memory of all images being decoded, outside Go's heap included; more wait. The collector may hold about as much again until its next turn")
		fs.Var(&i.maxBytes, "max-image-size", "`bytes` of the largest image file, encoded")
		fs.Var(cli.NewCount(&i.maxPixels, 50_000_000, 1, math.MaxInt), "max-pixels", "`pixels` of the largest image, checked before it is decoded")
		fs.BoolVar(&i.rotate, "exif-rotate", false, "turn images upright as their EXIF says; open_clip does not, so this is another space")
		fs.Var(cli.NewChoice(&i.jpeg, "auto", "auto", "go", "turbo"), "jpeg",
			"JPEG decoder: turbo is libjpeg-turbo, loaded from the machine; go is built in; auto is turbo where it can be loaded")
		fs.Var(cli.NewChoice(&i.decode, onProcessor, onProcessor, "auto", "nvjpeg"), "decode",
			"where JPEG files are decoded and resized: cpu is the processor; nvjpeg is the cards that compute, by libnvjpeg, and the processor for what they cannot; "+
				"auto shares the load between both by measured rates. A card's pixels differ a little from Pillow's (docs/cuda.md)")
		fs.Var(&i.cardMemory, "decode-card-memory", "memory on each card for images being decoded there, nvJPEG's own buffers not counted; larger images are the processor's")
		fs.StringVar(&i.nvjpeg, "nvjpeg", "", "`FILE` of libnvjpeg, where the system's loader does not find it (pip install nvidia-nvjpeg)")
	})
}

// batchFlags are Triton's dynamic batching; they mean what they mean there.
type batchFlags struct {
	preferred []int
	delay     time.Duration
	queue     int
	timeout   time.Duration
	levels    int
}

func (b *batchFlags) define(fs *pflag.FlagSet) {
	cli.Group(fs, "Batching (as in Triton: whenever an instance is free it takes what waits)", func(fs *pflag.FlagSet) {
		fs.IntSliceVar(&b.preferred, "preferred-batch-size", nil, "`sizes` of batches, separated by commas: a free instance takes the largest of them that the queue fills, and what is beyond it stays")
		fs.DurationVar(&b.delay, "max-queue-delay", 0, "longest `time` that an image waits for a batch of a preferred size, or a full one where none is preferred, while an instance is free")
		fs.Var(cli.NewCount(&b.queue, 1024, 0, math.MaxInt), "max-queue-size", "`requests` that may wait for an instance, where each image of a request counts; more get 429 (/v2: 503, gRPC: UNAVAILABLE); 0 is no limit")
		fs.DurationVar(&b.timeout, "timeout", 0, "longest `time` in the queue, then 504 (/v2: 503, gRPC: UNAVAILABLE); 0 is no limit")
		fs.Var(cli.NewCount(&b.levels, 0, 0, 1024), "priority-levels", "levels of priority that requests may ask for, 1 the highest and the last the default; 0 is one level for all")
	})
}

// completeValues makes a shell complete the values that flags take.
func completeValues(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if choice, ok := f.Value.(*cli.Choice); ok {
			mustComplete(c, f.Name, cobra.FixedCompletions(choice.Words(), cobra.ShellCompDirectiveNoFileComp))
		}
	})
	if c.Flags().Lookup("model") != nil {
		mustComplete(c, "model", cobra.FixedCompletions(modelNames(), cobra.ShellCompDirectiveDefault))
	}
}

// mustComplete panics on an error of this program: a flag that does not exist, or twice the same.
func mustComplete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

// modelNames are the models that have a name of their own; a folder is completed as a file is.
func modelNames() []string {
	names := []string{model.Default, "synthetic"}
	for _, p := range model.Presets() {
		names = append(names, "synthetic:"+p, "synthetic:"+p+"-quickgelu")
	}
	return names
}
