package oip

import (
	"context"
	"log/slog"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Server is what a transport asks: models, inference, settings, shared memory.
type Server struct {
	Models  *Registry
	Regions *Regions
	Trace   *TraceSettings
	Logging *LogSettings
	log     *slog.Logger
}

// NewServer returns a server of the models; log may be nil.
func NewServer(models *Registry, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{Models: models, Regions: NewRegions(), Trace: NewTraceSettings(), Logging: NewLogSettings(), log: log}
}

// Infer checks a request against its model, reads shared memory, runs the model, and answers what was
// asked for: outputs chosen, classified, or written to shared memory. Every transport enters here.
func (s *Server) Infer(ctx context.Context, r *Request) (*Response, error) {
	m, done, err := s.Models.Use(r.Model, r.Version)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := check(m, r); err != nil {
		return nil, err
	}
	if err := s.readMemory(r); err != nil {
		return nil, err
	}
	response, err := m.Infer(ctx, r)
	if err != nil {
		return nil, err
	}
	if response.ID == "" {
		response.ID = r.ID
	}
	return response, s.finish(m, r, response)
}

// readMemory copies the inputs that are in shared memory out of it, and makes sure that the outputs'
// places are there before anything is computed.
func (s *Server) readMemory(r *Request) (err error) {
	for i := range r.Inputs {
		in := &r.Inputs[i]
		if in.Memory == nil {
			continue
		}
		if in.Data, err = s.Regions.read(in.Memory); err != nil {
			return err
		}
		if in.DType == tensor.Bytes {
			n, _ := Elements(in.Shape)
			if err := CheckStrings(in, n); err != nil {
				return err
			}
		}
	}
	for i := range r.Outputs {
		if m := r.Outputs[i].Memory; m != nil {
			if err := s.Regions.exists(m); err != nil {
				return err
			}
		}
	}
	return nil
}
