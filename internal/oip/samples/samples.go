// Package samples is a small tensor engine for tests of the protocol: the sample models that the
// official examples need, and those that the recorded server has. It is in no default configuration.
package samples

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Options make a model. Kind says what it computes: identity, addsub, zeros, sequence, version,
// optional or failing.
type Options struct {
	Metadata oip.Metadata
	MaxBatch int
	Kind     string
	// Config is the model's configuration; nil is one made from the other options.
	Config *oip.Config
	// Sequence makes a model of sequences. CorrelationID adds the sequence's number at its end.
	Sequence      bool
	CorrelationID bool
	// Queue is how long a batch that is not full waits, for tests of timeouts.
	Queue time.Duration
}

// Model is a sample model.
type Model struct {
	o      Options
	config *oip.Config
	run    func(m *Model, r *oip.Request) ([]oip.Output, error)
	stats  oip.Recorder

	mu   sync.Mutex
	open map[string]bool // sequences that have begun
}

var kinds = map[string]func(m *Model, r *oip.Request) ([]oip.Output, error){
	"identity": identity, "addsub": addSub, "zeros": zeros, "sequence": sequence,
	"version": version, "optional": optional, "failing": failing,
}

// New returns a model.
func New(o Options) (*Model, error) {
	m := &Model{o: o, config: o.Config, run: kinds[o.Kind], open: map[string]bool{}}
	if m.run == nil {
		return nil, fmt.Errorf("no sample model computes %q", o.Kind)
	}
	if m.config == nil {
		m.config = oip.NewConfig(&m.o.Metadata, o.MaxBatch, m.o.Metadata.Platform)
		m.config.Platform = ""
		if o.Sequence {
			m.config.SequenceBatching = &oip.SequenceBatching{MaxIdleUs: 5_000_000, ControlInput: []struct{}{}, State: []struct{}{}}
		}
	}
	return m, nil
}

// Metadata implements oip.Model.
func (m *Model) Metadata() *oip.Metadata { return &m.o.Metadata }

// Config implements oip.Model.
func (m *Model) Config() *oip.Config { return m.config }

// Ready implements oip.Model.
func (m *Model) Ready() bool { return true }

// Statistics implements oip.Model.
func (m *Model) Statistics() oip.Statistics { return m.stats.Statistics() }

// Check implements oip.Checker: a sequence's first request says so, and has a batch of one.
func (m *Model) Check(r *oip.Request) error {
	if !m.o.Sequence {
		return nil
	}
	id, name := r.Sequence.Name, m.o.Metadata.Name
	if id == "" && r.Sequence.ID != 0 {
		id = strconv.FormatUint(r.Sequence.ID, 10)
	}
	if r.Inputs[0].Shape[0] != 1 {
		return fault.New(fault.Invalid, "inference request to model '%s' must specify batch-size 1 due to requirements of sequence batcher", name)
	}
	if id == "" {
		return fault.New(fault.Invalid, "inference request to model '%s' must specify a non-zero or non-empty correlation ID", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !r.Sequence.Start && !m.open[id] {
		return fault.New(fault.Invalid, "inference request for sequence %s to model '%s' must specify the START flag on the first request of the sequence", id, name)
	}
	m.open[id] = true
	if r.Sequence.End {
		delete(m.open, id)
	}
	return nil
}

// Infer implements oip.Model.
func (m *Model) Infer(ctx context.Context, r *oip.Request) (*oip.Response, error) {
	line := telemetry.Timeline{BatchSize: 1}
	line.Mark(telemetry.Queued)
	if n := m.o.MaxBatch; n > 0 && len(r.Inputs) > 0 {
		line.BatchSize = int(r.Inputs[0].Shape[0])
	}
	if err := m.wait(ctx, r, line.BatchSize); err != nil {
		return nil, err
	}
	line.Mark(telemetry.Batched)
	line.Mark(telemetry.InputReady)
	outputs, err := m.run(m, r)
	line.Mark(telemetry.Computed)
	line.Mark(telemetry.OutputReady)
	total := time.Since(line.At[telemetry.Queued])
	switch {
	case r.Trial && err != nil:
		return nil, err
	case r.Trial:
	case err != nil:
		m.stats.Failure(total)
		return nil, err
	default:
		m.stats.Success(&line, line.BatchSize, total)
	}
	return &oip.Response{Model: m.o.Metadata.Name, Version: m.o.Metadata.Version, Outputs: outputs, Timeline: line}, nil
}

// wait is the queue's delay, unless the batch is full or the request's time runs out.
func (m *Model) wait(ctx context.Context, r *oip.Request, batch int) error {
	if m.o.Queue == 0 || batch >= m.o.MaxBatch {
		return nil
	}
	expired := m.o.Queue
	if r.Timeout > 0 {
		expired = min(expired, r.Timeout)
	}
	timer := time.NewTimer(expired)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fault.Of(ctx.Err())
	case <-timer.C:
	}
	if expired < m.o.Queue {
		return fault.New(fault.Unavailable, "Request timeout expired")
	}
	return nil
}

func input(r *oip.Request, name string) *oip.Input {
	for i := range r.Inputs {
		if r.Inputs[i].Name == name {
			return &r.Inputs[i]
		}
	}
	return nil
}

// like is an output of a name, and an input's type and shape.
func like(name string, in *oip.Input, data []byte) oip.Output {
	return oip.Output{Name: name, DType: in.DType, Shape: slices.Clone(in.Shape), Data: data}
}

func identity(_ *Model, r *oip.Request) ([]oip.Output, error) {
	return []oip.Output{like("OUTPUT0", &r.Inputs[0], bytes.Clone(r.Inputs[0].Data))}, nil
}

// addSub answers the sum and the difference of two integer tensors, or of two of decimal numbers as text.
func addSub(_ *Model, r *oip.Request) ([]oip.Output, error) {
	a, b := input(r, "INPUT0"), input(r, "INPUT1")
	x, err := integers(a)
	if err != nil {
		return nil, err
	}
	y, err := integers(b)
	if err != nil {
		return nil, err
	}
	sum, difference := make([]int32, len(x)), make([]int32, len(x))
	for i := range x {
		sum[i], difference[i] = x[i]+y[i], x[i]-y[i]
	}
	return []oip.Output{like("OUTPUT0", a, encode(a.DType, sum)), like("OUTPUT1", a, encode(a.DType, difference))}, nil
}

func integers(in *oip.Input) (v []int32, err error) {
	switch b := in.Data; in.DType {
	case tensor.Int8:
		for _, c := range b {
			v = append(v, int32(int8(c)))
		}
	case tensor.Bytes:
		for len(b) > 0 {
			end := 4 + int(binary.LittleEndian.Uint32(b))
			n, err := strconv.ParseInt(string(b[4:end]), 10, 32)
			if err != nil {
				return nil, fault.New(fault.Mistaken, "invalid literal for int() with base 10: %q", b[4:end])
			}
			v, b = append(v, int32(n)), b[end:]
		}
	default:
		for ; len(b) >= 4; b = b[4:] {
			v = append(v, int32(binary.LittleEndian.Uint32(b)))
		}
	}
	return v, nil
}

func encode(d tensor.DType, v []int32) (b []byte) {
	for _, n := range v {
		switch d {
		case tensor.Int8:
			b = append(b, byte(n))
		case tensor.Bytes:
			text := strconv.AppendInt(nil, int64(n), 10)
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
		default:
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
	}
	return b
}

// zeros answers a row of zeros of the declared size for each item.
func zeros(m *Model, r *oip.Request) ([]oip.Output, error) {
	out := &m.o.Metadata.Outputs[0]
	shape := slices.Clone(out.Shape)
	shape[0] = r.Inputs[0].Shape[0]
	n, _ := oip.Elements(shape)
	return []oip.Output{{Name: out.Name, DType: out.DType, Shape: shape, Data: make([]byte, int(n)*out.DType.Size())}}, nil
}

// sequence answers its input, plus one at a sequence's start, plus its number at its end if it is asked to.
func sequence(m *Model, r *oip.Request) ([]oip.Output, error) {
	in := input(r, "INPUT")
	v, err := integers(in)
	if err != nil {
		return nil, err
	}
	for i := range v {
		if r.Sequence.Start {
			v[i]++
		}
		if r.Sequence.End && m.o.CorrelationID {
			v[i] += int32(r.Sequence.ID)
		}
	}
	return []oip.Output{like("OUTPUT", in, encode(in.DType, v))}, nil
}

// add returns an FP32 tensor plus what term says for each element.
func add(in *oip.Input, term func(i int) float32) []byte {
	v := make([]float32, len(in.Data)/4)
	for i := range v {
		v[i] = float(in.Data[4*i:]) + term(i)
	}
	return floats(v)
}

func version(m *Model, r *oip.Request) ([]oip.Output, error) {
	n, err := strconv.Atoi(m.o.Metadata.Version)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "version")
	}
	in := &r.Inputs[0]
	return []oip.Output{like("OUTPUT0", in, add(in, func(int) float32 { return float32(n) }))}, nil
}

// optional adds a second input, which is 100 where it was not sent.
func optional(_ *Model, r *oip.Request) ([]oip.Output, error) {
	in, second := input(r, "INPUT0"), input(r, "INPUT1")
	if in == nil {
		return nil, fault.New(fault.Mistaken, "Failed to process the request(s) for model 'optional_0_0', message: KeyError: 'INPUT0'")
	}
	return []oip.Output{like("OUTPUT0", in, add(in, func(i int) float32 {
		if second == nil {
			return 100
		}
		return float(second.Data[4*i:])
	}))}, nil
}

func failing(*Model, *oip.Request) ([]oip.Output, error) {
	return nil, fault.New(fault.Internal, "this model always fails")
}
