package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// clock is a time that tests move by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestProgressOnAPipePrintsALineEveryTenSeconds(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(0, 0)}
	p := newProgress(&out, "embed", Items, 100, 20, c.now)
	for i := int64(21); i <= 60; i++ {
		c.t = c.t.Add(time.Second / 2)
		p.Set(i, 0)
	}
	p.Finish()
	want := "embed   40%  40/100  2.0/s  about 30s left\n" +
		"embed   60%  60/100  2.0/s  about 20s left\n" +
		"embed   60%  60/100  2.0/s  about 20s left\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestProgressOnATerminalRedrawsOneLine(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(0, 0)}
	p := newProgress(&out, "pull", ByteCount, 4<<20, 0, c.now)
	p.terminal, p.width, p.every = true, 60, time.Second/10
	for i := range int64(4) {
		c.t = c.t.Add(time.Second)
		p.Set((i+1)<<20, 0)
	}
	p.Finish()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\r\x1b[K")
	if len(lines) != 6 {
		t.Fatalf("%d drawings: %q", len(lines), lines)
	}
	if want := "pull  [======                  ]   25%  1 MiB/4 MiB  1 MiB/s"; lines[1] != want[:59] {
		t.Errorf("got  %q\nwant %q", lines[1], want[:59])
	}
	if !strings.HasPrefix(lines[5], "pull  [========================]  100%") {
		t.Errorf("last: %q", lines[5])
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "0.977 KiB", 1 << 20: "1 MiB", 605 << 20: "605 MiB", 5 << 30: "5 GiB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("FormatBytes(%d) = %q, want %q", n, got, want)
		}
	}
}
