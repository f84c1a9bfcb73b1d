package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/link"
	"github.com/vitrine-project/vitrine/internal/lab/photo"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// dial makes the target of a cell; e is its engine where it is in process.
func (r *Runner) dial(ctx context.Context, t *plan.Target, p record.Params, e *Engine) (target.Target, error) {
	o := target.Options{Name: t.Name, URL: t.URL, Format: t.Format, Model: t.Model, Timeout: p.Timeout,
		Headers: r.Headers, NewConnection: p.NewConnection}
	if e != nil {
		o.Engine, o.Staged = e.Engine, t.Engine.Staged
	}
	if p.Link != "" {
		l, err := link.Parse(p.Link)
		if err != nil {
			return nil, err
		}
		o.Dialer = l.Dial
	}
	return target.Open(ctx, o)
}

// subject is a target made ready: requests are encoded, so that what is timed is sending alone.
type subject struct {
	target.Target
	requests []target.Request
	engine   *Engine
}

func (s *subject) close() {
	_ = s.Close() // what was measured is measured
	if s.engine != nil {
		_ = s.engine.Close() // likewise
	}
}

// open makes a cell's target and encodes its requests.
func (r *Runner) open(ctx context.Context, j *job) (*subject, error) {
	images, err := r.images(j)
	if err != nil {
		return nil, err
	}
	s := &subject{}
	if j.target.InProcess() {
		if s.engine, err = r.Open(ctx, j.target); err != nil {
			return nil, err
		}
		if err := r.tellEngine(j, s.engine); err != nil {
			return nil, err
		}
	}
	if s.Target, err = r.dial(ctx, j.target, *j.params(), s.engine); err != nil {
		return nil, err
	}
	if s.requests, err = encode(s.Target, images, max(j.params().Batch, 1)); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// tellEngine completes the subject of an engine in process.
func (r *Runner) tellEngine(j *job, e *Engine) error {
	known := r.subjects[j.target.Name]
	if known.Server == e.Server {
		return nil
	}
	known.Server = e.Server
	r.subjects[j.target.Name] = known
	return r.Log.Write(known)
}

// encode makes requests of batch images each, taken in turn, so that every image is in one at least.
func encode(t target.Target, images []target.Image, batch int) ([]target.Request, error) {
	n := (len(images) + batch - 1) / batch
	requests := make([]target.Request, n)
	for i := range requests {
		members := make([]target.Image, batch)
		for k := range members {
			members[k] = images[(i*batch+k)%len(images)]
		}
		var err error
		if requests[i], err = t.Prepare(members); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// inputs are a specification's images, made once.
func (r *Runner) inputs(spec string) (*input, error) {
	if in := r.made[spec]; in != nil {
		return in, nil
	}
	images, about, err := photo.Inputs(spec)
	if err == nil && len(images) == 0 {
		err = fmt.Errorf("input %s: no images", spec)
	}
	if err != nil {
		return nil, err
	}
	in := &input{images, about}
	r.made[spec] = in
	return in, nil
}

// images are a cell's inputs; scenarios that compute without asking for any take the default's.
func (r *Runner) images(j *job) ([]target.Image, error) {
	spec := j.run.Cell.Input
	if spec == "" {
		spec = plan.DefaultInput
	}
	in, err := r.inputs(spec)
	if err != nil {
		return nil, err
	}
	return in.images, nil
}

// firstRequest measures the first request of a new client: connecting, sending, the whole answer.
func (r *Runner) firstRequest(ctx context.Context, j *job) (ms float64, err error) {
	s, err := r.open(ctx, j)
	if err != nil {
		return 0, err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, max(j.params().Timeout, time.Second))
	defer cancel()
	began := time.Now()
	c, err := s.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var q record.Request
	if err := c.Do(ctx, s.requests[0], r.now, &q); err != nil {
		return 0, err
	}
	if q.Error != "" {
		return 0, fmt.Errorf("the first request: %s", q.Error)
	}
	return milliseconds(time.Since(began)), nil
}
