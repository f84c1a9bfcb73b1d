package report

import (
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// twoSubjects measures A and B in turns in one run, B's network slower by more.
func twoSubjects(seed uint64, more float64) *run {
	s := newSynth(seed)
	a := with(func(v *server) { v.name = "A" })
	b := with(func(v *server) { v.name, v.network = "B", plain.network+more })
	s.subject(a)
	s.subject(b)
	for round := range 8 {
		for _, v := range []server{a, b} {
			c := s.cell("", record.Single, v, record.Params{Batch: 1}, round)
			s.closed(c, v, 60, 1, 1, 1)
			s.end(c, record.OK)
			c = s.cell("", record.Concurrency, v, record.Params{Batch: 1, Concurrency: 8}, round)
			s.closed(c, v, 200, 8, 1, 1)
			s.end(c, record.OK)
		}
	}
	s.model(a)
	return s.run
}

func TestCompareInOneRun(t *testing.T) {
	runs := []*run{twoSubjects(1, 2)}
	c, err := compareRuns(runs, runs, Sides{SubjectA: "A", SubjectB: "B"})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Interleaved || !c.Overall.Below(1) || !strings.Contains(c.Verdict, "B slower") {
		t.Errorf("interleaved %v, %s, %s", c.Interleaved, c.Overall, c.Verdict)
	}
	// A's median is near 5+1+2 = 8 ms and B's near 10 ms: a speed of 0.8.
	if p50 := c.Rows[0]; p50.Speed.Low > 0.8 || p50.Speed.High < 0.8 || p50.Rounds != 8 {
		t.Errorf("p50: %s over %d rounds, want an interval around 0.8", p50.Speed, p50.Rounds)
	}
	golden(t, "compare.md", []byte(markdown(t, c.Document())))
}

func TestCompareSeesNoDifferenceWhereThereIsNone(t *testing.T) {
	wrong := 0
	const trials = 20
	for seed := range uint64(trials) {
		runs := []*run{twoSubjects(seed+10, 0)}
		c, err := compareRuns(runs, runs, Sides{SubjectA: "A", SubjectB: "B"})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(c.Verdict, "no difference seen") {
			wrong++
		}
	}
	if wrong > 4 { // of 20 at 5 %: five or more have a chance of 0.3 %
		t.Errorf("%d of %d comparisons of equals saw a difference", wrong, trials)
	}
}

func TestCompareTwoRuns(t *testing.T) {
	c, err := compareRuns([]*run{study(1)}, []*run{study(2)}, Sides{})
	if err != nil {
		t.Fatal(err)
	}
	text := markdown(t, c.Document())
	for _, want := range []string{"were not taken in turns", "Operator profiles", "| MatMul |", "| Total |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%.3000s", want, text)
		}
	}
	if len(c.Unmatched) != 0 {
		t.Errorf("the same study twice, and unmatched: %q", c.Unmatched)
	}
}

func TestCompareErrors(t *testing.T) {
	runs := []*run{short(1)}
	for want, s := range map[string]Sides{`no subject "X" in the record; it has: PyTorch FastAPI`: {SubjectA: "X"}} {
		if _, err := compareRuns(runs, runs, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", s, err, want)
		}
	}
	only := newSynth(1)
	only.single("9", only.subject(plain), 50)
	if _, err := compareRuns(runs, []*run{only.run}, Sides{}); err == nil || !strings.Contains(err.Error(), "nothing to compare") {
		t.Errorf("%v, want nothing to compare", err)
	}
}
