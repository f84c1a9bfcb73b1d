package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

func TestRecordIsWhatTheFiguresGive(t *testing.T) {
	var made bytes.Buffer
	if err := write(&made); err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../reference-2026-02.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, made.Bytes()) {
		t.Error("run go run ./studies/reference-2026-02 > studies/reference-2026-02.jsonl")
	}
}

func TestRecordLoads(t *testing.T) {
	data, err := record.Load("../reference-2026-02.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]int{}
	measured := 0
	for _, r := range data.Runs {
		for _, c := range r.Cells {
			statuses[c.Status()]++
			measured += len(c.Measures)
			if _, ok := r.Subject(c.Subject); !ok {
				t.Errorf("%s: cell %d: no subject %q", r.Manifest.Title, c.ID, c.Subject)
			}
		}
	}
	// The document's three timeouts are results too.
	if diff := cmp.Diff(map[string]int{record.OK: 72, record.Timeout: 3}, statuses); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(data.Runs) != 8 || measured < 150 || !data.Files[0].Ending.Clean {
		t.Errorf("%d runs, %d measures, ending %+v", len(data.Runs), measured, data.Files[0].Ending)
	}
}
