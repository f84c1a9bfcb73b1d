package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/report/page"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run the test with -update:\n%s", name, diff)
	}
}

func markdown(t *testing.T, d *page.Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStudyHasEveryTable(t *testing.T) {
	d := build("", []*run{study(1)}, nil)
	golden(t, "study.md", []byte(markdown(t, d)))
	for _, s := range d.Sections {
		if s.ID == "left-out" {
			t.Errorf("the synthetic study leaves tables out: %q", s.Text)
		}
	}
}

func TestShortStudyInEveryFormat(t *testing.T) {
	d := build("", []*run{short(1)}, []*run{study(2)})
	golden(t, "short.md", []byte(markdown(t, d)))
	var b bytes.Buffer
	if err := d.JSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "short.json", b.Bytes())
	b.Reset()
	if err := d.HTML(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "short.html", b.Bytes())
}

func TestIdentifiersAreUnique(t *testing.T) {
	var b bytes.Buffer
	if err := build("", []*run{study(1)}, nil).HTML(&b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(b.String(), -1) {
		if seen[m[1]] || m[1] == "" {
			t.Errorf("the identifier %q is there twice", m[1])
		}
		seen[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(b.String(), -1) {
		if !seen[m[1]] {
			t.Errorf("a link leads to %q, which is nowhere", m[1])
		}
	}
}

// A reader who knows only the reference finds each of its tables by its columns.
func TestReferenceColumnsAreThere(t *testing.T) {
	text := markdown(t, build("", []*run{study(1)}, nil))
	for _, line := range []string{
		"| GPU | Type | VRAM | Provider |", "Cold start", "Single p50", "Single mean", "Batch-4", "Batch-32", "Concurrent req/s", "Advantage |",
		"| Batch Size | JSON | binary tensor |", "Payload (JSON)", "| Before (JSON) | Improvement |",
		"Server compute", "Server request", "Input processing", "| Median (p50) |", "| P95 |", "| P99 |", "| Min |",
		"vs Baseline", "Network + transfer", "Server overhead", "Total (client)", "Total VRAM used", "GPU utilization", "Power limit",
		"| Best for Compute | Compute Time | Runner-Up | Compute Time |", "| Concurrency | Throughput (img/s) | Latency p50 | Latency p95 |", "⭐",
		"| Scaling Factor | Efficiency | Cost/hr | Cost per 1K imgs |", "baseline", "| Metric | Per-Request Average | Share |", "Queue time",
		"Total requests", "Model executions", "Batch efficiency", "Avg batch size", "| GPU | VRAM Used | VRAM Total |", "| Total | 9.88 GiB | 64 GiB |",
		"| Latency (p50) |", "Best Throughput", "| Payload per Image | Network Time | Used By |", "| Operator | Total Time | % of Compute | Invocations |",
		"**Opset:** 14", "**Nodes:** 2,272", "| Batch Size | Latency | Images/sec | Scaling |", "Session creation", "Raw Data Files", "timeout", "INVALID", "Energy per 1,000 images",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in the report", line)
		}
	}
}

func TestEmptyRecordsSayWhatIsMissing(t *testing.T) {
	r := newSynth(1).run
	text := markdown(t, build("", []*run{r}, nil))
	for _, want := range []string{"Tables Left Out", "Serialization overhead: needs `serialization` cells", "Model profile: needs `profile`"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// The same records give the same document.
func TestDeterministic(t *testing.T) {
	first := markdown(t, build("", []*run{short(3)}, nil))
	for range 5 {
		if diff := cmp.Diff(first, markdown(t, build("", []*run{short(3)}, nil))); diff != "" {
			t.Fatalf("two builds of the same records differ:\n%s", diff)
		}
	}
}

func TestRulesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/figures.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range groupRules {
		names = append(names, r.name)
	}
	for _, r := range bookRules {
		names = append(names, r.name)
	}
	for _, name := range headlines {
		if !slices.Contains(names, name) {
			t.Errorf("the headline %s is no rule", name)
		}
	}
	for _, name := range names {
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("docs/figures.md lacks the rule %s", name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(names, m[1]) {
			t.Errorf("docs/figures.md lists the rule %s, which there is not", m[1])
		}
	}
}

func TestJSONSchema(t *testing.T) {
	var b bytes.Buffer
	if err := build("", []*run{short(1)}, nil).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Schema   int
		Sections []struct {
			ID    string
			Parts []struct {
				ID    string
				Table *struct {
					Columns []struct{ Title string }
					Rows    [][]struct {
						Text   string
						Figure *struct{ Value, Low, High float64 }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Schema != page.Schema {
		t.Errorf("schema %d, want %d", d.Schema, page.Schema)
	}
	ids := map[string]bool{}
	for _, s := range d.Sections {
		for _, p := range s.Parts {
			if ids[s.ID+p.ID] {
				t.Errorf("the part %s is there twice in %s", p.ID, s.ID)
			}
			ids[s.ID+p.ID] = true
			if p.Table == nil {
				continue
			}
			for _, row := range p.Table.Rows {
				if len(row) != len(p.Table.Columns) {
					t.Errorf("%s %s: a row of %d values under %d columns", s.ID, p.ID, len(row), len(p.Table.Columns))
				}
			}
		}
	}
}

// short is one step of two subjects and a profile.
func short(seed uint64) *run {
	s := newSynth(seed)
	torch := server{name: "PyTorch FastAPI", format: "embed-base64", backend: "PyTorch", software: "fastapi", card: "RTX A4000", compute: 12, each: 3, overhead: 4, network: 30, bytes: 17408, spread: 0.12, stages: true}
	onnx := server{name: "Triton | <ONNX>", format: "oip-binary", backend: "ONNX CUDA EP", software: "triton", card: "RTX A4000", compute: 31, each: 8, overhead: 11, network: 160, bytes: 602112, spread: 0.15}
	s.basics("4", s.subject(torch), 2, []int{4}, []int{1, 8})
	s.basics("4", s.subject(onnx), 2, []int{4}, []int{1, 8})
	c := s.cell("4", record.Batch, onnx, record.Params{Batch: 8}, 0)
	s.end(c, record.Failed, "HTTP 500: out of memory")
	s.model(torch)
	return s.run
}
