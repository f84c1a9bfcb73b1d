package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/stats"
)

// printVerdicts sets each target against the first that was measured under the same settings, round by
// round: by throughput where several clients share a server, by the median latency otherwise.
func printVerdicts(w io.Writer, all []*setting, seed uint64) {
	head := "\nCompared round by round:\n"
	var first *setting
	for _, s := range all {
		if !hasRequests(s) {
			continue
		}
		if first == nil || !sameButSubject(&first.first.Cell, &s.first.Cell) {
			first = s
			continue
		}
		if v, by := verdict(first, s, seed); v.Rounds > 0 {
			fmt.Fprintf(w, "%s  %s, %s: %s against %s: %s\n", head, what(s.first), by, s.first.Subject, first.first.Subject, v)
			head = ""
		}
	}
}

// sameButSubject tells whether two cells differ in nothing else that matters to the figure.
func sameButSubject(a, b *record.Cell) bool {
	p, q := a.Params, b.Params
	p.InputBytes, q.InputBytes = 0, 0 // as each target sends it
	return a.Step == b.Step && a.Scenario == b.Scenario && p == q && a.Subject != b.Subject
}

func verdict(a, b *setting, seed uint64) (v stats.Verdict, by string) {
	one, two := commonRounds(a, b)
	if s := a.first.Scenario; s == record.Concurrency || s == record.Soak {
		return stats.CompareRates(rates(one), rates(two), confidence), "requests/s"
	}
	return stats.Compare(latencies(one), latencies(two), confidence, seed), "p50"
}

// commonRounds are the rounds that both have, in pairs.
func commonRounds(a, b *setting) (one, two []answers) {
	byRound := map[int]*record.CellData{}
	for _, c := range b.ok() {
		byRound[c.Round] = c
	}
	for _, c := range a.ok() {
		other := byRound[c.Round]
		if other == nil {
			continue
		}
		x, y := answersOfCells(a, c), answersOfCells(b, other)
		if len(x.rounds) > 0 && len(y.rounds) > 0 {
			one, two = append(one, x), append(two, y)
		}
	}
	return one, two
}

// answersOfCells is answersOf for a single round.
func answersOfCells(s *setting, c *record.CellData) answers {
	return answersOf(&setting{key: s.key, first: s.first, rounds: []*record.CellData{c}})
}

func latencies(rounds []answers) (all [][]float64) {
	for _, a := range rounds {
		all = append(all, a.rounds[0])
	}
	return all
}

func rates(rounds []answers) (all []float64) {
	for _, a := range rounds {
		all = append(all, stats.RoundsRate(a.spans, confidence).Value)
	}
	return all
}

// printSaturation says where each target's throughput stops growing with its clients.
func printSaturation(w io.Writer, all []*setting) {
	head := "\nSaturation:\n"
	for _, curve := range curvesOf(all) {
		if len(curve) > 1 {
			fmt.Fprintf(w, "%s  %s\n", head, saturation(curve))
			head = ""
		}
	}
}

// curvesOf groups settings that differ in concurrency alone; they are sorted by it already.
func curvesOf(all []*setting) (curves [][]*setting) {
	for _, s := range all {
		if s.first.Scenario != record.Concurrency || len(answersOf(s).spans) == 0 {
			continue
		}
		i := slices.IndexFunc(curves, func(c []*setting) bool { return sameCurve(&c[0].first.Cell, &s.first.Cell) })
		if i < 0 {
			curves = append(curves, []*setting{s})
			continue
		}
		curves[i] = append(curves[i], s)
	}
	return curves
}

func saturation(curve []*setting) string {
	throughput := make([]float64, len(curve))
	for i, s := range curve {
		throughput[i] = stats.RoundsRate(answersOf(s).spans, confidence).Value
	}
	at := func(i int) int { return curve[i].first.Params.Concurrency }
	sat, _ := stats.Saturate(throughput)
	text := fmt.Sprintf("%s: most, %s requests/s, at %d clients", curve[0].first.Subject, short(throughput[sat.Peak]), at(sat.Peak))
	if sat.Knee < sat.Peak {
		text += fmt.Sprintf("; 95 %% of it from %d on", at(sat.Knee))
	}
	switch {
	case sat.Declines:
		text += "; beyond it falls"
	case !sat.Reached:
		text += "; it still grew at the highest number tried"
	}
	return text
}

// sameCurve tells whether two cells differ in concurrency alone.
func sameCurve(a, b *record.Cell) bool {
	p, q := a.Params, b.Params
	p.Concurrency, q.Concurrency = 0, 0
	return a.Step == b.Step && a.Scenario == b.Scenario && a.Subject == b.Subject && p == q
}
