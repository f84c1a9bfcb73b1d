package chart

import (
	"fmt"
	"html"
	"strings"
)

const (
	barHeight = 22.0
	barPitch  = 46.0
)

// stack draws each bar under its name, so that long names fit a narrow screen.
func (c *Chart) stack(from float64) (string, float64) {
	key, used := legend(c.Parts, func(i int, x, y float64) string {
		return fmt.Sprintf(`<g class="%s"><rect class="part" x="%.1f" y="%.1f" width="13" height="13"/></g>`, class(i), x-7, y-7)
	}, from)
	top := from + used + 6
	var totals []float64
	for _, bar := range c.Bars {
		totals = append(totals, sum(bar.Values))
	}
	x := newScale(c.X, totals, 12, width-right)
	var b strings.Builder
	b.WriteString(key)
	for i, bar := range c.Bars {
		c.bar(&b, bar, x, top+float64(i)*barPitch)
	}
	bottom := top + float64(len(c.Bars))*barPitch
	for _, t := range x.ticks {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fv5"/><text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x.at(t), bottom, x.at(t), bottom+18, short(t))
	}
	fmt.Fprintf(&b, `<path class="grid" d="M12 %.1fH%g"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, bottom, width-right, width-right, bottom+36, html.EscapeString(c.X.Title))
	return b.String(), bottom + 46
}

func (c *Chart) bar(b *strings.Builder, bar Bar, x scale, y float64) {
	total := sum(bar.Values)
	fmt.Fprintf(b, `<text x="12" y="%.1f">%s</text>`, y+13, html.EscapeString(fit(bar.Name, width-110)))
	fmt.Fprintf(b, `<text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, width-right, y+13, short(total))
	from := 0.0
	for i, v := range bar.Values {
		if v <= 0 {
			continue
		}
		x0, x1 := x.at(from), x.at(from+v)
		fmt.Fprintf(b, `<g class="%s"><rect class="part" x="%.1f" y="%.1f" width="%.1f" height="%g"/></g>`, class(i), x0, y+18, max(x1-x0, 0.5), barHeight)
		if share := fmt.Sprintf("%.0f %%", 100*v/total); x1-x0 > textWidth(share)+6 {
			fmt.Fprintf(b, `<text class="onbar" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (x0+x1)/2, y+18+barHeight/2+4, share)
		}
		from += v
	}
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += max(v, 0)
	}
	return total
}
