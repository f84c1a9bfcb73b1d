// Package scenario measures: it takes a plan's cells one after the other, has the servers that they need
// started, and writes what it saw to a record. A cell that fails is a result and the run goes on.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/gpu"
	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/watch"
)

// Engine is an engine in process and what making it took.
type Engine struct {
	engine.Engine
	Server    record.Server
	Weights   time.Duration // to open the weights
	Create    time.Duration // to make the engine of them
	Synthetic bool          // the weights were made, not read: Weights says nothing of a real start
}

// Runner runs a study.
type Runner struct {
	Study   *plan.Study
	Log     *record.Writer
	Started time.Time // the manifest's: every time of the record counts from it
	View    *watch.Live
	// Open makes an engine in process.
	Open func(ctx context.Context, t *plan.Target) (*Engine, error)
	// Python encodes where the serialization scenario asks for it; "" leaves that out.
	Python string
	// Folder takes the output of the servers that are started; "" throws it away.
	Folder string
	// Measured tells whether a run was measured before, with the same settings.
	Measured func(plan.Run) bool
	// Cards are this machine's GPUs, sampled while a target on it is measured that does not tell of them
	// itself; nil is none.
	Cards gpu.Source
	// Headers go with every request.
	Headers map[string]string
	Seed    uint64
	// LastCell is the highest cell of a record that is gone on with.
	LastCell int
	// Highest is where a search for the highest rate begins and ends, requests a second.
	Lowest, Highest float64

	servers  servers
	ids      int
	python   func() string // why it cannot encode, or ""
	meter    *watch.Meter  // of the cell under way
	subjects map[string]record.Subject
	left     map[string]bool   // reasons that were noted already
	guessed  map[string]string // metrics addresses by target
	made     map[string]*input // by specification
}

// Tally counts cells by how they ended.
type Tally struct{ OK, Failed, Invalid, Skipped, LeftOut int }

func (t Tally) String() string {
	parts := []string{fmt.Sprintf("%d ok", t.OK)}
	for _, p := range []struct {
		n    int
		name string
	}{{t.Failed, "failed"}, {t.Invalid, "invalid"}, {t.Skipped, "measured before"}, {t.LeftOut, "left out"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	return strings.Join(parts, ", ")
}

// now is the time of the record.
func (r *Runner) now() int64 { return int64(time.Since(r.Started)) }

// Run measures every cell. Its error is one that makes going on pointless: the record cannot be written,
// or ctx ended.
func (r *Runner) Run(ctx context.Context, x plan.Expanded) (Tally, error) {
	r.servers = servers{study: r.Study, folder: r.Folder, running: map[string]*server{}, broken: map[string]error{}, say: r.View.Say}
	r.ids = max(r.LastCell, 0)
	r.python = sync.OnceValue(func() string { return missingPython(r.Python) })
	r.subjects, r.left, r.guessed, r.made = map[string]record.Subject{}, map[string]bool{}, map[string]string{}, map[string]*input{}
	defer r.servers.stopAll()
	for _, n := range x.Notes {
		n.At = r.now()
		if err := r.Log.Write(n); err != nil {
			return Tally{}, err
		}
	}
	runs := plan.Order(x.Cells, r.Seed)
	var tally Tally
	for i, run := range runs {
		if err := context.Cause(ctx); err != nil {
			return tally, err
		}
		if err := r.one(ctx, runs, i, &tally); err != nil {
			return tally, err
		}
		if i+1 == len(runs) || runs[i+1].Cell.Step != run.Cell.Step {
			r.servers.release(func(name string) bool { return r.needed(runs[i+1:], name) })
		}
	}
	return tally, nil
}

func (r *Runner) needed(runs []plan.Run, server string) bool {
	return slices.ContainsFunc(runs, func(run plan.Run) bool { return r.Study.Target(run.Cell.Target).Server == server })
}

// job is one run of a cell under way.
type job struct {
	id     int
	run    plan.Run
	target *plan.Target
}

func (j *job) params() *record.Params { return &j.run.Cell.Params }

// outcome is how a cell ended.
type outcome struct {
	status  string
	reasons []string
	elapsed time.Duration
	checks  []record.Check
	harness record.Harness
	line    string // for the screen
}

func failed(err error) outcome {
	return outcome{status: record.Failed, reasons: []string{plainReason(err)}}
}

// plainReason is an error on one line.
func plainReason(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// one measures runs[i].
func (r *Runner) one(ctx context.Context, runs []plan.Run, i int, tally *Tally) error {
	run := runs[i]
	if r.Measured != nil && r.Measured(run) {
		tally.Skipped++
		return nil
	}
	j := &job{run: run, target: r.Study.Target(run.Cell.Target)}
	if reason := r.leftOut(j); reason != "" {
		tally.LeftOut++
		return r.noteOnce(run.Cell.Step, reason)
	}
	r.ids++
	j.id = r.ids
	trouble := r.prepare(ctx, j)
	if trouble != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.fillInput(j)
	if err := r.Log.Write(record.Cell{ID: j.id, Key: run.Cell.Key, Step: run.Cell.Step, Scenario: run.Cell.Scenario,
		Subject: j.target.Name, Params: *j.params(), Round: run.Round, At: r.now()}); err != nil {
		return err
	}
	o := failedOr(trouble)
	if trouble == nil {
		o = r.measure(ctx, j, runs, i)
	}
	if err := r.end(j, o); err != nil {
		return err
	}
	if o.status == record.Failed && j.target.Server != "" {
		r.showTail(j.target.Server)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	tally.count(o.status)
	return nil
}

// showTail shows how the output of a server ends that a cell failed with.
func (r *Runner) showTail(server string) {
	lines := r.servers.tail(server)
	if lines == nil {
		return
	}
	r.View.Say("%s says last:", server)
	for _, l := range lines {
		r.View.Say("    %s", l)
	}
}

func failedOr(err error) outcome {
	if err == nil {
		return outcome{}
	}
	return failed(err)
}

func (r *Runner) end(j *job, o outcome) error {
	return r.Log.Write(record.CellEnd{Cell: j.id, At: r.now(), Status: o.status, Reasons: o.reasons, Elapsed: o.elapsed,
		Checks: o.checks, Harness: o.harness})
}

func (t *Tally) count(status string) {
	switch status {
	case record.OK:
		t.OK++
	case record.Invalid:
		t.Invalid++
	default:
		t.Failed++
	}
}

// leftOut says why a cell cannot be measured on this machine, or "".
func (r *Runner) leftOut(j *job) string {
	if j.run.Cell.Scenario == record.Serialization && j.params().Encoder == "python" {
		return r.python()
	}
	return ""
}

func (r *Runner) noteOnce(step, text string) error {
	if r.left[step+text] {
		return nil
	}
	r.left[step+text] = true
	r.View.Say("left out: %s", text)
	return r.Log.Write(record.Note{At: r.now(), Step: step, Text: text})
}

// prepare has the cell's server started and its subject written.
func (r *Runner) prepare(ctx context.Context, j *job) error {
	if startsItself(j.run.Cell.Scenario) && j.target.Server != "" {
		return r.writeSubject(ctx, j, false)
	}
	if err := r.servers.ensure(ctx, j.target.Server, j.params().Instances); err != nil {
		return errors.Join(err, r.writeSubject(ctx, j, false))
	}
	return r.writeSubject(ctx, j, true)
}

// startsItself tells whether a scenario starts its target's server by itself, if the study starts it.
func startsItself(scenario string) bool {
	return scenario == record.ColdStart || scenario == record.Session
}

// measures are the scenarios.
var measures = map[string]func(*Runner, context.Context, *job) outcome{
	record.ColdStart:     (*Runner).coldStart,
	record.Session:       (*Runner).session,
	record.Idle:          (*Runner).idle,
	record.Serialization: (*Runner).serialization,
	record.Single:        (*Runner).load,
	record.Batch:         (*Runner).load,
	record.Concurrency:   (*Runner).load,
	record.Soak:          (*Runner).load,
	record.OpenLoop:      (*Runner).load,
	record.Compute:       (*Runner).load,
	record.RateSearch:    (*Runner).rateSearch,
	record.Profile:       (*Runner).profile,
}

// measure runs the scenario and shows it.
func (r *Runner) measure(ctx context.Context, j *job, runs []plan.Run, i int) outcome {
	shown := watch.Cell{Title: title(j.run), Number: i + 1, Of: len(runs), Requests: j.params().Requests,
		Duration: j.params().Duration, Read: r.watched(j), Remaining: r.remaining(runs[i+1:])}
	if j.run.Cell.Scenario == record.RateSearch {
		shown.Duration = 0 // that of one try
	}
	r.View.Begin(shown)
	o := measures[j.run.Cell.Scenario](r, ctx, j)
	if o.status == "" {
		o.status = record.OK
	}
	line := o.line
	if o.status != record.OK {
		line = strings.TrimSpace(strings.ToUpper(o.status) + " " + strings.Join(o.reasons, "; "))
	}
	r.View.End(line)
	return o
}

// title is a run for people.
func title(run plan.Run) string {
	p, parts := run.Cell.Params, []string{}
	if run.Cell.Step != "" {
		parts = append(parts, "step "+run.Cell.Step)
	}
	parts = append(parts, strings.ReplaceAll(run.Cell.Scenario, "_", " "), run.Cell.Target)
	for _, f := range []struct {
		set  bool
		text string
	}{
		{p.Format != "", p.Format}, {p.Encoder != "", p.Encoder}, {p.Batch > 1, fmt.Sprintf("batch %d", p.Batch)},
		{p.Concurrency > 1, fmt.Sprintf("%d clients", p.Concurrency)}, {p.Rate > 0, fmt.Sprintf("%.6g/s %s", p.Rate, p.Arrival)},
		{p.Bound > 0, fmt.Sprintf("p%.6g within %v", 100*p.Quantile, p.Bound)},
		{p.Instances > 0, fmt.Sprintf("%d instances", p.Instances)}, {p.Link != "", "link " + p.Link},
		{p.NewConnection, "new connections"}, {run.Cell.Rounds > 1, fmt.Sprintf("round %d", run.Round+1)},
	} {
		if f.set {
			parts = append(parts, f.text)
		}
	}
	return strings.Join(parts, " · ")
}

// labels are the study's and the target's own.
func (r *Runner) labels(t *plan.Target) map[string]string {
	all := maps.Clone(r.Study.Labels)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, t.Labels)
	return all
}

// watched is what the screen reads of a cell; scenarios without requests have nothing to count.
func (r *Runner) watched(j *job) func() watch.Counts {
	r.meter = nil
	switch j.run.Cell.Scenario {
	case record.ColdStart, record.Session, record.Idle, record.Serialization, record.Profile:
		return nil
	}
	r.meter = new(watch.Meter)
	return r.meter.Read
}

// remaining is how long runs take at most, as far as they are bounded by a time.
func (r *Runner) remaining(runs []plan.Run) (sum time.Duration) {
	for _, run := range runs {
		if r.Measured == nil || !r.Measured(run) {
			sum += run.Cell.Params.Duration
		}
	}
	return sum
}
