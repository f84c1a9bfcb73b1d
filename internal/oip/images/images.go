// Package images serves one image model as three models of the Open Inference Protocol, since an input
// there has one data type: preprocessed tensors, raw pixels, and encoded files. All three share the
// model's queue and engine.
package images

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Names of the models' tensors.
const (
	Input  = "image"
	Output = "embedding"
)

// Batching is how the service's queue is configured, for the models' configuration.
type Batching struct {
	Preferred      []int
	Delay          time.Duration
	Timeout        time.Duration
	QueueSize      int
	PriorityLevels int
	Instances      int     // on each of GPUs, or on the processor
	GPUs           []int32 // the cards that compute; none is the processor
}

// Options make a model.
type Options struct {
	Service  service.Model
	Metadata oip.Metadata // with one input and one output, whatever they are called
	Config   *oip.Config  // MaxBatchSize 0 is a model of single images, whose tensors have no batch dimension
}

// Model is one way into a service's model.
type Model struct {
	service service.Model
	kind    service.Kind
	meta    oip.Metadata
	config  *oip.Config
	size    int // bytes of one FP32 image
	dim     int
	stats   oip.Recorder
}

// kinds are what an input of a data type holds, and the shapes that it may be declared with: -1 is any
// size, side is the model's.
var kinds = map[tensor.DType]struct {
	kind  service.Kind
	shape []int64
	words string
}{
	tensor.FP32:  {service.Tensor, []int64{3, side, side}, "[3, %d, %[1]d], a preprocessed image"},
	tensor.Uint8: {service.Pixels, []int64{-1, -1, 3}, "[-1, -1, 3], an image's pixels"},
	tensor.Bytes: {service.Encoded, []int64{1}, "[1], an image file"},
}

const side = -2

// New returns the model, or says what in its tensors is not the service's model.
func New(o Options) (*Model, error) {
	s := o.Service.Metadata()
	m := &Model{service: o.Service, meta: o.Metadata, config: o.Config, dim: s.Dim, size: tensor.FormatFloat32CHW.Size(s.ImageSize, s.ImageSize)}
	if len(m.meta.Inputs) != 1 || len(m.meta.Outputs) != 1 {
		return nil, fault.New(fault.Invalid, "an image model has one input and one output, not %d and %d", len(m.meta.Inputs), len(m.meta.Outputs))
	}
	if err := m.checkInput(&m.meta.Inputs[0], int64(s.ImageSize)); err != nil {
		return nil, err
	}
	out := &m.meta.Outputs[0]
	if dims := m.item(out.Shape); out.DType != tensor.FP32 || len(dims) != 1 || dims[0] != int64(m.dim) && dims[0] != -1 {
		return nil, fault.New(fault.Invalid, "output '%s' must be FP32 [%d], the model's embedding, not %v %v", out.Name, m.dim, out.DType, dims)
	}
	return m, nil
}

// item is a declared shape without the batch dimension.
func (m *Model) item(shape []int64) []int64 {
	if m.config.MaxBatchSize > 0 {
		return shape[1:]
	}
	return shape
}

func (m *Model) checkInput(in *oip.TensorSpec, imageSize int64) error {
	k, ok := kinds[in.DType]
	if !ok {
		return fault.New(fault.Invalid, "input '%s' must be FP32 (preprocessed images), UINT8 (pixels) or BYTES (image files), not %v", in.Name, in.DType)
	}
	m.kind = k.kind
	dims := m.item(in.Shape)
	fits := len(dims) == len(k.shape)
	for i := 0; fits && i < len(dims); i++ {
		switch want := k.shape[i]; want {
		case -1: // any
		case side:
			fits = dims[i] == imageSize
		default:
			fits = dims[i] == want
		}
	}
	if !fits {
		want := k.words
		if k.kind == service.Tensor {
			want = fmt.Sprintf(want, imageSize)
		}
		return fault.New(fault.Invalid, "input '%s' of type %v must have dims %s, not %v", in.Name, in.DType, want, dims)
	}
	return nil
}

// Models returns the three models: the first has the service's name, the others _u8 and _jpeg behind it.
func Models(m service.Model, b Batching) []oip.Model {
	side := int64(m.Metadata().ImageSize)
	return []oip.Model{
		builtIn(m, b, "", tensor.FP32, []int64{-1, 3, side, side}),
		builtIn(m, b, "_u8", tensor.Uint8, []int64{-1, -1, -1, 3}),
		builtIn(m, b, "_jpeg", tensor.Bytes, []int64{-1, 1}),
	}
}

func builtIn(s service.Model, b Batching, suffix string, d tensor.DType, shape []int64) *Model {
	meta := s.Metadata()
	own := oip.Metadata{
		Name: meta.Name + suffix, Version: meta.Version, Platform: "vitrine",
		Inputs:  []oip.TensorSpec{{Name: Input, DType: d, Shape: shape}},
		Outputs: []oip.TensorSpec{{Name: Output, DType: tensor.FP32, Shape: []int64{-1, int64(meta.Dim)}}},
	}
	m, err := New(Options{Service: s, Metadata: own, Config: configure(&own, b, meta)})
	if err != nil {
		panic(err) // tensors that are written above
	}
	return m
}

func configure(own *oip.Metadata, b Batching, meta service.Metadata) *oip.Config {
	c := oip.NewConfig(own, meta.MaxBatch, "vitrine")
	c.Platform = ""
	d := &oip.DynamicBatching{PreferredBatchSize: []int32{}, MaxQueueDelayUs: uint64(b.Delay.Microseconds()),
		PriorityLevels: uint64(b.PriorityLevels), PriorityQueuePolicy: map[uint64]oip.QueuePolicy{}}
	for _, n := range b.Preferred {
		d.PreferredBatchSize = append(d.PreferredBatchSize, int32(n))
	}
	if len(b.Preferred) == 0 {
		d.PreferredBatchSize = []int32{int32(meta.MaxBatch)}
	}
	if b.QueueSize > 0 || b.Timeout > 0 {
		d.DefaultQueuePolicy = &oip.QueuePolicy{TimeoutAction: "REJECT", DefaultTimeoutUs: uint64(b.Timeout.Microseconds()),
			AllowOverride: true, MaxQueueSize: uint32(b.QueueSize)}
	}
	c.DynamicBatching = d
	c.InstanceGroup[0].Count = int32(max(b.Instances, 1))
	if len(b.GPUs) > 0 {
		c.InstanceGroup[0].Kind, c.InstanceGroup[0].GPUs = "KIND_GPU", b.GPUs
	}
	c.Parameters = Parameters(meta)
	return c
}

// Parameters are what a configuration tells clients of the model behind it.
func Parameters(meta service.Metadata) map[string]oip.ConfigParameter {
	p := map[string]oip.ConfigParameter{}
	for k, v := range map[string]string{"space": meta.Space, "model": meta.ModelName, "pretrained": meta.Pretrained, "precision": meta.Precision} {
		if v != "" {
			p[k] = oip.ConfigParameter{StringValue: v}
		}
	}
	return p
}

// Metadata implements oip.Model.
func (m *Model) Metadata() *oip.Metadata { return &m.meta }

// Service is the model behind the protocol.
func (m *Model) Service() service.Model { return m.service }

// Config implements oip.Model.
func (m *Model) Config() *oip.Config { return m.config }

// Ready implements oip.Model.
func (m *Model) Ready() bool { return m.service.Ready() }

// ReadsPieces implements oip.PieceReader: a tensor is copied into its row from wherever it lies.
func (m *Model) ReadsPieces() bool { return m.kind == service.Tensor }

// Statistics implements oip.Model.
func (m *Model) Statistics() oip.Statistics { return m.stats.Statistics() }

// Infer implements oip.Model: one execution, embeddings as the model gives them.
func (m *Model) Infer(ctx context.Context, r *oip.Request) (*oip.Response, error) {
	// Triton counts a request from here, where it has been read and parsed, not from its first byte.
	began := time.Now()
	items := m.items(&r.Inputs[0])
	if len(items) == 0 {
		return nil, fault.New(fault.Invalid, "a batch of 0 holds no image")
	}
	answer, err := m.service.Infer(ctx, &service.Request{
		ID: r.ID, Items: items, Field: m.meta.Inputs[0].Name, Trial: r.Trial, Priority: uint32(min(r.Priority, math.MaxUint32)), Timeout: r.Timeout, Whole: true, Received: began,
	})
	total := time.Since(began)
	if err != nil {
		if !r.Trial {
			m.stats.Failure(total)
		}
		return nil, words(err)
	}
	if !r.Trial {
		m.stats.Success(&answer.Timeline, len(items), total)
	}
	return &oip.Response{Model: m.meta.Name, Version: m.meta.Version, Timeline: answer.Timeline, Outputs: []oip.Output{m.output(answer.Results)}}, nil
}

// items splits a checked input into its images.
func (m *Model) items(in *oip.Input) []service.Item {
	n, dims := int64(1), in.Shape
	if m.config.MaxBatchSize > 0 {
		n, dims = in.Shape[0], in.Shape[1:]
	}
	items := make([]service.Item, n)
	b, pieces := in.Data, in.Pieces
	size, width, height := m.size, 0, 0
	if m.kind == service.Pixels {
		height, width = int(dims[0]), int(dims[1])
		size = 3 * width * height
	}
	for i := range items {
		if m.kind == service.Encoded {
			size = int(binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
		items[i] = service.Item{Kind: m.kind, Width: width, Height: height}
		if pieces.Len() > 0 {
			items[i].Pieces, pieces = pieces.Cut(size)
			continue
		}
		items[i].Data, b = b[:size:size], b[size:]
	}
	return items
}

func (m *Model) output(results []service.Result) oip.Output {
	data := make([]byte, 0, 4*len(results)*m.dim)
	for i := range results {
		for _, f := range results[i].Embedding {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(f))
		}
	}
	shape := []int64{int64(m.dim)}
	if m.config.MaxBatchSize > 0 {
		shape = []int64{int64(len(results)), int64(m.dim)}
	}
	return oip.Output{Name: m.meta.Outputs[0].Name, DType: tensor.FP32, Shape: shape, Data: data}
}

// words gives the two errors that Triton's clients look for Triton's texts.
func words(err error) error {
	switch f := fault.Of(err); f.Kind {
	case fault.Exhausted:
		return fault.New(fault.Unavailable, "Exceeds maximum queue size").After(f.RetryAfter)
	case fault.Timeout:
		return fault.New(fault.Unavailable, "Request timeout expired")
	default:
		return f
	}
}
