package report

import (
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// profiled is a run with the profile of a card of 1,000 TFLOP/s and 3 TB/s.
func profiled(peaks bool) *run {
	s := newSynth(1)
	v := server{name: "vitrine cuda", format: "in-process", software: "vitrine", card: "H100"}
	s.subject(v)
	c := s.cell("", record.Profile, v, record.Params{Batch: 32}, 0)
	c.operators = []record.Operator{
		{Cell: c.ID, Name: "qkv", Total: 2 * time.Millisecond, Count: 4, Where: "device", FLOPs: 1e12, Bytes: 1.5e9},
		{Cell: c.ID, Name: "norm", Total: 6 * time.Millisecond, Count: 4, Where: "device", Bytes: 9e9},
	}
	s.measure(c, "model_run", "ms", 7, 8, 9)
	c.measures[0].Note = "runs of 32 rows without profiling; operators: device time, by CUDA events"
	if peaks {
		s.measure(c, "peak_flops", "FLOP/s", 1e15)
		s.measure(c, "peak_bytes", "bytes/s", 3e12)
	}
	s.end(c, record.OK)
	return s.run
}

// TestOperatorRates: what operators did in a second stands beside their times, as a share of the card's most.
func TestOperatorRates(t *testing.T) {
	text := operatorText(t, profiled(true))
	for _, want := range []string{
		"norm|6 ms|75 %|4|1500 µs|device|—|—|1500 GB/s|50 %",
		"qkv|2 ms|25 %|4|500 µs|device|500 TFLOP/s|50 %|750 GB/s|25 %",
		"8 ms of the device's own time.", "(median of 3)", "Runs of 32 rows without profiling; operators: device time, by CUDA events.",
		"1000 TFLOP/s in this precision and 3000 GB/s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	text = operatorText(t, profiled(false))
	for _, want := range []string{"|500 TFLOP/s|—|750 GB/s|—", "peaks are not all known"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// operatorText is the table of operators, a row a line, and its notes.
func operatorText(t *testing.T, r *run) string {
	t.Helper()
	s, some := profiles(newBook([]*run{r}))
	if !some || len(s.Parts) == 0 || s.Parts[0].Table == nil {
		t.Fatalf("no table: %+v", s)
	}
	var b strings.Builder
	for _, row := range s.Parts[0].Table.Rows {
		var cells []string
		for _, v := range row {
			cells = append(cells, strings.ReplaceAll(v.Text, ",", ""))
		}
		b.WriteString(strings.Join(cells, "|") + "\n")
	}
	for _, n := range s.Parts[0].Table.Notes {
		b.WriteString(n.Text + "\n")
	}
	return b.String()
}
