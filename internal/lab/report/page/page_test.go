package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
	"github.com/vitrine-project/vitrine/internal/lab/report/figure"
)

// hostile has in each place of text what each format must escape.
const hostile = "a|b <script>alert(1)</script> *x* _y_ & \"q\" `co<de|`"

func sample() *Document {
	f := figure.Of(figure.Millis, 55.83, 55.12, 56.61, 30)
	t := &Table{Columns: []Column{{Title: hostile, Left: true}, {Title: "B"}}}
	v := Number(f)
	v.Best, v.Star, v.From = true, true, hostile
	v.Marks = []string{t.Mark(hostile)}
	t.Rows = [][]Value{{Words(hostile), v}, {Words("x"), {Text: "timeout", Status: "timeout"}}}
	return &Document{Schema: Schema, Title: hostile, Lead: []string{hostile}, Summary: []Finding{{Rule: "r", Text: hostile}}, Sections: []Section{{
		ID: "s", Title: hostile, Context: []string{"GPU: " + hostile}, Text: []string{hostile},
		Parts: []Part{{ID: "p", Title: hostile, Table: t, Charts: []*chart.Chart{{
			ID: "c", Kind: chart.Lines, Title: hostile, Alt: hostile,
			Series: []chart.Series{{Name: hostile, Points: []chart.Point{{X: 1, Y: 2, Label: hostile}, {X: 2, Y: 4}}}},
		}}}},
		Findings: []Finding{{Rule: "r", Text: hostile}},
	}}}
}

func render(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTMLIsWellFormedAndSafe(t *testing.T) {
	text := render(t, sample().HTML)
	if strings.Contains(text, "<script") {
		t.Error("text became a script")
	}
	for _, m := range regexp.MustCompile(`(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "#") {
			t.Errorf("the page needs %s", m[1])
		}
	}
	closed := strings.NewReplacer("<!doctype html>", "", `<meta charset="utf-8">`, "").Replace(text)
	closed = regexp.MustCompile(`<meta [^>]*>`).ReplaceAllString(closed, "")
	d := xml.NewDecoder(strings.NewReader(closed))
	d.Entity = xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
	}
	for _, want := range []string{"<caption>", `scope="col"`, `scope="row"`, `role="img"`, "<title id=", "<desc id=", `lang="en"`, "width=device-width", "prefers-color-scheme:dark", "@media print", "55.1–56.6", `class="status timeout"`, "<strong>55.8 ms</strong>"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestMarkdownEscapes(t *testing.T) {
	text := render(t, sample().Markdown)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") {
			if got := len(regexp.MustCompile(`(?:^|[^\\])\|`).FindAllString(line, -1)); got != 3 {
				t.Errorf("%d bars in %q, want 3", got, line)
			}
		}
	}
	for _, want := range []string{"&lt;script>", `\*x\*`, "**55.8 ms** ⭐† (55.1–56.6)", "**Finding** (`r`)", "### 1.1 ", "timeout"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestMarksAreSharedAndNeverRunOut(t *testing.T) {
	var table Table
	seen := map[string]bool{}
	for i := range 50 {
		mark := table.Mark(strings.Repeat("x", i+1))
		if seen[mark] {
			t.Fatalf("the mark %s was given twice", mark)
		}
		seen[mark] = true
	}
	if again := table.Mark("x"); again != "†" {
		t.Errorf("the first text's mark is %s", again)
	}
	table.Note("whole")
	table.Note("whole")
	if n := len(table.Notes); n != 51 {
		t.Errorf("%d notes, want 51", n)
	}
}

func TestAnchor(t *testing.T) {
	for in, want := range map[string]string{
		"1. Hardware Tested": "1-hardware-tested", "7. Step 6B: Scaling (4× RTX 4080)": "7-step-6b-scaling-4-rtx-4080",
	} {
		if got := anchor(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
