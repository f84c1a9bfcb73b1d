package oipgrpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// modelInfer takes the place of the generated handler of ModelInfer.
func (s *Server) modelInfer(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	c := newCall(s.memory)
	defer c.release()
	if err := read(c); err != nil {
		return nil, err
	}
	if err := s.compress(ctx); err != nil {
		return nil, err
	}
	answer, err := s.answer(ctx, c, servicePrefix+"ModelInfer", encodeResponse)
	if err != nil {
		return nil, statusOf(err)
	}
	return answer, nil
}

// answer runs an inference and encodes its answer; a panic is a failure like another.
func (s *Server) answer(ctx context.Context, c *call, route string, encode func(*oip.Response) encoded) (answer encoded, err error) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	record := telemetry.Record{Route: route, Model: c.model, BytesIn: int64(c.size), Trace: trace(ctx), ID: c.id}
	if !telemetry.ValidRequestID(c.id) {
		record.ID = telemetry.NewRequestID()
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.recovered(p, route)
		}
		if err == nil {
			record.BytesOut = int64(len(*answer.buf))
		}
		record.Err = err
		record.Timeline.At[telemetry.Received] = c.received
		s.report(ctx, &record)
	}()
	response, err := s.infer(ctx, c)
	if err != nil {
		return encoded{}, err
	}
	record.Timeline, record.Items = response.Timeline, items(&c.request)
	return encode(response), nil
}

// infer finds the model first, as Triton does: a request of an unknown one is not looked at further.
func (s *Server) infer(ctx context.Context, c *call) (*oip.Response, error) {
	if c.refused != nil {
		return nil, c.refused
	}
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	if _, err := o.Models.Get(c.model, c.version); err != nil {
		return nil, err
	}
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, c.received.Add(s.o.RequestTimeout))
	defer cancel()
	begun, err := o.Begin(r)
	if err != nil {
		return nil, err
	}
	c.ran = true
	return begun.Run(ctx)
}

// items is how many items a request asks for: its batch.
func items(r *oip.Request) int {
	if len(r.Inputs) == 0 || len(r.Inputs[0].Shape) == 0 {
		return 1
	}
	return int(r.Inputs[0].Shape[0])
}
