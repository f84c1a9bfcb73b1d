package chart

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var charts = map[string]*Chart{
	"lines": {
		ID: "lines", Kind: Lines, Title: "Throughput against concurrency", Alt: "One peaks at 8.",
		X: Axis{Title: "clients", Log: true, Ticks: []float64{1, 8, 32}}, Y: Axis{Title: "img/s"},
		Series: []Series{
			{Name: "One & <two>", Points: []Point{{X: 1, Y: 20, Low: 18, High: 23}, {X: 8, Y: 147, Star: true}, {X: 32, Y: 120}}},
			{Name: "Three", Points: []Point{{X: 1, Y: 2}, {X: 8, Y: 12}, {X: 32, Y: 31}}},
		},
	},
	"stack": {
		ID: "stack", Kind: Stack, Title: "Where the time goes", Alt: "The network.", X: Axis{Title: "ms"}, Parts: []string{"Compute", "Network"},
		Bars: []Bar{{Name: "A", Values: []float64{4.4, 167.8}}, {Name: "A very long name of a subject that does not fit into the width of a chart at all", Values: []float64{12, 0}}},
	},
	"scatter": {
		ID: "scatter", Kind: Scatter, Title: "Payload", X: Axis{Title: "KiB", Log: true}, Y: Axis{Title: "ms", Log: true},
		Series: []Series{{Name: "JSON", Points: []Point{{X: 2980, Y: 480, Label: "JSON of the first system"}}}, {Name: "JPEG", Points: []Point{{X: 17, Y: 30}}}},
	},
	"empty": {ID: "empty", Kind: Lines, Title: "Nothing"},
	"many": {ID: "many", Kind: Lines, Title: "Many series", Series: func() (s []Series) {
		for i := range 14 {
			s = append(s, Series{Name: "series " + strconv.Itoa(i), Points: []Point{{X: 0, Y: float64(i)}, {X: 1, Y: 2 * float64(i)}}})
		}
		return s
	}()},
}

func TestCharts(t *testing.T) {
	for name, c := range charts {
		svg := c.Standalone()
		wellFormed(t, name, svg)
		inside(t, name, svg)
		path := filepath.Join("testdata", name+".svg")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(svg), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != svg {
			t.Errorf("%s differs from its golden file; if that is meant, run the test with -update", name)
		}
	}
}

func wellFormed(t *testing.T, name, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// inside checks that text and bars begin within the drawing and that no coordinate is broken.
func inside(t *testing.T, name, svg string) {
	t.Helper()
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("%s has a coordinate that is no number", name)
	}
	for _, m := range regexp.MustCompile(`<(?:text|rect)[^>]* x="([-0-9.]+)"`).FindAllStringSubmatch(svg, -1) {
		if x, err := strconv.ParseFloat(m[1], 64); err != nil || x < 0 || x > width {
			t.Errorf("%s: something stands at x=%s of %g", name, m[1], width)
		}
	}
}

func TestTicksHoldTheRange(t *testing.T) {
	for _, c := range []struct {
		axis   Axis
		values []float64
	}{
		{Axis{}, []float64{0.003, 0.0071}}, {Axis{}, []float64{0, 0}}, {Axis{}, []float64{5}}, {Axis{}, []float64{1e6, 9.99e6}},
		{Axis{Log: true}, []float64{0.01, 9000}}, {Axis{Log: true}, []float64{30, 31}}, {Axis{Log: true}, []float64{7}},
	} {
		s := newScale(c.axis, c.values, 0, 100)
		for _, v := range c.values {
			if at := s.at(v); math.IsNaN(at) || at < -1e-9 || at > 100+1e-9 {
				t.Errorf("%v of %v is drawn at %g", v, c.values, at)
			}
		}
		if n := len(s.ticks); n > 12 {
			t.Errorf("%v has %d ticks", c.values, n)
		}
	}
}

// Two neighbours in a legend are told apart without colour.
func TestLogTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   []float64
	}{
		{1, 10000, []float64{1, 10, 100, 1000, 10000}},
		{1, 50, []float64{1, 2, 5, 10, 20, 50}},
		{22, 45, []float64{25, 30, 35, 40, 45}},
		{31, 34, []float64{31, 32, 33, 34}},
	} {
		if got := logTicks(c.lo, c.hi); !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.lo, c.hi, got, c.want)
		}
	}
}

func TestMarkersDiffer(t *testing.T) {
	seen := map[string]bool{}
	for i := range 2 * colours {
		m := strings.ReplaceAll(marker(i, 0, 0), class(i), "")
		if seen[m] {
			t.Errorf("series %d has the marker of another", i)
		}
		seen[m] = true
	}
}

// Contrast of each series' colour with its ground is 3:1 or more (WCAG 2.2, 1.4.11).
func TestContrast(t *testing.T) {
	blocks := strings.SplitN(Style, "dark){", 2)
	for i, block := range []string{blocks[0], blocks[1]} {
		ground := luminance(regexp.MustCompile(`--ground:#([0-9a-f]+)`).FindStringSubmatch(block)[1])
		found := regexp.MustCompile(`--(?:c\d|ink|soft):#([0-9a-f]+)`).FindAllStringSubmatch(block, -1)
		if len(found) != colours+2 {
			t.Fatalf("%d colours in block %d", len(found), i)
		}
		for _, m := range found {
			l := luminance(m[1])
			if ratio := (max(l, ground) + 0.05) / (min(l, ground) + 0.05); ratio < 3 {
				t.Errorf("%s has a contrast of %.2f", m[0], ratio)
			}
		}
	}
}

func luminance(hex string) float64 {
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	var l float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, _ := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}
