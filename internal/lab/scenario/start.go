package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// coldStart measures a server's start several times: to ready, and to the first answer. Where the study
// does not start the server it measures the first request of a new client only.
func (r *Runner) coldStart(ctx context.Context, j *job) outcome {
	if j.target.InProcess() {
		return failed(errors.New("cold_start measures servers; session measures engines in process"))
	}
	if r.Study.Server(j.target.Server) == nil {
		return r.firstRequests(ctx, j)
	}
	began := time.Now()
	var ready, answer, request []float64
	for range max(j.params().Requests, 1) {
		t, err := r.startOnce(ctx, j)
		if err != nil {
			return failed(err)
		}
		ready, answer, request = append(ready, t[0]), append(answer, t[1]), append(request, t[2])
	}
	note := fmt.Sprintf("readiness is asked for every %v", pollEvery)
	return r.measured(began,
		record.Measure{Cell: j.id, Name: "start_to_ready", Unit: "ms", Values: ready, Note: note},
		record.Measure{Cell: j.id, Name: "start_to_first_answer", Unit: "ms", Values: answer},
		record.Measure{Cell: j.id, Name: "first_request", Unit: "ms", Values: request, Note: "connecting included"})
}

// startOnce starts the server anew and returns the times to ready, to the first answer, and of the first
// request, in milliseconds. The server is left running.
func (r *Runner) startOnce(ctx context.Context, j *job) (t [3]float64, err error) {
	name := j.target.Server
	r.servers.stop(name)
	on, err := r.servers.start(ctx, r.Study.Server(name), j.params().Instances)
	if err != nil {
		return t, err
	}
	first, err := r.firstRequest(ctx, j)
	if err != nil {
		return t, err
	}
	began := on.process.began
	return [3]float64{milliseconds(on.ready.Sub(began)), milliseconds(time.Since(began)), first}, nil
}

// firstRequests measures the first request of new clients to a server that runs.
func (r *Runner) firstRequests(ctx context.Context, j *job) outcome {
	began := time.Now()
	var times []float64
	for range max(j.params().Requests, 1) {
		t, err := r.firstRequest(ctx, j)
		if err != nil {
			return failed(err)
		}
		times = append(times, t)
	}
	return r.measured(began, record.Measure{Cell: j.id, Name: "first_request", Unit: "ms", Values: times,
		Note: "of a new client to a running server, connecting included"})
}

// session measures how long a session or a server takes to be made: an engine in process from its weights
// to the first row it could compute, or a process from its start to ready.
func (r *Runner) session(ctx context.Context, j *job) outcome {
	began, values, note := time.Now(), []float64(nil), ""
	for range max(j.params().Requests, 1) {
		if err := context.Cause(ctx); err != nil {
			return failed(err)
		}
		t, how, err := r.makeSession(ctx, j)
		if err != nil {
			return failed(err)
		}
		values, note = append(values, milliseconds(t)), how
	}
	return r.measured(began, record.Measure{Cell: j.id, Name: "session_creation", Unit: "ms", Values: values, Note: note})
}

func (r *Runner) makeSession(ctx context.Context, j *job) (time.Duration, string, error) {
	if !j.target.InProcess() {
		v := r.Study.Server(j.target.Server)
		if v == nil {
			return 0, "", errors.New("a session is created by an engine in process, or by a server that the study starts")
		}
		r.servers.stop(v.Name)
		on, err := r.servers.start(ctx, v, j.params().Instances)
		if err != nil {
			return 0, "", err
		}
		return on.ready.Sub(on.process.began), "a process, from its start to ready", nil
	}
	e, err := r.Open(ctx, j.target)
	if err != nil {
		return 0, "", err
	}
	if err := e.Close(); err != nil {
		return 0, "", err
	}
	if e.Synthetic {
		return e.Create, "the engine from weights in memory: synthetic weights are made, not read", nil
	}
	return e.Weights + e.Create, "weights opened and engine made", nil
}

// measured writes measures and ends the cell well.
func (r *Runner) measured(began time.Time, all ...record.Measure) outcome {
	o := outcome{elapsed: time.Since(began)}
	for _, m := range all {
		if err := r.Log.Write(m); err != nil {
			return failed(err)
		}
		if o.line != "" {
			o.line += ", "
		}
		o.line += fmt.Sprintf("%s %s", m.Name, describe(m.Values, m.Unit))
	}
	return o
}

// describe is the range of a few values.
func describe(v []float64, unit string) string {
	if len(v) == 0 {
		return "none"
	}
	lo, hi, sum := v[0], v[0], 0.0
	for _, x := range v {
		lo, hi, sum = min(lo, x), max(hi, x), sum+x
	}
	if len(v) == 1 {
		return fmt.Sprintf("%.4g %s", v[0], unit)
	}
	return fmt.Sprintf("mean %.4g %s (%.4g to %.4g, n=%d)", sum/float64(len(v)), unit, lo, hi, len(v))
}
