package chart

import "fmt"

// Style is the charts' style sheet. The colours are Okabe and Ito's, darkened on white and lightened on
// black until each has a contrast of 3:1 with its ground.
const Style = `.chart{--c0:#0072b2;--c1:#c44e00;--c2:#007a5a;--c3:#a8487e;--c4:#8a6a00;--c5:#555;--ground:#fff;--ink:#1c1c1e;--faint:#d9d9de;--soft:#5b5b62;` +
	`font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:13px;width:100%;max-width:640px;height:auto}` +
	`@media screen and (prefers-color-scheme:dark){.chart{--c0:#56b4e9;--c1:#ff8f52;--c2:#2dc9a0;--c3:#e79cc6;--c4:#e6c04d;--c5:#bbb;--ground:#17181a;--ink:#ececee;--faint:#3a3b40;--soft:#a5a6ad}}` +
	`.chart .bg{fill:var(--ground)}.chart text{fill:var(--ink)}.chart .head{font-size:15px;font-weight:600}.chart .tick{fill:var(--soft);font-size:12px}` +
	`.chart .grid{stroke:var(--faint);stroke-width:1}.chart .line{fill:none;stroke-width:2.2;stroke-linejoin:round}.chart .err{stroke-width:1.4}` +
	`.chart .s0{stroke:var(--c0);color:var(--c0)}.chart .s1{stroke:var(--c1);color:var(--c1)}.chart .s2{stroke:var(--c2);color:var(--c2)}` +
	`.chart .s3{stroke:var(--c3);color:var(--c3)}.chart .s4{stroke:var(--c4);color:var(--c4)}.chart .s5{stroke:var(--c5);color:var(--c5)}` +
	`.chart .mark{fill:currentColor;stroke:var(--ground);stroke-width:.8}.chart .open{fill:var(--ground);stroke:currentColor;stroke-width:1.8}` +
	`.chart .part{stroke:var(--ground);stroke-width:1;fill:currentColor}.chart .onbar{fill:var(--ground);font-size:12px;font-weight:600}`

const colours = 6

var dashes = []string{"", "7 3", "2 3", "9 3 2 3", "12 4", "4 2"}

func class(i int) string { return fmt.Sprintf("s%d", i%colours) }

// marker draws series i's sign around (x, y): shape changes with the colour, and is hollow once the
// colours are used up.
func marker(i int, x, y float64) string {
	cls := "mark"
	if i/colours%2 == 1 {
		cls = "open"
	}
	return fmt.Sprintf(`<g class="%s"><path class="%s" d="%s"/></g>`, class(i), cls, shape(i%colours, x, y))
}

func shape(i int, x, y float64) string {
	switch i {
	case 0:
		return fmt.Sprintf("M%.1f %.1fa4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z", x-4.5, y)
	case 1:
		return fmt.Sprintf("M%.1f %.1fh8.4v8.4h-8.4z", x-4.2, y-4.2)
	case 2:
		return fmt.Sprintf("M%.1f %.1fl5.2 9h-10.4z", x, y-5.4)
	case 3:
		return fmt.Sprintf("M%.1f %.1fl5.6 5.6l-5.6 5.6l-5.6 -5.6z", x, y-5.6)
	case 4:
		return fmt.Sprintf("M%.1f %.1fl5.2 -9h-10.4z", x, y+5.4)
	default:
		return fmt.Sprintf("M%.1f %.1fh3v3.2h3.2v3h-3.2v3.2h-3v-3.2h-3.2v-3h3.2z", x-1.5, y-4.7)
	}
}

// star is a five-pointed star of radius 8.
func star(x, y float64) string {
	return fmt.Sprintf(`<path class="mark" d="M%.1f %.1fl2.4 5.1 5.6.7-4.1 3.8 1.1 5.5-5-2.8-5 2.8 1.1-5.5-4.1-3.8 5.6-.7z"/>`, x, y-8)
}
