package service

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vitrine-project/vitrine/internal/batcher"
	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Pipeline writes one image into a row; *preproc.Pipeline is one. It is safe for concurrent use, only
// reads data and does not keep it, and its errors are *fault.Error.
type Pipeline interface {
	// Into decodes and preprocesses an image file.
	Into(data []byte, row tensor.Row) (preproc.Info, error)
	// PixelsInto preprocesses w x h RGB pixels.
	PixelsInto(pix []byte, w, h int, row tensor.Row) error
	// Footprint is the memory in bytes that Into needs for this image, from its headers alone.
	Footprint(data []byte) (int64, error)
}

// sharer is implemented by pipelines of which cards do a share.
type sharer interface {
	// Decoded is how many images the processor decoded, how many cards did, and how many a card gave back.
	Decoded() (processor, cards, returned int64)
}

// Options make an Images.
type Options struct {
	Name, Version string // what protocols call the model
	Engine        engine.Engine
	Pipeline      Pipeline
	// Metadata holds what neither the engine nor Name and Version say: the model's and its weights'
	// names, the space, the plan. The other fields are filled in.
	Metadata Metadata
	Batcher  batcher.Config
	// DecodeWorkers is how many images are decoded at once; 0 is one a processor.
	DecodeWorkers int
	// DecodeMemory bounds the memory in bytes of the images being decoded; 0 is DefaultDecodeMemory.
	DecodeMemory int64
	// Metrics is where the model reports; nil reports nowhere.
	Metrics *telemetry.Metrics
	Logger  *slog.Logger // nil is slog.Default()
}

// Images is the image pipeline over one engine. It owns the engine.
type Images struct {
	meta     Metadata
	spec     engine.Spec
	engine   engine.Engine
	pipeline Pipeline
	batch    *batcher.Batcher
	decoding *allowance
	metrics  *telemetry.ModelMetrics
	log      *slog.Logger

	gate    gate
	proven  atomic.Bool  // a real inference succeeded
	pending atomic.Int64 // requests of which no item is being computed yet
	window  int          // items of one request that are under way at once
}

var _ Model = (*Images)(nil)

// New puts a model together. It is not ready before WarmUp.
func New(o Options) (*Images, error) {
	spec := o.Engine.Spec()
	m := &Images{spec: spec, engine: o.Engine, pipeline: o.Pipeline, log: o.Logger}
	if m.log == nil {
		m.log = slog.Default()
	}
	cfg := o.Batcher
	cfg.OnExecution = m.executed(o.Batcher.OnExecution)
	if cfg.Logger == nil {
		cfg.Logger = m.log
	}
	var err error
	if m.batch, err = batcher.New(o.Engine, cfg); err != nil {
		return nil, err
	}
	workers := o.DecodeWorkers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	m.decoding = newAllowance(workers, o.DecodeMemory)
	m.meta = describe(&o, spec, m.batch.MaxBatch())
	m.window = window(spec.InFlight, m.batch.MaxBatch(), workers, cfg.MaxQueueSize)
	m.metrics = m.report(o.Metrics)
	return m, nil
}

// window is enough to keep every instance at its largest batch with the next one ready and the
// decoders busy, and never more than the queue holds: a request of a thousand images does not fill
// the queue with itself, and is not refused for being long.
func window(inFlight, maxBatch, workers, queue int) int {
	n := (inFlight+1)*maxBatch + workers
	if queue > 0 {
		n = min(n, queue)
	}
	return n
}

func describe(o *Options, spec engine.Spec, maxBatch int) Metadata {
	d := o.Metadata
	d.Name, d.Version = o.Name, o.Version
	d.Engine, d.Variant, d.Device = spec.Name, spec.Variant, spec.Device
	d.Precision = string(spec.Precision)
	d.Dim = spec.Outputs[0].Dim
	d.ImageSize = spec.Width
	d.MaxBatch = maxBatch
	d.Instances = spec.InFlight
	return d
}

// report registers the model's metrics; without a registry they go to one that nobody scrapes.
func (m *Images) report(metrics *telemetry.Metrics) *telemetry.ModelMetrics {
	if metrics == nil {
		metrics = telemetry.NewMetrics(telemetry.MetricsOptions{})
	}
	return metrics.Model(telemetry.ModelLabels{
		Name: m.meta.Name, Version: m.meta.Version, Space: m.meta.Space,
		Engine: m.meta.Engine, Precision: m.meta.Precision, Synthetic: m.meta.Synthetic,
	}, m.live)
}

// live is what metrics ask at a scrape.
func (m *Images) live() telemetry.Live {
	l := telemetry.Live{
		Pending:  int(m.pending.Load()),
		Queued:   m.batch.QueueDepth(),
		InFlight: m.gate.inside(),
	}
	if s, ok := m.pipeline.(sharer); ok {
		d := telemetry.DecodedBy{}
		d.Processor, d.Cards, d.Returned = s.Decoded()
		l.Decoded = &d
	}
	for _, d := range deviceStates(m.engine) {
		l.Devices = append(l.Devices, telemetry.Device{Name: d.Name, UUID: d.UUID, Up: d.Up, Running: d.Running, Executions: d.Executions,
			Items: d.Items, Busy: d.Busy, Failures: d.Failures, Retries: d.Retries, Returns: d.Returns})
	}
	return l
}

// Device is the state of one of the devices that a model is computed on.
type Device struct {
	Name  string // "cpu", "gpu:0"
	Up    bool
	Why   string // why it is not up
	Since time.Time
}

// Devices is the state of each device, nil for an engine that cannot lose one.
func (m *Images) Devices() (all []Device) {
	for _, d := range deviceStates(m.engine) {
		all = append(all, Device{d.Name, d.Up, d.Why, d.Since})
	}
	return all
}

func deviceStates(e engine.Engine) []engine.DeviceStatus {
	if d, ok := e.(engine.Devices); ok {
		return d.Devices()
	}
	return nil
}

// anyUp tells whether there is something to compute on: one device of several is enough.
func anyUp(all []engine.DeviceStatus) bool {
	return len(all) == 0 || slices.ContainsFunc(all, func(d engine.DeviceStatus) bool { return d.Up })
}

// executed counts executions from the first real inference on, so that warming up leaves no trace.
func (m *Images) executed(also func(batcher.Execution)) func(batcher.Execution) {
	return func(e batcher.Execution) {
		if m.proven.Load() {
			m.metrics.ObserveExecution(e.Size)
		}
		if also != nil {
			also(e)
		}
	}
}

// Metadata implements Model.
func (m *Images) Metadata() Metadata { return m.meta }

// Ready implements Model.
func (m *Images) Ready() bool {
	return m.proven.Load() && m.gate.open() && m.batch.Err() == nil && anyUp(deviceStates(m.engine))
}

// Stats is what the batcher has done and is doing, warming up included.
func (m *Images) Stats() batcher.Stats { return m.batch.Stats() }

// Metrics are the model's metrics.
func (m *Images) Metrics() *telemetry.ModelMetrics { return m.metrics }

// Infer implements Model.
func (m *Images) Infer(ctx context.Context, r *Request) (*Response, error) {
	m.pending.Add(1)
	c := newCall(m, r)
	err := m.infer(ctx, c)
	c.Begin() // if nothing was computed it is pending no more
	line := telemetry.Fold(c.lines)
	if !r.Trial {
		m.metrics.Observe(&line, c.lines, telemetry.Outcome{Answered: c.answered(), Err: err})
	}
	if err != nil {
		return nil, err
	}
	return &Response{Results: c.results, Timeline: line}, nil
}

// infer is the whole path of a request: each item on its own, side by side, is decoded into a row,
// waits for a batch, is computed and normalised. A slow image holds nobody up, since it takes its
// place in the queue only when it is finished, and a bad one leaves no hole.
//
// The first failure cancels the others, unless the request takes partial answers. The items of a
// whole request wait for each other and then run as one batch.
func (m *Images) infer(ctx context.Context, c *call) error {
	if err := m.validate(c.request); err != nil {
		return err
	}
	if !m.gate.enter() {
		return fault.New(fault.Unavailable, "the server is shutting down")
	}
	defer m.gate.leave()
	c.allocate(m.spec)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	c.each(m.window, func(i int) {
		err := m.prepare(ctx, c, i)
		if err == nil && !c.request.Whole {
			err = m.compute(ctx, c, i, i+1)
		}
		if err != nil && c.fail(i, err) {
			cancel()
		}
	})
	if c.request.Whole && c.failure == nil {
		if err := m.compute(ctx, c, 0, len(c.rows)); err != nil {
			c.fail(-1, err)
		}
	}
	c.releaseUnused()
	if c.failure != nil {
		return c.failure
	}
	return nil
}

// validate refuses what can be refused before any work is done.
func (m *Images) validate(r *Request) error {
	n := len(r.Items)
	switch {
	case n == 0:
		return fault.New(fault.Invalid, "must hold at least one item").In(r.Field)
	case r.Whole && n > m.meta.MaxBatch:
		return fault.New(fault.Invalid, "a batch of %d is larger than the model's largest, %d", n, m.meta.MaxBatch).In(r.Field)
	case r.Partial && !r.Whole:
		return nil // each item answers for itself
	}
	for i := range r.Items {
		if err := m.validateItem(&r.Items[i]); err != nil {
			return locate(err, r.Field, i)
		}
	}
	return nil
}

// validateItem refuses an item that its kind and length already condemn.
func (m *Images) validateItem(it *Item) error {
	switch it.Kind {
	case Encoded:
		if len(it.Data) == 0 {
			return fault.New(fault.Invalid, "the image is empty")
		}
	case Pixels:
		if it.Width < 1 || it.Height < 1 || len(it.Data)/3/it.Width != it.Height || len(it.Data)%(3*it.Width) != 0 {
			return fault.New(fault.Invalid, "%d bytes are not %d x %d RGB pixels", len(it.Data), it.Width, it.Height)
		}
	case Tensor:
		if !m.spec.Accepts(tensor.FormatFloat32CHW) {
			return fault.New(fault.Unimplemented, "the %s engine does not take preprocessed tensors", m.spec.Name)
		}
		if got, want := it.tensor().Len(), tensor.FormatFloat32CHW.Size(m.spec.Width, m.spec.Height); got != want {
			return fault.New(fault.Invalid, "the tensor has %d bytes, float32 [3, %d, %d] has %d",
				got, m.spec.Height, m.spec.Width, want)
		}
	case Text:
		return fault.New(fault.Unimplemented, "text embeddings are not served: model %s embeds images only", m.meta.Name)
	default:
		return fault.New(fault.Internal, "an item of unknown kind %d", it.Kind)
	}
	return nil
}

// compute runs prepared rows from..to as one part of a batch and finishes their embeddings.
func (m *Images) compute(ctx context.Context, c *call, from, to int) error {
	var line telemetry.Timeline
	part := batcher.Part{
		Rows: c.rows[from:to], Out: c.out[from:to],
		Priority: c.request.Priority, Timeout: c.request.Timeout, Begun: c,
	}
	err := m.batch.Do(ctx, part, &line)
	clear(c.rows[from:to]) // the batcher has released them
	for i := from; i < to; i++ {
		c.lines[i].BatchSize = line.BatchSize
		copy(c.lines[i].At[telemetry.Queued:telemetry.Sent], line.At[telemetry.Queued:telemetry.Sent])
		if err == nil {
			err = m.finish(c, i)
		}
	}
	return err
}

// finish makes row i's embedding its item's result.
func (m *Images) finish(c *call, i int) error {
	v := c.out[i][:m.meta.Dim]
	if err := finishVector(v, c.request.Normalize); err != nil && !c.asGiven(i) {
		return locate(c.blame(i, err), c.request.Field, i)
	}
	c.results[i].Embedding = v
	return nil
}

// Drain makes the model refuse new requests and waits until those accepted are answered, those whose
// images are still being decoded included. It returns the context's error if that ends first.
func (m *Images) Drain(ctx context.Context) error {
	m.gate.close()
	if err := m.gate.wait(ctx); err != nil {
		return err
	}
	return m.batch.Drain(ctx)
}

// Close fails what is still queued with fault.Unavailable, waits for what is being decoded or
// computed, and closes the engine. A second Close does nothing more.
func (m *Images) Close() error {
	m.gate.close()
	m.batch.Close()
	_ = m.gate.wait(context.Background())
	m.metrics.Forget()
	return m.engine.Close()
}

// String names the model in logs.
func (m *Images) String() string {
	return strings.TrimSuffix(m.meta.Name+"/"+m.meta.Version, "/")
}

// received is when the front began to read the request, or now where it did not say.
func received(r *Request) time.Time {
	if r.Received.IsZero() {
		return time.Now()
	}
	return r.Received
}
