// Command ortworker runs Vitrine's ONNX Runtime engine behind a line protocol, so that direct_ort.py can
// time it in turn with the same library called from Python. It says first how its sessions are made, as one
// line of JSON; then it answers each order, a line of JSON, by one:
//
//	{"mode":"staged","batch":32,"runs":20}   the milliseconds of each run; modes are below
//	{"mode":"embed","batch":4}               the embeddings of four images
//
// staged: the input lies where it is computed. host: it is in the host's memory as float32. overlap: as host,
// but as many batches at a time as the engine takes; the time is that of all divided by their number.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func main() {
	var o onnxruntime.Options
	provider := flag.String("provider", "cpu", "cpu, openvino, cuda or tensorrt")
	precision := flag.String("precision", "auto", "fp32, fp16 or bf16")
	ref := flag.String("model", model.SyntheticReference, "the weights, or an ONNX file")
	flag.StringVar(&o.Library, "library", "", "ONNX Runtime's file")
	flag.StringVar(&o.Plugin, "plugin", "", "the provider's own library")
	flag.StringVar(&o.Cache, "cache", "", "folder of exported models and built engines")
	flag.IntVar(&o.Threads, "threads", 0, "of the processor's provider; 0 is all")
	flag.IntVar(&o.MaxBatch, "max-batch", 32, "images of the largest batch")
	flag.BoolVar(&o.CUDAGraph, "cuda-graph", false, "a CUDA graph for each size")
	flag.Func("option", "KEY=VALUE of the provider; again for more", func(text string) error {
		k, v, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("want KEY=VALUE")
		}
		if o.Settings == nil {
			o.Settings = map[string]string{}
		}
		o.Settings[k] = v
		return nil
	})
	flag.Parse()
	o.Provider, o.Precision, o.Instances = onnxruntime.Provider(*provider), engine.Precision(*precision), 2
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(context.Background(), *ref, o); err != nil {
		fmt.Fprintln(os.Stderr, "ortworker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, ref string, o onnxruntime.Options) error {
	m, err := model.Open(ctx, ref, model.OpenOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	e, err := onnxruntime.New(m, o)
	if err != nil {
		return err
	}
	defer e.Close()
	w := worker{engine: e, pixels: m.Config.PixelTable(), side: m.Config.ImageSize, answers: json.NewEncoder(os.Stdout)}
	hello := struct {
		onnxruntime.Setup
		Side, Dim int
		Spec      engine.Spec
	}{e.Setup(), m.Config.ImageSize, m.Config.EmbedDim, e.Spec()}
	if err := w.answers.Encode(hello); err != nil {
		return err
	}
	return w.serve(ctx)
}

type worker struct {
	engine  *onnxruntime.Engine
	pixels  model.PixelTable
	side    int
	answers *json.Encoder
}

type order struct {
	Mode        string
	Batch, Runs int
}

func (w *worker) serve(ctx context.Context) error {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return fmt.Errorf("order %q: %w", in.Text(), err)
		}
		answer, err := w.obey(ctx, o)
		if err != nil {
			return err
		}
		if err := w.answers.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) obey(ctx context.Context, o order) (any, error) {
	rows, err := w.rows(o.Batch)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, r := range rows {
			r.Release()
		}
	}()
	switch o.Mode {
	case "embed":
		out := w.outputs(o.Batch)
		_, err := w.engine.Run(ctx, rows, out)
		return out, err
	case "host":
		return timed(o.Runs, w.runner(ctx, rows))
	case "overlap":
		return w.overlapped(ctx, rows, o.Runs)
	case "staged":
		b, err := w.engine.Stage(ctx, rows)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		out := w.outputs(o.Batch)
		return timed(o.Runs, func() error { _, err := b.Run(ctx, out); return err })
	}
	return nil, fmt.Errorf("no mode %q", o.Mode)
}

func (w *worker) runner(ctx context.Context, rows []tensor.Row) func() error {
	out := w.outputs(len(rows))
	return func() error { _, err := w.engine.Run(ctx, rows, out); return err }
}

// timed is the milliseconds of each run; one before them does not count.
func timed(runs int, run func() error) (ms []float64, err error) {
	for i := range runs + 1 {
		start := time.Now()
		if err := run(); err != nil {
			return nil, err
		}
		if i > 0 {
			ms = append(ms, float64(time.Since(start))/1e6)
		}
	}
	return ms, nil
}

// overlapped is the time of runs batches on each of the engine's instances at once, divided by their number.
func (w *worker) overlapped(ctx context.Context, rows []tensor.Row, runs int) ([]float64, error) {
	n := w.engine.Spec().InFlight
	if err := w.runner(ctx, rows)(); err != nil {
		return nil, err
	}
	errs := make([]error, n)
	var all sync.WaitGroup
	start := time.Now()
	for i := range n {
		run := w.runner(ctx, rows)
		all.Go(func() {
			for range runs {
				if errs[i] = run(); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return []float64{float64(time.Since(start)) / 1e6 / float64(n*runs)}, errors.Join(errs...)
}

func (w *worker) outputs(n int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = make([]float32, w.engine.Spec().Dim())
	}
	return out
}

// rows are n normalised images whose bytes are the top byte of splitmix64 of their index, as planes() in
// direct_ort.py has them.
func (w *worker) rows(n int) (rows []tensor.Row, err error) {
	area, counter := w.side*w.side, uint64(0)
	for range n {
		r, err := w.engine.NewRow(tensor.FormatFloat32CHW)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
		planes := tensor.Float32s(r.Bytes())
		for at := range area {
			for c := range 3 {
				counter++
				planes[c*area+at] = w.pixels[c][mix(counter)>>56]
			}
		}
	}
	return rows, nil
}

func mix(counter uint64) uint64 {
	z := counter * 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
