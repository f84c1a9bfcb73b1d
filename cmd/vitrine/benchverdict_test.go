package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// twoTargets is a record of two targets in six interleaved rounds, the second a third faster, both served
// by 13 workers at most.
func twoTargets() *record.Data {
	rng := rand.New(rand.NewPCG(1, 2))
	run := &record.Run{Manifest: record.Manifest{Seed: 1}}
	at := int64(1)
	for round := range 6 {
		for _, clients := range []int{0, 4, 16, 64} {
			for _, subject := range []string{"Triton", "Vitrine"} {
				c := &record.CellData{Cell: record.Cell{ID: len(run.Cells) + 1, Scenario: record.Concurrency, Subject: subject, Round: round, Params: record.Params{Concurrency: clients}}}
				if clients == 0 {
					c.Scenario = record.Single
				}
				c.Key = subject + c.Scenario + string(rune('a'+clients))
				start := at
				for range 300 {
					took := 2e6 * (1 + 0.1*rng.NormFloat64())
					if subject == "Vitrine" {
						took /= 1.5
					}
					c.Requests = append(c.Requests, record.Request{Due: at, Sent: at, Done: at + int64(took), Status: 200})
					at += int64(took) / int64(min(max(clients, 1), 13))
				}
				c.End = &record.CellEnd{Cell: c.ID, Status: record.OK, Elapsed: time.Duration(at - start)}
				run.Cells = append(run.Cells, c)
			}
		}
	}
	return &record.Data{Runs: []*record.Run{run}}
}

func TestVerdictsAndSaturationInTheTerminal(t *testing.T) {
	var out bytes.Buffer
	if err := printBench(&out, twoTargets(), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  single, p50: Vitrine against Triton: faster by 1.",
		"  concurrency, 4 clients, requests/s: Vitrine against Triton: faster by 1.",
		"], 6 rounds\n",
		"  Vitrine: most, ", " requests/s, at 64 clients; 95 % of it from 16 on\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "Triton against Vitrine") {
		t.Errorf("both directions in\n%s", out.String())
	}
}

// TestRoundsOfOneSideAreNotCompared: a round that failed for one target is left out for both.
func TestRoundsOfOneSideAreNotCompared(t *testing.T) {
	data := twoTargets()
	for _, c := range data.Runs[0].Cells {
		if c.Subject == "Triton" && c.Round == 2 {
			c.End.Status = record.Failed
		}
	}
	var out bytes.Buffer
	if err := printBench(&out, data, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "], 5 rounds\n") || strings.Contains(out.String(), "], 6 rounds\n") {
		t.Errorf("want five rounds in\n%s", out.String())
	}
}
