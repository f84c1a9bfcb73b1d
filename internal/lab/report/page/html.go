package page

import (
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"io"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/report/chart"
)

//go:embed page.html
var source string

//go:embed page.css
var style string

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"number":  number,
	"rich":    rich,
	"context": richContext,
	"svg":     func(c *chart.Chart) template.HTML { return template.HTML(c.SVG()) },
	"inc":     func(i int) int { return i + 1 },
	"style":   func() template.CSS { return template.CSS(style + chart.Style) },
}).Parse(source))

// HTML writes the document as one file that needs nothing else: no script, no font, no network.
func (d *Document) HTML(w io.Writer) error { return layout.Execute(w, d) }

// numbered is a part with its number, empty where it belongs to the part before.
type numbered struct {
	Part
	Number string
}

func number(section int, parts []Part) []numbered {
	out := make([]numbered, len(parts))
	sub := 0
	for i, p := range parts {
		out[i].Part = p
		if p.Title != "" {
			sub++
			out[i].Number = fmt.Sprintf("%d.%d", section, sub)
		}
	}
	return out
}

// rich escapes text and sets what stands between backquotes as code.
func rich(text string) template.HTML {
	parts := strings.Split(text, "`")
	for i := range parts {
		parts[i] = html.EscapeString(parts[i])
		if i%2 == 1 && i < len(parts)-1 {
			parts[i] = "<code>" + parts[i] + "</code>"
		}
	}
	return template.HTML(strings.Join(parts, ""))
}

func richContext(text string) template.HTML {
	name, rest, _ := strings.Cut(text, ": ")
	return "<b>" + rich(name) + ":</b> " + rich(rest)
}
