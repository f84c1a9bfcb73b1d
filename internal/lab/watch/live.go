package watch

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	frameEvery = 250 * time.Millisecond // drawing takes from the processor that measures
	lineEvery  = 10 * time.Second       // where nobody looks at a terminal
	history    = 40                     // points of the chart
)

// Cell is what is being measured.
type Cell struct {
	Title     string
	Number    int // from 1
	Of        int
	Requests  int           // most; 0 is no bound
	Duration  time.Duration // longest; 0 is no bound
	Read      func() Counts // nil where no requests are counted
	Remaining time.Duration // of all cells after this one at most, as far as they are bounded by a time; 0 is unknown
}

// Live shows cells one after the other. Begin, End and Say may be called by one goroutine.
type Live struct {
	w        io.Writer
	terminal bool
	width    func() int
	now      func() time.Time

	mu     sync.Mutex
	cell   Cell
	began  time.Time
	last   Counts
	lastAt time.Time
	rates  []float64
	drawn  int // lines on the screen that the next frame replaces
	quit   chan struct{}
	idle   sync.WaitGroup
}

// New shows on f.
func New(f *os.File) *Live {
	l := newLive(f, time.Now)
	l.terminal = term.IsTerminal(int(f.Fd()))
	l.width = func() int {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			return w
		}
		return 80
	}
	return l
}

func newLive(w io.Writer, now func() time.Time) *Live {
	return &Live{w: w, now: now, width: func() int { return 80 }}
}

// Begin shows a cell until End.
func (l *Live) Begin(c Cell) {
	l.mu.Lock()
	l.cell, l.began, l.last, l.rates = c, l.now(), Counts{}, nil
	l.lastAt = l.began
	l.mu.Unlock()
	l.quit = make(chan struct{})
	every := lineEvery
	if l.terminal {
		every = frameEvery
	}
	l.idle.Go(func() { l.redraw(every, l.quit) })
}

func (l *Live) redraw(every time.Duration, quit chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.mu.Lock()
			l.tick()
			l.mu.Unlock()
		case <-quit:
			return
		}
	}
}

// tick draws a frame, or writes a line.
func (l *Live) tick() {
	l.measure()
	if !l.terminal {
		fmt.Fprintf(l.w, "  %s\n", l.progress())
		return
	}
	l.erase()
	lines := l.frame()
	for _, s := range lines {
		fmt.Fprintf(l.w, "%s\n", cut(s, l.width()-1))
	}
	l.drawn = len(lines)
}

// erase takes the last frame away.
func (l *Live) erase() {
	if l.drawn > 0 {
		fmt.Fprintf(l.w, "\x1b[%dA\x1b[J", l.drawn)
	}
	l.drawn = 0
}

// measure takes a point of the chart: the throughput since the last.
func (l *Live) measure() {
	if l.cell.Read == nil {
		return
	}
	c, now := l.cell.Read(), l.now()
	if d := now.Sub(l.lastAt).Seconds(); d > 0 {
		l.rates = append(l.rates, float64(c.Done-l.last.Done)/d)
		l.rates = l.rates[max(0, len(l.rates)-history):]
	}
	l.last, l.lastAt = c, now
}

func (l *Live) frame() []string {
	head := fmt.Sprintf("[%d/%d] %s", l.cell.Number, l.cell.Of, l.cell.Title)
	if l.cell.Remaining > 0 {
		head += "   then up to " + l.cell.Remaining.Round(time.Second).String()
	}
	lines := []string{head, "  " + l.progress()}
	if len(l.rates) > 0 {
		lines = append(lines, fmt.Sprintf("  %s %.4g/s", Spark(l.rates), l.rates[len(l.rates)-1]))
	}
	return lines
}

// progress is one line: how long, how many, how fast.
func (l *Live) progress() string {
	elapsed := l.now().Sub(l.began)
	parts := []string{elapsed.Round(time.Second / 10).String()}
	if l.cell.Duration > 0 {
		parts[0] += " of " + l.cell.Duration.String()
	}
	if l.cell.Read == nil {
		return parts[0]
	}
	c := l.last
	count := fmt.Sprintf("%d requests", c.Done)
	if l.cell.Requests > 0 {
		count = fmt.Sprintf("%d of %d requests", c.Done, l.cell.Requests)
	}
	parts = append(parts, count)
	if s := elapsed.Seconds(); s > 0 && c.Done > 0 {
		parts = append(parts, fmt.Sprintf("%.4g/s", float64(c.Done)/s))
		if c.Images != c.Done {
			parts = append(parts, fmt.Sprintf("%.4g images/s", float64(c.Images)/s))
		}
		parts = append(parts, "p50 "+Milliseconds(c.P50), "p99 "+Milliseconds(c.P99))
	}
	if c.InFlight > 0 {
		parts = append(parts, fmt.Sprintf("%d in flight", c.InFlight))
	}
	if c.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", c.Failed))
	}
	return strings.Join(parts, "  ")
}

// End stops showing the cell and leaves one line that says how it went.
func (l *Live) End(how string) {
	close(l.quit)
	l.idle.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	fmt.Fprintf(l.w, "[%d/%d] %s: %s\n", l.cell.Number, l.cell.Of, l.cell.Title, how)
}

// Say writes a line between cells.
func (l *Live) Say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	fmt.Fprintf(l.w, format+"\n", args...)
}

// Spark is a chart one line high, from 0 to the largest value.
func Spark(values []float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if top > 0 && v > 0 {
			i = min(int(v/top*float64(len(bars))), len(bars)-1)
		}
		b.WriteRune(bars[i])
	}
	return b.String()
}

// Milliseconds is a duration with three digits.
func Milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
}

// cut cuts s to width columns.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width || width <= 0 {
		return s
	}
	return string([]rune(s)[:width])
}
