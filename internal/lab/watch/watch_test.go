package watch

import (
	"bytes"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeter(t *testing.T) {
	var m Meter
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := w; i < 1000; i += 4 {
				m.Sent()
				m.Answered(time.Duration(i+1)*time.Millisecond, 2, i%10 != 0)
			}
		})
	}
	all.Wait()
	c := m.Read()
	if c.Done != 900 || c.Failed != 100 || c.Images != 1800 || c.InFlight != 0 {
		t.Errorf("%+v", c)
	}
	for name, v := range map[string][2]time.Duration{"p50": {c.P50, 500 * time.Millisecond}, "p99": {c.P99, 990 * time.Millisecond}} {
		if off := math.Abs(float64(v[0])/float64(v[1]) - 1); off > 0.035 {
			t.Errorf("%s is %v, want %v within 3.5 %%", name, v[0], v[1])
		}
	}
}

func TestMeterAtItsEnds(t *testing.T) {
	var m Meter
	if c := m.Read(); c != (Counts{}) {
		t.Errorf("an empty meter reads %+v", c)
	}
	for _, d := range []time.Duration{-1, 0, 1, math.MaxInt64} {
		m.Sent()
		m.Answered(d, 1, true)
	}
	if c := m.Read(); c.Done != 4 {
		t.Errorf("%+v", c)
	}
}

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, ""}, {[]float64{0, 0}, "▁▁"}, {[]float64{0, 1, 2, 3, 4, 5, 6, 7, 8}, "▁▂▃▄▅▆▇██"},
	} {
		if got := Spark(c.values); got != c.want {
			t.Errorf("Spark(%v) = %q, want %q", c.values, got, c.want)
		}
	}
}

// screen runs a cell of one second in fake time and returns what was written.
func screen(t *testing.T, terminal bool, length time.Duration) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		var m Meter
		l := newLive(&out, time.Now)
		l.terminal = terminal
		l.Begin(Cell{Title: "single, vitrine", Number: 2, Of: 7, Duration: length, Read: m.Read})
		for end := time.Now().Add(length); time.Now().Before(end); {
			m.Sent()
			time.Sleep(7 * time.Millisecond) // never at the instant of a frame
			m.Answered(7*time.Millisecond, 1, true)
		}
		l.End("100 requests")
		l.Say("done")
	})
	return out.String()
}

func TestTerminal(t *testing.T) {
	out := screen(t, true, 900*time.Millisecond)
	if n := strings.Count(out, "\x1b[3A\x1b[J"); n != 3 { // frames at 250, 500 and 750 ms, each erased once
		t.Errorf("%d frames were erased, want 3:\n%q", n, out)
	}
	for _, want := range []string{"[2/7] single, vitrine\n", "  800ms of 900ms  107 requests  142.7/s  p50 ", "█", "[2/7] single, vitrine: 100 requests\ndone\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%q", want, out)
		}
	}
	if !strings.Contains(out, "requests") || !strings.Contains(out, "p99") || !strings.Contains(out, "1 in flight") {
		t.Errorf("%q", out)
	}
}

func TestPlainLines(t *testing.T) {
	out := screen(t, false, 25*time.Second)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || strings.Contains(out, "\x1b") {
		t.Fatalf("%q", out)
	}
	if !strings.HasPrefix(lines[0], "10s of 25s  ") || !strings.Contains(lines[1], "  2857 requests  142.8/s") {
		t.Errorf("%q", lines)
	}
}

func TestCut(t *testing.T) {
	if got := cut("▁▂▃abc", 4); got != "▁▂▃a" {
		t.Errorf("%q", got)
	}
}
