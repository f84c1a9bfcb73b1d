package page

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Markdown writes the document as GitHub's Markdown. Charts are for HTML and are left out.
func (d *Document) Markdown(w io.Writer) error {
	m := &markdown{bufio.NewWriter(w)}
	m.printf("# %s\n", inline(d.Title))
	m.paragraphs(d.Lead)
	if len(d.Summary) > 0 {
		m.printf("\n## In short\n\n")
	}
	for _, f := range d.Summary {
		m.printf("- %s (`%s`)\n", inline(f.Text), f.Rule)
	}
	m.contents(d.Sections)
	for i, s := range d.Sections {
		m.section(i+1, s)
	}
	return m.Flush()
}

type markdown struct{ *bufio.Writer }

func (m *markdown) printf(format string, args ...any) { fmt.Fprintf(m, format, args...) }

func (m *markdown) paragraphs(texts []string) {
	for _, t := range texts {
		m.printf("\n%s\n", inline(t))
	}
}

func (m *markdown) contents(sections []Section) {
	m.printf("\n## Contents\n\n")
	for i, s := range sections {
		m.printf("%d. [%s](#%s)\n", i+1, inline(s.Title), anchor(fmt.Sprintf("%d. %s", i+1, s.Title)))
	}
}

func (m *markdown) section(number int, s Section) {
	m.printf("\n## %d. %s\n", number, inline(s.Title))
	if len(s.Context) > 0 {
		m.printf("\n%s\n", context(s.Context))
	}
	m.paragraphs(s.Text)
	sub := 0
	for _, p := range s.Parts {
		if p.Title != "" && (p.Table != nil || len(p.Text) > 0) {
			sub++
			m.printf("\n### %d.%d %s\n", number, sub, inline(p.Title))
		}
		m.paragraphs(p.Text)
		if p.Table != nil {
			m.table(p.Table)
		}
	}
	for _, f := range s.Findings {
		m.printf("\n**Finding** (`%s`): %s\n", f.Rule, inline(f.Text))
	}
}

// context sets each "Name: text" with its name in bold.
func context(parts []string) string {
	out := make([]string, len(parts))
	for i, p := range parts {
		name, text, _ := strings.Cut(p, ": ")
		out[i] = "**" + inline(name) + ":** " + inline(text)
	}
	return strings.Join(out, " | ")
}

func (m *markdown) table(t *Table) {
	m.printf("\n|")
	for _, c := range t.Columns {
		m.printf(" %s |", inline(c.Title))
	}
	m.printf("\n|")
	for _, c := range t.Columns {
		if c.Left {
			m.printf("---|")
		} else {
			m.printf("--:|")
		}
	}
	m.printf("\n")
	for _, row := range t.Rows {
		m.printf("|")
		for _, v := range row {
			m.printf(" %s |", v.markdown())
		}
		m.printf("\n")
	}
	for _, n := range t.Notes {
		m.printf("\n%s\n", strings.TrimSpace(n.Mark+" "+inline(n.Text)))
	}
}

func (v Value) markdown() string {
	s := inline(v.Text)
	if v.Best {
		s = "**" + s + "**"
	}
	if v.Star {
		s += " ⭐"
	}
	s += strings.Join(v.Marks, "")
	if v.Range != "" {
		s += " (" + v.Range + ")"
	}
	if v.From != "" {
		s += ", " + inline(v.From)
	}
	return s
}

var escape = strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "\n", " ")

// inline escapes text for Markdown; what stands between backquotes is code and keeps its letters.
func inline(text string) string {
	parts := strings.Split(text, "`")
	for i := range parts {
		if i%2 == 0 || i == len(parts)-1 {
			parts[i] = escape.Replace(parts[i])
		} else {
			parts[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(parts[i])
		}
	}
	return strings.Join(parts, "`")
}

// anchor is GitHub's name for a heading.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 0x7f && r != '×' && r != '—' && r != '–':
			b.WriteRune(r)
		}
	}
	return b.String()
}
