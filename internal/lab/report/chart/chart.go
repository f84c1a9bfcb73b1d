// Package chart draws small SVG charts: lines, stacked bars and labelled points. They need no script, take
// their colours from the reader's light or dark preference, tell series apart by marker and dash as well
// as by colour, and carry a title and a description for those who cannot see them.
package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Kind of a chart.
type Kind string

// Kinds.
const (
	Lines   Kind = "lines"   // Series of Points, joined
	Stack   Kind = "stack"   // a horizontal bar for each of Bars, of its Parts
	Scatter Kind = "scatter" // labelled Points
)

// Chart is what is drawn; its data are its JSON.
type Chart struct {
	ID     string   `json:"id"` // unique in a page: letters, digits, hyphens
	Kind   Kind     `json:"kind"`
	Title  string   `json:"title"`
	Alt    string   `json:"alt"` // what a reader would say that it shows
	X      Axis     `json:"x"`
	Y      Axis     `json:"y,omitzero"`
	Series []Series `json:"series,omitempty"`
	Parts  []string `json:"parts,omitempty"` // Stack: the names of a bar's parts
	Bars   []Bar    `json:"bars,omitempty"`
}

// Axis has a title with its unit. Ticks are chosen where none are given.
type Axis struct {
	Title string    `json:"title"`
	Log   bool      `json:"log,omitempty"`
	Ticks []float64 `json:"ticks,omitempty"`
}

// Series is a line, or a group of points.
type Series struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
	Bare   bool    `json:"bare,omitempty"` // only a few markers on a line of many points
}

// Point may have an interval in Y; Low and High are both 0 where it has none.
type Point struct {
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Low   float64 `json:"low,omitempty"`
	High  float64 `json:"high,omitempty"`
	Label string  `json:"label,omitempty"`
	Star  bool    `json:"star,omitempty"`
}

// Bar is a row of Stack; its values follow Chart.Parts.
type Bar struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// The drawing is 480 units wide: at a phone's 360 pixels its 14-unit letters are still 10 pixels high.
const (
	width       = 480.0
	left, right = 58.0, 16.0
	plotHeight  = 240.0
	lineHeight  = 18.0
)

// SVG is the drawing, styled by Style of the page that holds it.
func (c *Chart) SVG() string { return c.svg("") }

// Standalone is the drawing as a file of its own, with its style inside.
func (c *Chart) Standalone() string { return c.svg("<style>" + Style + "</style>") }

func (c *Chart) svg(style string) string {
	head, top := c.head()
	draw := c.plot
	if c.Kind == Stack {
		draw = c.stack
	}
	body, height := draw(top)
	id := "chart-" + c.ID
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 %g %.0f" role="img" aria-labelledby="%[3]s-t %[3]s-d">`+
		`<title id="%[3]s-t">%[4]s</title><desc id="%[3]s-d">%[5]s</desc>%[6]s`+
		`<rect class="bg" width="%[1]g" height="%.0[2]f" rx="6"/>`+
		`%[7]s%[8]s</svg>`,
		width, height, id, html.EscapeString(c.Title), html.EscapeString(c.Alt), style, head, body)
}

// head writes the title, in as many lines as it needs, and gives where the rest begins.
func (c *Chart) head() (string, float64) {
	var b strings.Builder
	y, line := 22.0, ""
	flush := func() {
		fmt.Fprintf(&b, `<text class="head" x="12" y="%.0f">%s</text>`, y, html.EscapeString(fit(line, width-24)))
		y += 19
	}
	for _, word := range strings.Fields(c.Title) {
		// The title's letters are larger and bold: about 9 wide.
		if line != "" && 9*float64(len([]rune(line))+1+len([]rune(word))) > width-24 {
			flush()
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	flush()
	return b.String(), y - 9
}

// legend writes the entries in as many lines as they need and gives the height used.
func legend(names []string, key func(i int, x, y float64) string, top float64) (string, float64) {
	var b strings.Builder
	x, y := 12.0, top+lineHeight-5
	for i, name := range names {
		w := 30 + textWidth(name)
		if x+w > width-8 && x > 12 {
			x, y = 12, y+lineHeight
		}
		b.WriteString(key(i, x+8, y-4.5))
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f">%s</text>`, x+21, y, html.EscapeString(name))
		x += w
	}
	return b.String(), y - top + 8
}

// textWidth estimates; a sans-serif letter of 13 units is at most about 7.5 wide.
func textWidth(s string) float64 { return 7.5 * float64(len([]rune(s))) }

// fit shortens s to a width.
func fit(s string, w float64) string {
	r := []rune(s)
	if n := int(w / 7.5); len(r) > n && n > 1 {
		return string(r[:n-1]) + "…"
	}
	return s
}

func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return trim(v/1e6) + "M"
	case a >= 1e4:
		return trim(v/1e3) + "k"
	default:
		return trim(v)
	}
}

func trim(v float64) string {
	s := fmt.Sprintf("%.4g", v)
	if strings.Contains(s, "e") {
		s = fmt.Sprintf("%g", v)
	}
	return s
}
