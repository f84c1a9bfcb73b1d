// Command reference-2026-02 writes the reference document's figures as a record, for reports to show them
// beside what was measured:
//
//	go run ./studies/reference-2026-02 > studies/reference-2026-02.jsonl
package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

//go:embed figures.yaml
var text []byte

type figures struct {
	Client struct{ OS, Label string }
	Runs   []run
}

type run struct {
	Title    string
	Started  time.Time
	Step     string
	Labels   map[string]string
	Subjects []subject
	Cells    []cell
	Notes    []string
	Raw      []string
}

type subject struct {
	Name, Format, Backend, Software, Precision string
	UsedBy                                     string `yaml:"used_by"`
}

type cell struct {
	Subject, Scenario             string
	Batch, Concurrency, Instances int
	Requests                      int
	Format, Encoder, Status, Note string
	Measures                      map[string]values
	Model                         *struct {
		Name         string
		MiB          float64 `yaml:"mib"`
		Opset, Nodes int
	}
	Operators [][]any
}

// values is one number or a list.
type values []float64

// UnmarshalYAML takes both.
func (v *values) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.SequenceNode {
		return node.Decode((*[]float64)(v))
	}
	*v = make(values, 1)
	return node.Decode(&(*v)[0])
}

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(out io.Writer) error {
	var f figures
	if err := yaml.Unmarshal(text, &f); err != nil {
		return err
	}
	w := record.NewWriter(out, false)
	for _, r := range f.Runs {
		if err := w.Write(f.events(r)...); err != nil {
			return err
		}
	}
	// Close would write the time of now into the last line.
	return errors.Join(w.Write(record.End{}), w.Flush())
}

func (f *figures) events(r run) []record.Event {
	id := sha256.Sum256([]byte(r.Title))
	events := []record.Event{record.Manifest{
		Version: record.Version, Run: hex.EncodeToString(id[:8]), Started: r.Started, Title: r.Title, Study: "reference-2026-02",
		Command: []string{"go", "run", "./studies/reference-2026-02"},
		Tool:    record.Tool{Name: "the reference document"},
		Client:  record.Host{OS: f.Client.OS}, Labels: map[string]string{"client": f.Client.Label, "network": "internet, to Vast.ai datacenters"},
	}}
	for _, s := range r.Subjects {
		events = append(events, s.event(r.Labels))
	}
	for i, c := range r.Cells {
		events = append(events, c.events(i+1, r.Step)...)
	}
	for _, n := range r.Notes {
		events = append(events, record.Note{Step: r.Step, Text: n})
	}
	for _, name := range r.Raw {
		events = append(events, record.Note{Step: r.Step, Text: "Raw data of the document: " + name})
	}
	return events
}

func (s subject) event(labels map[string]string) record.Subject {
	own := maps.Clone(labels)
	for name, v := range map[string]string{"backend": s.Backend, "used_by": s.UsedBy} {
		if v != "" {
			own[name] = v
		}
	}
	return record.Subject{
		Name: s.Name, Format: s.Format, Model: "OpenCLIP ViT-B/32", Labels: own,
		Server: record.Server{Software: s.Software, Precision: s.Precision},
	}
}

func (c cell) events(id int, step string) []record.Event {
	p := record.Params{
		Format: c.Format, Encoder: c.Encoder, Batch: c.Batch, Concurrency: c.Concurrency, Instances: c.Instances, Requests: c.Requests,
	}
	events := []record.Event{record.Cell{ID: id, Key: key(step, c, p), Step: step, Scenario: c.Scenario, Subject: c.Subject, Params: p}}
	for _, name := range slices.Sorted(maps.Keys(c.Measures)) {
		events = append(events, measure(id, name, c.Measures[name], c.Note))
	}
	if c.Model != nil {
		events = append(events, record.ModelFile{Cell: id, Name: c.Model.Name, Bytes: int64(c.Model.MiB * (1 << 20)), Opset: c.Model.Opset, Nodes: c.Model.Nodes})
	}
	for _, o := range c.Operators {
		events = append(events, record.Operator{Cell: id, Name: o[0].(string), Total: time.Duration(o[1].(int)) * time.Millisecond, Count: o[2].(int), Where: "host"})
	}
	return append(events, c.end(id))
}

func (c cell) end(id int) record.CellEnd {
	end := record.CellEnd{Cell: id, Status: record.OK}
	if c.Status != "" {
		end.Status, end.Reasons = c.Status, []string{"printed so in the document, without a reason"}
	}
	return end
}

func key(step string, c cell, p record.Params) string {
	return fmt.Sprintf("%s/%s/%s/%s/b%d/c%d/i%d", step, c.Scenario, c.Subject, p.Format, p.Batch, p.Concurrency, p.Instances)
}

// units of measures, by a part of their names; the first that fits counts.
var units = []struct{ part, unit string }{
	{"share", "%"}, {"batch_efficiency", "%"}, {"printed_efficiency", "%"}, {"utilization", "%"},
	{"printed_cost", "$"}, {"power", "W"}, {"throughput", "images/s"}, {"request_rate", "requests/s"},
	{"server_requests", ""}, {"server_executions", ""}, {"average_batch", ""}, {"bytes", "bytes"},
	{"printed_memory", "bytes"}, {"gpu_memory", "bytes"}, {"payload_ratio", "x"}, {"payload", "bytes"},
	{"printed_", "x"}, {"", "ms"},
}

func measure(cell int, name string, v values, note string) record.Measure {
	for suffix, factor := range map[string]float64{"_kib": 1 << 10, "_gib": 1 << 30} {
		if short, ok := strings.CutSuffix(name, suffix); ok {
			name = short
			v = slices.Clone(v)
			for i := range v {
				v[i] = float64(int64(v[i]*factor + 0.5))
			}
		}
	}
	i := slices.IndexFunc(units, func(u struct{ part, unit string }) bool { return strings.Contains(name, u.part) })
	return record.Measure{Cell: cell, Name: name, Unit: units[i].unit, Values: v, Note: note}
}
