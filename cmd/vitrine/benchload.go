package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/stats"
)

// confidence of the intervals in tables.
const confidence = 0.95

// answers are the requests of a setting that were measured and answered, all rounds together.
type answers struct {
	latency []float64 // ms from the due instant, sorted
	rounds  [][]float64
	spans   []stats.Span
	failed  int
	images  int // of one request
}

func answersOf(s *setting) answers { return answersIn(s, s.ok()) }

func answersIn(s *setting, rounds []*record.CellData) answers {
	a := answers{images: max(s.first.Params.Batch, 1)}
	for _, c := range rounds {
		var one []float64
		var done []int64
		from, to := int64(0), int64(0)
		for _, q := range c.Requests {
			if q.Warmup {
				continue
			}
			if from == 0 || q.Due < from {
				from = q.Due
			}
			to = max(to, q.Done)
			if q.Error != "" {
				a.failed++
				continue
			}
			one, done = append(one, float64(q.Done-q.Due)/1e6), append(done, q.Done)
		}
		if len(one) == 0 {
			continue
		}
		a.latency = append(a.latency, one...)
		a.rounds = append(a.rounds, one)
		a.spans = append(a.spans, stats.Span{Events: done, From: from, To: to})
	}
	slices.Sort(a.latency)
	return a
}

// printLoad writes the cells that sent requests.
func printLoad(w io.Writer, all []*setting) error {
	t := newTable(w, "WHAT", "TARGET", "N", "P50 MS [95 %]", "P95", "P99", "REQ/S [95 %]", "IMG/S", "FAILED", "STATUS")
	for _, s := range all {
		if !hasRequests(s) {
			continue
		}
		a := answersIn(s, s.shown())
		if len(a.latency) == 0 {
			t.row(what(s.first), s.first.Subject, "0", "-", "-", "-", "-", "-", fmt.Sprint(a.failed), statusOf(s))
			continue
		}
		rate := stats.RoundsRate(a.spans, confidence)
		t.row(what(s.first), s.first.Subject, fmt.Sprint(len(a.latency)), withInterval(stats.Quantile(a.latency, 0.5, confidence)),
			quantile(a.latency, 0.95), quantile(a.latency, 0.99), withInterval(rate), imageRate(rate, a.images),
			fmt.Sprint(a.failed), statusOf(s))
	}
	return t.flush()
}

// imageRate is images a second, unknown as long as the rate is: a single answer makes none.
func imageRate(rate stats.Estimate, each int) string {
	if !(rate.Value > 0) {
		return "-"
	}
	return short(rate.Value * float64(each))
}

func hasRequests(s *setting) bool {
	return slices.ContainsFunc(s.rounds, func(c *record.CellData) bool { return len(c.Requests) > 0 })
}

// quantile is one that the sample carries, or the largest value, marked.
func quantile(sorted []float64, q float64) string {
	if !stats.Carries(len(sorted), q) {
		return "max " + short(sorted[len(sorted)-1])
	}
	return short(stats.QuantileOf(sorted, q))
}

func withInterval(e stats.Estimate) string {
	if !(e.Value > 0) {
		return "-"
	}
	if !(e.High > e.Low) {
		return short(e.Value)
	}
	return fmt.Sprintf("%s [%s, %s]", short(e.Value), short(e.Low), short(e.High))
}

// statusOf is ok, or how many rounds are not.
func statusOf(s *setting) string {
	bad := map[string]int{}
	for _, c := range s.rounds {
		bad[c.Status()]++
	}
	for _, word := range []string{record.Invalid, record.Timeout, record.Failed} {
		switch n := bad[word]; {
		case n == 0:
		case n == len(s.rounds):
			return word
		default:
			return fmt.Sprintf("%d of %d %s", n, len(s.rounds), word)
		}
	}
	return record.OK
}
