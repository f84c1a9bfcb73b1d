// Package images serves one image model as three models of the Open Inference Protocol, since an input
// there has one data type: preprocessed tensors, raw pixels, and encoded files. All three share the
// model's queue and engine.
package images

import (
	"context"
	"encoding/binary"
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
	Instances      int
}

// model is one way into a service's model.
type model struct {
	service service.Model
	kind    service.Kind
	meta    oip.Metadata
	config  *oip.Config
	size    int // bytes of one FP32 image
	dim     int
	stats   oip.Recorder
}

// Models returns the three models: the first has the service's name, the others _u8 and _jpeg behind it.
func Models(m service.Model, b Batching) []oip.Model {
	meta := m.Metadata()
	side := int64(meta.ImageSize)
	return []oip.Model{
		newModel(m, b, "", service.Tensor, tensor.FP32, []int64{-1, 3, side, side}),
		newModel(m, b, "_u8", service.Pixels, tensor.Uint8, []int64{-1, -1, -1, 3}),
		newModel(m, b, "_jpeg", service.Encoded, tensor.Bytes, []int64{-1, 1}),
	}
}

func newModel(s service.Model, b Batching, suffix string, kind service.Kind, d tensor.DType, shape []int64) *model {
	meta := s.Metadata()
	m := &model{service: s, kind: kind, dim: meta.Dim, size: tensor.FormatFloat32CHW.Size(meta.ImageSize, meta.ImageSize)}
	m.meta = oip.Metadata{
		Name: meta.Name + suffix, Version: meta.Version, Platform: "vitrine",
		Inputs:  []oip.TensorSpec{{Name: Input, DType: d, Shape: shape}},
		Outputs: []oip.TensorSpec{{Name: Output, DType: tensor.FP32, Shape: []int64{-1, int64(meta.Dim)}}},
	}
	m.config = m.configure(b, meta)
	return m
}

func (m *model) configure(b Batching, meta service.Metadata) *oip.Config {
	c := oip.NewConfig(&m.meta, meta.MaxBatch, "vitrine")
	c.Platform = ""
	d := &oip.DynamicBatching{PreferredBatchSize: []int32{}, MaxQueueDelayUs: uint64(b.Delay.Microseconds()),
		PriorityLevels: uint64(b.PriorityLevels), PriorityQueuePolicy: map[string]struct{}{}}
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
	for k, v := range map[string]string{"space": meta.Space, "model": meta.ModelName, "pretrained": meta.Pretrained, "precision": meta.Precision} {
		c.Parameters[k] = oip.ConfigParameter{StringValue: v}
	}
	return c
}

// Metadata implements oip.Model.
func (m *model) Metadata() *oip.Metadata { return &m.meta }

// Config implements oip.Model.
func (m *model) Config() *oip.Config { return m.config }

// Ready implements oip.Model.
func (m *model) Ready() bool { return m.service.Ready() }

// Statistics implements oip.Model.
func (m *model) Statistics() oip.Statistics { return m.stats.Statistics() }

// Infer implements oip.Model: one execution, embeddings as the model gives them.
func (m *model) Infer(ctx context.Context, r *oip.Request) (*oip.Response, error) {
	// Triton counts a request from here, where it has been read and parsed, not from its first byte.
	began := time.Now()
	items := m.items(&r.Inputs[0])
	if len(items) == 0 {
		return nil, fault.New(fault.Invalid, "a batch of 0 holds no image")
	}
	answer, err := m.service.Infer(ctx, &service.Request{
		ID: r.ID, Items: items, Field: Input, Priority: uint32(min(r.Priority, math.MaxUint32)), Timeout: r.Timeout, Whole: true, Received: began,
	})
	total := time.Since(began)
	if err != nil {
		m.stats.Failure(total)
		return nil, words(err)
	}
	m.stats.Success(&answer.Timeline, len(items), total)
	return &oip.Response{Model: m.meta.Name, Version: m.meta.Version, Timeline: answer.Timeline, Outputs: []oip.Output{m.output(answer.Results)}}, nil
}

// items splits a checked input into its images.
func (m *model) items(in *oip.Input) []service.Item {
	items := make([]service.Item, in.Shape[0])
	b := in.Data
	size, width, height := m.size, 0, 0
	if m.kind == service.Pixels {
		height, width = int(in.Shape[1]), int(in.Shape[2])
		size = 3 * width * height
	}
	for i := range items {
		if m.kind == service.Encoded {
			size = int(binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
		items[i] = service.Item{Kind: m.kind, Data: b[:size:size], Width: width, Height: height}
		b = b[size:]
	}
	return items
}

func (m *model) output(results []service.Result) oip.Output {
	data := make([]byte, 0, 4*len(results)*m.dim)
	for i := range results {
		for _, f := range results[i].Embedding {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(f))
		}
	}
	return oip.Output{Name: Output, DType: tensor.FP32, Shape: []int64{int64(len(results)), int64(m.dim)}, Data: data}
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
