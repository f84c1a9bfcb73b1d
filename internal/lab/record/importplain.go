package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// plainResult is what a script of one's own can easily write: an object, or a list of them, for each
// subject and scenario. Either latencies, or figures.
type plainResult struct {
	Subject     string            `json:"subject"`
	Scenario    string            `json:"scenario"` // default: batch for batch_results, else single
	Step        string            `json:"step"`
	Format      string            `json:"format"`
	Model       string            `json:"model"`
	Labels      map[string]string `json:"labels"`
	Started     time.Time         `json:"started"`
	Batch       int               `json:"batch"`
	Concurrency int               `json:"concurrency"`
	Elapsed     float64           `json:"elapsed_s"`
	Latencies   []float64         `json:"latencies_ms"`
	plainFigures
	Batches map[string]plainFigures `json:"batch_results"` // by batch size
}

// plainFigures are results of a cell. Absent is unknown.
type plainFigures struct {
	Mean       *float64 `json:"mean_ms"`
	Median     *float64 `json:"median_ms"`
	P50        *float64 `json:"p50_ms"`
	P90        *float64 `json:"p90_ms"`
	P95        *float64 `json:"p95_ms"`
	P99        *float64 `json:"p99_ms"`
	Min        *float64 `json:"min_ms"`
	Max        *float64 `json:"max_ms"`
	Throughput *float64 `json:"throughput"`   // images/s
	Rate       *float64 `json:"request_rate"` // requests/s
	Compute    *float64 `json:"server_compute_ms"`
	Status     string   `json:"status"` // ok, failed, timeout, invalid
	Error      string   `json:"error"`  // the reason
}

func (im *importer) plain(text []byte) error {
	var all []plainResult
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		all = make([]plainResult, 1)
		if err := json.Unmarshal(trimmed, &all[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no results")
	}
	im.manifest.Tool = Tool{Name: "import"}
	if !all[0].Started.IsZero() {
		im.manifest.Started = all[0].Started
	}
	for i := range all {
		if err := im.plainOne(&all[i]); err != nil {
			return fmt.Errorf("result %d: %w", i+1, err)
		}
	}
	return nil
}

func (im *importer) plainOne(p *plainResult) error {
	if p.Subject == "" {
		return errors.New(`no "subject": the plain format is described in docs/records.md`)
	}
	im.subject(Subject{Name: p.Subject, Format: p.Format, Model: p.Model, Labels: p.Labels})
	cell := Cell{Step: p.Step, Scenario: p.Scenario, Subject: p.Subject, Params: Params{Batch: p.Batch, Concurrency: p.Concurrency}}
	if len(p.Batches) > 0 {
		return im.plainBatches(p, cell)
	}
	if cell.Scenario == "" {
		cell.Scenario = Single
	}
	content, err := p.content()
	if err != nil {
		return err
	}
	if err := p.addLatencies(&content); err != nil {
		return err
	}
	if len(content.measures) == 0 && len(content.requests) == 0 && content.end.Status == "" {
		return errors.New("neither latencies_ms nor figures nor batch_results")
	}
	im.cell(cell, content)
	return nil
}

func (im *importer) plainBatches(p *plainResult, cell Cell) error {
	if cell.Scenario == "" {
		cell.Scenario = Batch
	}
	sizes := make([]int, 0, len(p.Batches))
	for key := range maps.Keys(p.Batches) {
		n, err := strconv.Atoi(key)
		if err != nil || n < 1 || strconv.Itoa(n) != key {
			return fmt.Errorf("batch_results: %q is no batch size", key)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	for _, n := range sizes {
		figures := p.Batches[strconv.Itoa(n)]
		content, err := figures.content()
		if err != nil {
			return err
		}
		cell.Params.Batch = n
		im.cell(cell, content)
	}
	return nil
}

func (f *plainFigures) content() (content imported, err error) {
	for _, m := range []struct {
		name, unit string
		value      *float64
	}{
		{"latency_mean", "ms", f.Mean}, {"latency_p50", "ms", f.Median}, {"latency_p50", "ms", f.P50}, {"latency_p90", "ms", f.P90},
		{"latency_p95", "ms", f.P95}, {"latency_p99", "ms", f.P99}, {"latency_min", "ms", f.Min}, {"latency_max", "ms", f.Max},
		{"throughput", "images/s", f.Throughput}, {"request_rate", "requests/s", f.Rate}, {"server_compute", "ms", f.Compute},
	} {
		if m.value != nil {
			content.measure(m.name, m.unit, *m.value)
		}
	}
	content.end.Status = f.Status
	if f.Error != "" {
		content.end.Reasons = []string{f.Error}
	}
	switch {
	case f.Status == "" && f.Error != "":
		content.end.Status = Failed
	case f.Status == "", f.Status == OK, f.Status == Failed, f.Status == Timeout, f.Status == Invalid:
	default:
		err = fmt.Errorf("status %q: want ok, failed, timeout or invalid", f.Status)
	}
	return content, err
}

// maxLatency keeps sums of latencies within an int64 of nanoseconds.
const maxLatency = float64(24 * time.Hour / time.Millisecond)

// addLatencies lays the requests one after another, as one client would have sent them: only how long
// each took is known.
func (p *plainResult) addLatencies(content *imported) error {
	at := int64(0)
	for i, ms := range p.Latencies {
		if !(ms >= 0 && ms <= maxLatency) {
			return fmt.Errorf("latency %d is %g ms", i+1, ms)
		}
		done := at + int64(math.Round(ms*1e6))
		content.requests = append(content.requests, Request{Due: at, Sent: at, Done: done, Status: 200})
		if at = done; at > math.MaxInt64/2 {
			return errors.New("the latencies add up to more than a century")
		}
	}
	if len(p.Latencies) == 0 {
		return nil
	}
	content.end.Elapsed = time.Duration(at)
	switch {
	case p.Elapsed > 0 && p.Elapsed < 1e9:
		content.end.Elapsed = time.Duration(p.Elapsed * 1e9)
	case p.Concurrency > 1:
		content.end.Elapsed = 0 // the throughput is not known
	}
	content.end.At = at
	return nil
}
