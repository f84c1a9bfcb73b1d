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
	return &Server{Models: models, Regions: NewRegions(log), Trace: NewTraceSettings(), Logging: NewLogSettings(), log: log}
}

// Call is a request that was checked against its model and not answered yet.
type Call struct {
	server *Server
	model  Model
	r      *Request
	done   func()
}

// Begin finds a request's model, checks the request against it and reads shared memory. Its errors are
// those that Triton gives before a request is queued. The call must be run, once, or dropped.
func (s *Server) Begin(r *Request) (*Call, error) {
	m, done, err := s.Models.Use(r.Model, r.Version)
	if err != nil {
		return nil, err
	}
	if err = s.findMemory(r); err == nil {
		err = check(m, r)
	}
	if err == nil {
		err = s.readMemory(m, r)
	}
	if err != nil {
		done()
		return nil, err
	}
	return &Call{s, m, r, done}, nil
}

// Run runs the model and answers what was asked for: outputs chosen, classified, or written to shared
// memory.
func (c *Call) Run(ctx context.Context) (*Response, error) {
	defer c.done()
	response, err := c.model.Infer(ctx, c.r)
	if err != nil {
		return nil, err
	}
	response.ID = c.r.ID
	return response, c.server.finish(c.model, c.r, response)
}

// Infer is Begin and Run. Every transport enters here.
func (s *Server) Infer(ctx context.Context, r *Request) (*Response, error) {
	c, err := s.Begin(r)
	if err != nil {
		return nil, err
	}
	return c.Run(ctx)
}

// Try is Infer for a model that is not served yet: a trial, which no statistics count.
func Try(ctx context.Context, m Model, r *Request) error {
	r.Trial = true
	if err := check(m, r); err != nil {
		return err
	}
	_, err := m.Infer(ctx, r)
	return err
}

// findMemory makes sure that the parts of regions that a request names are there.
func (s *Server) findMemory(r *Request) error {
	for i := range r.Inputs {
		if at := r.Inputs[i].Memory; at != nil {
			if err := s.Regions.exists(at); err != nil {
				return err
			}
		}
	}
	for i := range r.Outputs {
		if at := r.Outputs[i].Memory; at != nil {
			part := *at
			part.Size = max(at.Size, 1) // how many bytes an output needs is told once it is known
			if err := s.Regions.exists(&part); err != nil {
				return err
			}
		}
	}
	return nil
}

// readMemory copies the inputs that are in shared memory out of it: their sizes are checked by now.
func (s *Server) readMemory(m Model, r *Request) (err error) {
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
			if err := r.checkStrings(m.Metadata().Name, in, n); err != nil {
				return err
			}
		}
	}
	return nil
}
