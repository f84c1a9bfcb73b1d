package chart

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// scale maps values to the drawing.
type scale struct {
	lo, hi   float64 // of the values, in the axis' own measure (logarithms on a logarithmic axis)
	from, to float64 // of the drawing
	log      bool
	ticks    []float64
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = math.Log10(max(v, 1e-12))
	}
	return s.from + (v-s.lo)/(s.hi-s.lo)*(s.to-s.from)
}

func newScale(axis Axis, values []float64, from, to float64) scale {
	s := scale{from: from, to: to, log: axis.Log, ticks: axis.Ticks}
	if len(values) == 0 {
		values = []float64{1, 10}
	}
	lo, hi := slices.Min(values), slices.Max(values)
	if axis.Log {
		s.lo, s.hi = math.Log10(max(lo, 1e-12)), math.Log10(max(hi, 1e-12))
		pad := max((s.hi-s.lo)*0.04, 0.02)
		s.lo, s.hi = s.lo-pad, s.hi+pad
		if s.ticks == nil {
			s.ticks = logTicks(lo, hi)
		}
		return s
	}
	lo = min(lo, 0)
	if hi <= lo {
		hi = lo + 1
	}
	step := niceStep((hi - lo) / 5)
	s.lo, s.hi = math.Floor(lo/step)*step, math.Ceil(hi/step*1.0001)*step
	if s.ticks == nil {
		for v := s.lo; v <= s.hi+step/2; v += step {
			s.ticks = append(s.ticks, math.Round(v/step)*step)
		}
	}
	return s
}

// niceStep rounds up to 1, 2 or 5 times a power of ten.
func niceStep(raw float64) float64 {
	if raw <= 0 {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*base >= raw {
			return m * base
		}
	}
	return 10 * base
}

// logTicks gives decades, with 2 and 5 between them where the range is less than two decades, and equal steps
// where that leaves fewer than three.
func logTicks(lo, hi float64) (ticks []float64) {
	steps := []float64{1, 2, 5}
	if hi/lo > 100 {
		steps = steps[:1]
	}
	lowest, highest := lo*0.9, hi*1.1
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range steps {
			if v := m * math.Pow(10, e); v >= lowest && v <= highest {
				ticks = append(ticks, v)
			}
		}
	}
	if len(ticks) >= 3 {
		return ticks
	}
	return evenTicks(lo, hi)
}

// evenTicks gives the multiples of a round step between lo and hi.
func evenTicks(lo, hi float64) (ticks []float64) {
	step := niceStep((hi - lo) / 5)
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		ticks = append(ticks, i*step)
	}
	return ticks
}

func (c *Chart) plot(from float64) (string, float64) {
	names := make([]string, len(c.Series))
	for i, s := range c.Series {
		names[i] = s.Name
	}
	key, used := legend(names, c.key, from)
	top := from + used + 28
	xs, ys := c.values()
	x := newScale(c.X, xs, left, width-right)
	y := newScale(c.Y, ys, top+plotHeight, top)
	var b strings.Builder
	b.WriteString(key)
	c.axes(&b, x, y, top)
	for i, s := range c.Series {
		c.series(&b, i, s, x, y)
	}
	return b.String(), top + plotHeight + 48
}

func (c *Chart) key(i int, x, y float64) string {
	if c.Kind != Lines {
		return marker(i, x, y)
	}
	return fmt.Sprintf(`<path class="line %s" stroke-dasharray="%s" d="M%.1f %.1fh20"/>`, class(i), dashes[i%len(dashes)], x-10, y) + marker(i, x, y)
}

func (c *Chart) values() (xs, ys []float64) {
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
			if p.High > p.Low {
				ys = append(ys, p.High, max(p.Low, p.Y/10))
			}
		}
	}
	return xs, ys
}

func (c *Chart) axes(b *strings.Builder, x, y scale, top float64) {
	bottom := top + plotHeight
	for _, t := range y.ticks {
		at := y.at(t)
		fmt.Fprintf(b, `<path class="grid" d="M%g %.1fH%g"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, left, at, width-right, left-6, at+4, short(t))
	}
	last := math.Inf(-1)
	for _, t := range x.ticks {
		at, label := x.at(t), short(t)
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fv5"/>`, at, bottom)
		if half := textWidth(label) / 2; at-half > last+4 {
			fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, at, bottom+18, label)
			last = at + half
		}
	}
	fmt.Fprintf(b, `<path class="grid" d="M%g %.1fH%g"/>`, left, bottom, width-right)
	fmt.Fprintf(b, `<text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, width-right, bottom+37, html.EscapeString(c.X.Title))
	fmt.Fprintf(b, `<text class="tick" x="12" y="%.1f">%s</text>`, top-16, html.EscapeString(c.Y.Title))
}

func (c *Chart) series(b *strings.Builder, i int, s Series, x, y scale) {
	if c.Kind == Lines && len(s.Points) > 1 {
		fmt.Fprintf(b, `<path class="line %s" stroke-dasharray="%s" d="%s"/>`, class(i), dashes[i%len(dashes)], polyline(s.Points, x, y))
	}
	every := 1
	if s.Bare {
		every = max(len(s.Points)/6, 1)
	}
	for k, p := range s.Points {
		px, py := x.at(p.X), y.at(p.Y)
		if p.High > p.Low {
			fmt.Fprintf(b, `<path class="err %s" d="M%.1f %.1fV%.1fm-3 0h6M%.1f %.1fh6"/>`, class(i), px, y.at(max(p.Low, p.Y/10)), y.at(p.High), px-3, y.at(max(p.Low, p.Y/10)))
		}
		switch {
		case p.Star:
			fmt.Fprintf(b, `<g class="%s">%s</g>`, class(i), star(px, py))
		case k%every == every/2 || every == 1:
			b.WriteString(marker(i, px, py))
		}
		if p.Label != "" {
			b.WriteString(label(p.Label, px, py))
		}
	}
}

func polyline(points []Point, x, y scale) string {
	var d strings.Builder
	for k, p := range points {
		op := "L"
		if k == 0 {
			op = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", op, x.at(p.X), y.at(p.Y))
	}
	return d.String()
}

// label stands on the side of the point that has room for it.
func label(text string, x, y float64) string {
	if x+10+textWidth(text) < width-4 {
		return fmt.Sprintf(`<text class="tick" x="%.1f" y="%.1f">%s</text>`, x+9, y+4, html.EscapeString(text))
	}
	return fmt.Sprintf(`<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, x-9, y+4, html.EscapeString(fit(text, x-12)))
}
