package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

// kind is a table that a step's section may have. It builds nil where its cells are missing.
type kind struct {
	id, title string
	wants     string // the cells that fill it, for the line that says that it is missing
	build     func(*group) []page.Part
}

// stepKinds are a step's tables in their order.
var stepKinds = []kind{
	{"overview", "Overview", "`single`, `batch`, `concurrency` or `cold_start` cells of any subject", overview},
	{"cold-start", "Cold start", "`cold_start` cells", coldStarts},
	{"serialization", "Serialization overhead", "`serialization` cells with the measures encode or decode and payload", serialization},
	{"protocol", "Before and after the change of protocol", "cells of one backend in two formats, one of them in an earlier step", protocolChange},
	{"server", "Server-side metrics", "`single` cells whose server gives its stages (scraped metrics or Server-Timing)", serverSide},
	{"single", "Single-image client latency", "`single` cells", singleLatency},
	{"batch-throughput", "Batch throughput", "`batch` cells", batchThroughput},
	{"batch-latency", "Batch latency", "`batch` cells", batchLatency},
	{"breakdown", "Latency breakdown, single image", "`single` cells whose server gives its stages", breakdowns},
	{"links", "Through a network link", "`single` or `batch` cells with a link", links},
	{"concurrency", "Throughput against concurrency", "`concurrency` cells", concurrency},
	{"scaling", "Scaling efficiency", "`concurrency` or `batch` cells with more than one instance", scaling},
	{"server-load", "Server-side timing under load", "`concurrency` cells whose server gives its stages", serverLoad},
	{"batching", "Dynamic batching efficiency", "`concurrency` cells with scraped counters of requests and executions", batching},
	{"open-loop", "Open loop: latency at a given rate", "`open_loop` cells", openLoop},
	{"rate-search", "Highest rate within a latency bound", "`rate_search` cells", rateSearch},
	{"memory", "Memory, utilisation and power", "cells with device samples", devices},
	{"gpu-memory", "GPU memory by card", "cells with samples of more than one card", perCard},
	{"energy", "Energy", "cells of at least 5 s with samples of an energy counter", energy},
	{"process", "The server's process", "cells with samples of process_resident_memory_bytes or process_cpu_seconds_total", processes},
	{"wire", "Bytes on the wire", "any cells with requests", wireBytes},
}

// words and numbers make columns.
func columns(titles ...string) (cols []page.Column) {
	for i, t := range titles {
		cols = append(cols, page.Column{Title: strings.TrimPrefix(t, "<"), Left: i == 0 || strings.HasPrefix(t, "<")})
	}
	return cols
}

// ordinary results are those that tables of plain figures compare: without a link, over kept connections
// and on all instances. Tables of their own have the rest.
func ordinary(r *result) bool {
	return r.params.Link == "" && !r.params.NewConnection && r.params.Instances <= 1
}

// row looks a metric up for each subject.
func (g *group) row(t *page.Table, subjects []string, m metric, find func(subject string) *result) ([]page.Value, bool) {
	values := make([]page.Value, len(subjects))
	some := false
	for i, s := range subjects {
		r := find(s)
		values[i] = m.value(t, r)
		some = some || r != nil && (values[i].Figure != nil || values[i].Status != "")
	}
	markBest(values, m)
	return values, some
}

// informative tells whether a result has anything for a table of latencies and rates.
func informative(r *result) bool {
	return !r.ok() || r.p50().Known() || r.throughput().Known() || coldStart.of(r).Known()
}

// having gives the subjects that have results under the conditions.
func (g *group) having(conditions ...func(*result) bool) (names []string) {
	found := pick(g.results, conditions...)
	for _, s := range g.subjects {
		if slices.ContainsFunc(found, func(r *result) bool { return r.subject.Name == s }) {
			names = append(names, s)
		}
	}
	return names
}

// mixed says on the table that its rows do not share one workload.
func mixed(t *page.Table, results []*result) {
	loads := map[string]bool{}
	var names []string
	for _, r := range results {
		if r == nil {
			continue
		}
		if name := workload(r); !loads[name] {
			loads[name] = true
			names = append(names, name)
		}
	}
	if len(names) > 1 {
		t.Note("This table mixes workloads (" + strings.Join(names, "; ") + "): read its ratios with that in mind.")
	}
}

func workload(r *result) string {
	switch {
	case r.scenario == record.Concurrency && r.images() > 1:
		return fmt.Sprintf("concurrency of batch-%d requests", r.images())
	case r.scenario == record.Concurrency:
		return "concurrent single images"
	case r.scenario == record.Batch:
		return fmt.Sprintf("one client, batch %d", r.images())
	default:
		return strings.ReplaceAll(r.scenario, "_", " ")
	}
}

func one(id string, t *page.Table) []page.Part {
	if t == nil || len(t.Rows) == 0 {
		return nil
	}
	return []page.Part{{ID: id, Table: t}}
}
