package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

const small = `version: 1
name: small
variables: {port: "9000"}
editions:
  ci:
    why: five minutes
    keep: {batch: [1, 4], scenarios: [single, batch]}
    most: {rounds: 2, requests: 10, duration: 2s}
  gpu: {}
servers:
  - name: a
    start: "${vitrine} serve --http 127.0.0.1:${port}"
    ready: http://127.0.0.1:${port}/readyz
  - name: b
    start: run-b
    ready: http://127.0.0.1:9001/health
    needs_in: {ci: [/opt/venv/bin/python]}
targets:
  - {name: A, server: a, url: "http://127.0.0.1:${port}", format: oip-binary}
  - {name: B, server: b, url: http://127.0.0.1:9001, format: embed-base64}
  - {name: G, url: http://127.0.0.1:9002, format: oip-binary, editions: [gpu]}
steps:
  - id: "4"
    title: first
    targets: [A, B, G]
    cells:
      - {scenario: concurrency, concurrency: [1, 8], duration: 5s}
      - {scenario: single, requests: 30, rounds: 3}
      - {scenario: batch, batch: [1, 4, 32], link: [none, rtt=40ms]}
      - {scenario: cold_start, targets: [A]}
  - id: "6B"
    title: scaling
    editions: [gpu]
    targets: [G]
    cells:
      - {scenario: concurrency, instances: [1, 4], concurrency: [8]}
`

func parse(t *testing.T, text string) *Study {
	t.Helper()
	s, err := Parse("s.yaml", []byte(text), map[string]string{"vitrine": "./vitrine"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keys(cells []Cell) (k []string) {
	for _, c := range cells {
		k = append(k, c.Key)
	}
	return k
}

func all(string) bool { return true }

func TestExpandAnEdition(t *testing.T) {
	s := parse(t, small)
	if got, want := s.Servers[0].Start, "./vitrine serve --http 127.0.0.1:9000"; got != want {
		t.Errorf("start is %q, want %q", got, want)
	}
	x, err := s.Expand("ci", func(path string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"4/single/A/batch=1/concurrency=1/input=photo:224x224:q85",
		"4/batch/A/batch=1/concurrency=1/input=photo:224x224:q85",
		"4/batch/A/batch=4/concurrency=1/input=photo:224x224:q85",
		"4/batch/A/batch=1/concurrency=1/link=rtt=40ms/input=photo:224x224:q85",
		"4/batch/A/batch=4/concurrency=1/link=rtt=40ms/input=photo:224x224:q85",
	}
	if diff := cmp.Diff(want, keys(x.Cells)); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	single := x.Cells[0]
	if single.Rounds != 2 || single.Params.Requests != 10 || single.Params.Duration != 2*time.Second || single.Params.Warmup != 10 {
		t.Errorf("bounds are not kept to: %+v", single)
	}
	var notes []string
	for _, n := range x.Notes {
		notes = append(notes, n.Step+": "+n.Text)
	}
	for _, want := range []string{
		`targets of the server "b" are left out: venv/bin/python does not exist`,
		"4: cold_start is left out (five minutes)", "4: concurrency is left out (five minutes)",
		"4: batch: batch [32] left out (five minutes)", `6B: step 6B (scaling) is not part of edition "ci"`,
		"at most 2 rounds, 10 requests, 2s",
	} {
		if !strings.Contains(strings.Join(notes, "\n"), want) {
			t.Errorf("no note %q in\n%s", want, strings.Join(notes, "\n"))
		}
	}
}

func TestExpandAllInTheOrderOfScenarios(t *testing.T) {
	x, err := parse(t, small).Expand("", all)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, c := range x.Cells {
		if len(order) == 0 || order[len(order)-1] != c.Scenario {
			order = append(order, c.Scenario)
		}
	}
	want := []string{record.ColdStart, record.Single, record.Batch, record.Concurrency}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
	if n := len(x.Cells); n != 1+3+3*2*3+3*2+2 {
		t.Errorf("%d cells: %q", n, keys(x.Cells))
	}
	unique := keys(x.Cells)
	slices.Sort(unique)
	if len(slices.Compact(unique)) != len(x.Cells) {
		t.Error("keys are not unique")
	}
}

func TestOrder(t *testing.T) {
	x, err := parse(t, small).Expand("", all)
	if err != nil {
		t.Fatal(err)
	}
	runs := Order(x.Cells, 7)
	if diff := cmp.Diff(runs, Order(x.Cells, 7)); diff != "" {
		t.Errorf("the same seed gives another order:\n%s", diff)
	}
	if cmp.Equal(runs, Order(x.Cells, 8)) {
		t.Error("another seed gives the same order")
	}
	count, lastStep := map[string]int{}, ""
	for i, r := range runs {
		count[r.Cell.Key]++
		if r.Cell.Step < lastStep {
			t.Errorf("run %d goes back to step %s", i, r.Cell.Step)
		}
		lastStep = r.Cell.Step
		if r.Cell.Scenario == record.ColdStart && i > 0 && runs[i-1].Cell.Step == r.Cell.Step && runs[i-1].Cell.Scenario != record.ColdStart {
			t.Error("a cold start comes after other cells of its step")
		}
	}
	for _, c := range x.Cells {
		if count[c.Key] != c.Rounds {
			t.Errorf("%s is measured %d times, want %d", c.Key, count[c.Key], c.Rounds)
		}
	}
	for i := 0; i+2 < len(runs); i++ { // the three targets of a setting stand side by side
		if r := runs[i]; r.Cell.Scenario == record.Single && runs[i+1].Round == r.Round && runs[i+2].Round == r.Round {
			if runs[i+1].Cell.Scenario != record.Single || runs[i+2].Cell.Scenario != record.Single {
				continue
			}
			names := []string{r.Cell.Target, runs[i+1].Cell.Target, runs[i+2].Cell.Target}
			slices.Sort(names)
			if cmp.Equal(names, []string{"A", "B", "G"}) {
				return
			}
		}
	}
	t.Error("targets of one setting are never measured side by side")
}

func TestOneStartForEachNumberOfInstances(t *testing.T) {
	var cells []Cell
	for _, c := range []int{1, 8, 32} {
		for _, n := range []int{1, 2, 4} {
			cells = append(cells, Cell{Key: Key(Cell{Params: record.Params{Instances: n, Concurrency: c}}), Rounds: 3,
				Params: record.Params{Instances: n, Concurrency: c}})
		}
	}
	changes, last := 0, 0
	for _, r := range Order(cells, 1) {
		if r.Cell.Params.Instances != last {
			changes, last = changes+1, r.Cell.Params.Instances
		}
	}
	if changes != 3 {
		t.Errorf("%d starts, want 3", changes)
	}
}

func TestALoadsOwnBoundStandsAlone(t *testing.T) {
	s := withBuiltin(Settings{Duration: time.Second}, record.Single)
	if s.Requests != 0 || s.Duration != time.Second {
		t.Errorf("%+v", s)
	}
	if s := withBuiltin(Settings{Duration: time.Second}, record.Compute); s.Requests == 0 {
		t.Error("a scenario without a duration needs a number")
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "    start: run-b", "    stort: run-b", "stort"},
		{"unknown scenario", "scenario: single", "scenario: singel", `s.yaml:28: scenario "singel": want one of cold_start`},
		{"unknown target", "targets: [A, B, G]", "targets: [A, C]", `s.yaml:25: no target "C"`},
		{"unknown server", "server: a", "server: z", `s.yaml:19: no server "z"`},
		{"unknown format", "format: embed-base64", "format: soap", `s.yaml:20: format "soap"`},
		{"unknown edition", "editions: [gpu]\n    targets", "editions: [tpu]\n    targets", `no edition "tpu"`},
		{"unknown variable", "${port}/readyz", "${prot}/readyz", "s.yaml:13: unknown variable ${prot}"},
		{"no version", "version: 1", "version: 3", "s.yaml:1: version 3"},
		{"wrong type", "requests: 30", "requests: many", "line 28"},
		{"negative", "requests: 30", "requests: -1", "s.yaml:28: requests is negative"},
		{"batch of none", "batch: [1, 4, 32]", "batch: [0]", "s.yaml:29: batch: 0 is not between"},
		{"no reason", "    why: five minutes\n", "", `edition "ci" leaves cells out and does not say why`},
		{"the same target twice", "name: B, server: b", "name: A, server: b", "s.yaml:20: a target needs a name of its own"},
		{"no URL", "ready: http://127.0.0.1:9001/health", "ready: localhost", `s.yaml:16: "localhost" is not a URL`},
		{"too many", "concurrency: [1, 8]", "concurrency: [" + strings.Repeat("1, ", 20000) + "1]", "s.yaml:27: more than 10000 cells"},
		{"rate missing", "scenario: single", "scenario: open_loop", "s.yaml:28: open_loop needs rates"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(small, c.old, c.new, 1)
			if text == small {
				t.Fatal("the text to replace is not there")
			}
			_, err := Parse("s.yaml", []byte(text), map[string]string{"vitrine": "v"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %q within", err, c.want)
			}
		})
	}
}

func TestAnEditionThatIsNotThere(t *testing.T) {
	_, err := parse(t, small).Expand("tpu", all)
	if err == nil || !strings.Contains(err.Error(), "the study has ci, gpu") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add("version: 1\nname: x\ntargets: [{name: a, url: x, format: oip-json}]\nsteps: [{id: a, targets: [a], cells: [{scenario: single}]}]\n")
	f.Add("&a [*a]")
	f.Add("steps: [{cells: [{rate: [.nan]}]}]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", []byte(text), nil)
		if err != nil {
			return
		}
		x, err := s.Expand("", all)
		if err != nil {
			return
		}
		if len(x.Cells) < 1000 {
			Order(x.Cells, 1)
		}
	})
}

// TestDeviceMetricsKey is a server's and a target's, with variables, and has to be a URL.
func TestDeviceMetricsKey(t *testing.T) {
	with := func(server, target string) string {
		text := strings.Replace(small, "    ready: http://127.0.0.1:9001/health\n", "    ready: http://127.0.0.1:9001/health\n    device_metrics: "+server+"\n", 1)
		return strings.Replace(text, "format: embed-base64}", "format: embed-base64, device_metrics: \""+target+"\"}", 1)
	}
	s := parse(t, with("http://127.0.0.1:${port}/cards", "http://127.0.0.1:${port}/others"))
	if got, want := s.Servers[1].DeviceMetrics, "http://127.0.0.1:9000/cards"; got != want {
		t.Errorf("server: %q, want %q", got, want)
	}
	if got, want := s.Target("B").DeviceMetrics, "http://127.0.0.1:9000/others"; got != want {
		t.Errorf("target: %q, want %q", got, want)
	}
	for _, text := range []string{with("off", "http://h/m"), with("http://h/m", "h:9400")} {
		if _, err := Parse("s.yaml", []byte(text), map[string]string{"vitrine": "./vitrine"}); err == nil || !strings.Contains(err.Error(), "is not a URL") {
			t.Errorf("got %v", err)
		}
	}
}
