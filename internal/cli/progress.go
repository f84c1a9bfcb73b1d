package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Unit says what a progress bar counts.
type Unit uint8

const (
	// Items counts images, files, anything.
	Items Unit = iota
	// ByteCount counts bytes and prints them in binary units.
	ByteCount
)

// Progress shows how far a long task is: one line that redraws itself on a terminal, a line every ten
// seconds elsewhere. It draws when told of progress and starts nothing; one goroutine may use it.
type Progress struct {
	w        io.Writer
	terminal bool
	width    int
	every    time.Duration
	now      func() time.Time

	label          string
	unit           Unit
	total, done    int64
	first          int64 // done at the start: what an earlier run did says nothing of this one's speed
	started, drawn time.Time
}

// NewProgress shows progress on f. total 0 means that the end is not known; done is what was there before.
func NewProgress(f *os.File, label string, unit Unit, total, done int64) *Progress {
	p := newProgress(f, label, unit, total, done, time.Now)
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.width, p.every = true, width, time.Second/10
	}
	return p
}

func newProgress(w io.Writer, label string, unit Unit, total, done int64, now func() time.Time) *Progress {
	t := now()
	return &Progress{w: w, label: label, unit: unit, total: total, done: done, first: done,
		now: now, started: t, drawn: t, width: 80, every: 10 * time.Second}
}

// Set says how much is done, and of how much where total is not 0.
func (p *Progress) Set(done, total int64) {
	p.done = done
	if total != 0 {
		p.total = total
	}
	if now := p.now(); now.Sub(p.drawn) >= p.every {
		p.draw(now)
	}
}

// Finish draws the last state and ends the line.
func (p *Progress) Finish() {
	p.draw(p.now())
	if p.terminal {
		fmt.Fprintln(p.w)
	}
}

func (p *Progress) draw(now time.Time) {
	p.drawn = now
	line := p.Line(now)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", clip(line, p.width-1))
		return
	}
	fmt.Fprintln(p.w, line)
}

// Line is the state as text: label, bar, share, counts, speed and the time that remains.
func (p *Progress) Line(now time.Time) string {
	parts := []string{p.label}
	if p.total > 0 {
		share := min(float64(p.done)/float64(p.total), 1)
		if p.terminal {
			parts = append(parts, bar(share, 24))
		}
		parts = append(parts, fmt.Sprintf("%3.0f%%", 100*share), p.format(p.done)+"/"+p.format(p.total))
	} else {
		parts = append(parts, p.format(p.done))
	}
	elapsed := now.Sub(p.started).Seconds()
	if elapsed <= 0 || p.done == p.first {
		return strings.Join(parts, "  ")
	}
	speed := float64(p.done-p.first) / elapsed
	parts = append(parts, p.speed(speed))
	if left := p.total - p.done; left > 0 {
		parts = append(parts, "about "+remaining(float64(left)/speed)+" left")
	}
	return strings.Join(parts, "  ")
}

func (p *Progress) format(n int64) string {
	if p.unit == ByteCount {
		return FormatBytes(n)
	}
	return fmt.Sprint(n)
}

func (p *Progress) speed(perSecond float64) string {
	if p.unit == ByteCount {
		return FormatBytes(int64(perSecond)) + "/s"
	}
	return fmt.Sprintf("%.1f/s", perSecond)
}

// FormatBytes is n in the largest binary unit below it, with three digits.
func FormatBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1000 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", v, units[u])
}

func remaining(seconds float64) string {
	return (time.Duration(min(seconds, 1e9)) * time.Second).String()
}

// bar is a share of width cells.
func bar(share float64, width int) string {
	full := int(share * float64(width))
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}

// clip cuts an ASCII line to width columns.
func clip(s string, width int) string {
	if width > 0 && len(s) > width {
		return s[:width]
	}
	return s
}
