package scenario

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// serialization times an encoder or a parser on one format and batch.
func (r *Runner) serialization(ctx context.Context, j *job) outcome {
	images, err := r.images(j)
	if err != nil {
		return failed(err)
	}
	p, began := j.params(), time.Now()
	var e encoding
	name := "encode"
	switch p.Encoder {
	case "python":
		e, err = encodePython(ctx, r.Python, p.Format, &images[0], p.Batch, p.Requests, p.Warmup)
	case "server":
		name = "decode"
		e, err = decodeServer(ctx, p.Format, &images[0], p.Batch, p.Requests, p.Warmup)
	default:
		e, err = encodeGo(ctx, p.Format, &images[0], p.Batch, p.Requests, p.Warmup)
	}
	if err != nil {
		return failed(err)
	}
	return r.measured(began,
		record.Measure{Cell: j.id, Name: name, Unit: "ms", Values: e.times, Note: e.note},
		record.Measure{Cell: j.id, Name: "payload", Unit: "bytes", Values: []float64{float64(e.bytes)}})
}

// profile has an engine tell where the time of its runs goes.
func (r *Runner) profile(ctx context.Context, j *job) outcome {
	images, err := r.images(j)
	if err != nil {
		return failed(err)
	}
	e, err := r.Open(ctx, j.target)
	if err != nil {
		return failed(err)
	}
	defer e.Close()
	profiler, ok := e.Engine.(engine.Profiler)
	if !ok {
		return failed(fmt.Errorf("the engine %q cannot profile; --ort-trace reads a trace of ONNX Runtime", e.Spec().Name))
	}
	began := time.Now()
	times, err := profiled(ctx, e.Engine, profiler, images, j.params())
	if err != nil {
		return failed(err)
	}
	for _, o := range profiler.Operators() {
		if err := r.Log.Write(record.Operator{Cell: j.id, Name: o.Name, Total: o.Total, Count: int(o.Calls), Where: cmp.Or(o.Where, "host"),
			FLOPs: o.FLOPs, Bytes: o.Bytes}); err != nil {
			return failed(err)
		}
	}
	run := record.Measure{Cell: j.id, Name: "model_run", Unit: "ms", Values: times,
		Note: fmt.Sprintf("runs of %d rows while profiling", j.params().Batch)}
	x, explains := profiler.(engine.Explainer)
	if !explains {
		return r.measured(began, run)
	}
	about := x.Explain()
	run.Note = fmt.Sprintf("runs of %d rows without profiling; operators: %s", j.params().Batch, about.Means)
	return r.measured(began, append(peaks(j.id, about), run)...)
}

// peaks are what a profiler says of its device, as measures.
func peaks(cell int, x engine.Explanation) (all []record.Measure) {
	for _, peak := range []struct {
		name, unit string
		value      float64
	}{{"peak_flops", "FLOP/s", x.PeakFLOPs}, {"peak_bytes", "bytes/s", x.PeakBytes}} {
		if peak.value > 0 {
			all = append(all, record.Measure{Cell: cell, Name: peak.name, Unit: peak.unit, Values: []float64{peak.value},
				Note: "of the device, by its highest clocks"})
		}
	}
	return all
}

// profiled runs batches of images with profiling on, after a warm-up with it off. The times are those of these runs;
// where the profiler explains itself, because it changes how a run is computed, those of as many runs without it.
func profiled(ctx context.Context, e engine.Engine, p engine.Profiler, images []target.Image, params *record.Params) ([]float64, error) {
	rows := make([]tensor.Row, params.Batch)
	out := make([][]float32, params.Batch)
	for i := range rows {
		row, err := fillRow(e, &images[i%len(images)])
		if err != nil {
			return nil, err
		}
		defer row.Release()
		rows[i], out[i] = row, make([]float32, e.Spec().Dim())
	}
	run := func() error { _, err := e.Run(ctx, rows, out); return err }
	if _, err := repeat(ctx, 0, params.Warmup, run); err != nil {
		return nil, err
	}
	var plain []float64
	_, explains := p.(engine.Explainer)
	if explains {
		var err error
		if plain, err = repeat(ctx, params.Requests, 0, run); err != nil {
			return nil, err
		}
	}
	p.Profile(true)
	defer p.Profile(false)
	times, err := repeat(ctx, params.Requests, 0, run)
	if explains {
		times = plain
	}
	return times, err
}

// fillRow makes a row of an image in the engine's cheapest format.
func fillRow(e engine.Engine, image *target.Image) (tensor.Row, error) {
	format := e.Spec().Formats[0]
	row, err := e.NewRow(format)
	if err != nil {
		return nil, err
	}
	switch {
	case format == tensor.FormatUint8HWC && len(image.Pixels) == len(row.Bytes()):
		copy(row.Bytes(), image.Pixels)
	case format == tensor.FormatFloat32CHW && 4*len(image.Tensor) == len(row.Bytes()):
		copy(tensor.Float32s(row.Bytes()), image.Tensor)
	default:
		row.Release()
		return nil, fmt.Errorf("an input of %dx%d pixels is not what the engine takes (%v, %d bytes)", image.Width, image.Height, format, len(row.Bytes()))
	}
	return row, nil
}

// ORTProfile writes the operator table of an ONNX Runtime trace, and the model's facts where its file is
// named, as a cell of its own.
func (r *Runner) ORTProfile(subject record.Subject, tracePath, modelPath string, warmup int) error {
	f, err := os.Open(tracePath)
	if err != nil {
		return err
	}
	defer f.Close()
	trace, err := ReadORTTrace(f, warmup)
	if err != nil {
		return fmt.Errorf("%s: %w", tracePath, err)
	}
	r.ids++
	id, key := r.ids, "profile/"+subject.Name
	events := []record.Event{subject, record.Cell{ID: id, Key: key, Scenario: record.Profile, Subject: subject.Name,
		Params: record.Params{Warmup: trace.Skipped, Requests: len(trace.Runs)}, At: r.now()}}
	if modelPath != "" {
		m, err := DescribeONNX(modelPath)
		if err != nil {
			return err
		}
		m.Cell = id
		events = append(events, m)
	}
	runs, inside := make([]float64, len(trace.Runs)), trace.Inside
	var total time.Duration
	for i, t := range trace.Runs {
		runs[i], total = milliseconds(t), total+t
	}
	for _, o := range trace.Operators {
		o.Cell = id
		events = append(events, o)
	}
	end := record.CellEnd{Cell: id, Status: record.OK, Elapsed: total}
	if trace.CutOff {
		end.Reasons = append(end.Reasons, "the trace is cut off: ONNX Runtime writes a million events at most")
	}
	if len(runs) > 0 {
		events = append(events, record.Measure{Cell: id, Name: "model_run", Unit: "ms", Values: runs},
			record.Measure{Cell: id, Name: "outside_operators", Unit: "ms", Values: []float64{milliseconds(total - inside)},
				Note: "all runs less all operators: what the executor itself takes, or what ran in parallel if negative"})
	}
	end.At = r.now()
	return r.Log.Write(append(events, end)...)
}
