package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Spec{
		"":                                 {},
		"none":                             {},
		"rtt=40ms,bw=100mbit":              {RTT: 40 * time.Millisecond, Bandwidth: 1e8},
		"jitter=5ms, window=10,bw=1.5gbit": {Jitter: 5 * time.Millisecond, Window: 10, Bandwidth: 1.5e9},
		"bw=64kbit":                        {Bandwidth: 64e3},
	} {
		got, err := ParseSpec(text)
		if err != nil || got != want {
			t.Errorf("ParseSpec(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := ParseSpec(got.String()); err != nil || again != got {
			t.Errorf("%q reads back as %+v, %v", got.String(), again, err)
		}
	}
	for _, text := range []string{"rtt", "rtt=-1ms", "rtt=2m", "bw=100", "bw=xmbit", "bw=0mbit", "bw=nanmbit", "window=0", "loss=1", "rtt=1ms,,"} {
		if _, err := ParseSpec(text); err == nil {
			t.Errorf("ParseSpec(%q) took it", text)
		}
	}
}

// through sends up bytes from a client over the link, and a server answers with down bytes once it has
// them all. It returns when the server had everything and when the client had everything.
func through(t *testing.T, l *Link, up, down int) (at [2]time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, far := net.Pipe()
		l.dial = func(context.Context, string, string) (net.Conn, error) { return far, nil }
		began := time.Now()
		near, err := l.Dial(t.Context(), "tcp", "server")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < l.RTT || took > l.RTT+2*l.Jitter {
			t.Errorf("connecting took %v over %v", took, l.Spec)
		}
		began = time.Now()
		sent := pattern(up)
		served := make(chan error, 1)
		go func() {
			got := make([]byte, up)
			_, err := io.ReadFull(server, got)
			at[0] = time.Since(began)
			if !bytes.Equal(got, sent) {
				err = errors.New("bytes changed on the way")
			}
			if err == nil {
				_, err = server.Write(pattern(down))
			}
			served <- err
		}()
		if _, err := near.Write(sent); err != nil {
			t.Error(err)
		}
		got := make([]byte, down)
		if _, err := io.ReadFull(near, got); err != nil || !bytes.Equal(got, pattern(down)) {
			t.Errorf("the answer did not arrive as it was: %v", err)
		}
		at[1] = time.Since(began)
		if err := <-served; err != nil {
			t.Error(err)
		}
		near.Close()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the server sees %v when the client has closed", err)
		}
		server.Close()
		time.Sleep(time.Second) // until the link has ended both ways
	})
	return at
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

// Arrival times against formulas: half a round trip each way, bytes·8/rate for serialisation, and in slow
// start k more round trips where 10·(2^k - 1) segments are fewer than needed.
func TestTimes(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		spec        string
		up, down    int
		upAt, down2 time.Duration
		slack       time.Duration
	}{
		{"rtt=40ms", 602112, 4096, 20 * ms, 40 * ms, 0},
		{"bw=100mbit", 602112, 4096, 48169 * time.Microsecond, 48497 * time.Microsecond, 2 * time.Microsecond},
		{"rtt=40ms,bw=100mbit", 602112, 4096, 68169 * time.Microsecond, 88497 * time.Microsecond, 2 * time.Microsecond},
		{"rtt=10ms,bw=1mbit", 12500, 1250, 105 * ms, 120 * ms, 2 * time.Microsecond},
		// 413 segments: 10, 20, 40, 80, 160 leave 103 for the sixth round.
		{"rtt=40ms,window=10", 602112, 1000, 220 * ms, 240 * ms, 0},
		// 9 segments fit the first window.
		{"rtt=40ms,window=10", 13140, 1000, 20 * ms, 40 * ms, 0},
		{"rtt=40ms,window=1", 3 * segment, 1000, 60 * ms, 80 * ms, 0},
	} {
		l, err := Parse(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		at := through(t, l, c.up, c.down)
		if (at[0]-c.upAt).Abs() > c.slack || (at[1]-c.down2).Abs() > c.slack {
			t.Errorf("%s: %d bytes arrived after %v and the answer after %v, want %v and %v", c.spec, c.up, at[0], at[1], c.upAt, c.down2)
		}
	}
}

func TestJitterDelaysAndKeepsOrder(t *testing.T) {
	l, err := Parse("rtt=40ms,jitter=5ms")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[time.Duration]bool{}
	for range 20 {
		l.up.busy, l.down.busy = time.Time{}, time.Time{} // fake time begins anew
		at := through(t, l, 100000, 100)
		if at[0] < 20*time.Millisecond || at[0] > 25*time.Millisecond || at[1]-at[0] < 20*time.Millisecond || at[1]-at[0] > 25*time.Millisecond {
			t.Errorf("arrived after %v, the answer after %v", at[0], at[1])
		}
		seen[at[1]-at[0]] = true
	}
	if len(seen) < 10 {
		t.Errorf("only %d different delays", len(seen))
	}
}

// Two connections share the rate: each takes twice as long as alone.
func TestRateIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := Parse("bw=10mbit")
		var servers []net.Conn
		l.dial = func(context.Context, string, string) (net.Conn, error) {
			server, far := net.Pipe()
			servers = append(servers, server)
			return far, nil
		}
		began := time.Now()
		done := make(chan time.Duration, 2)
		for i := range 2 {
			near, err := l.Dial(t.Context(), "tcp", "")
			if err != nil {
				t.Fatal(err)
			}
			server := servers[i]
			go func() { _, _ = near.Write(pattern(125000)); near.Close() }()
			go func() {
				_, _ = io.Copy(io.Discard, server)
				done <- time.Since(began)
				server.Close()
			}()
		}
		for range 2 {
			if d := <-done; d < 200*time.Millisecond-ahead-2*piece || d > 201*time.Millisecond {
				t.Errorf("a connection took %v, want about 200ms", d)
			}
		}
		time.Sleep(time.Second) // until the link has ended both ways
	})
}

// After idling the window begins anew.
func TestWindowRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := window{initial: 10 * segment, restart: 240 * time.Millisecond}
		if got := w.open(1 << 20); got != 10*segment {
			t.Fatalf("%d bytes may be sent", got)
		}
		w.sent(10*segment, time.Now().Add(40*time.Millisecond))
		time.Sleep(50 * time.Millisecond)
		if got := w.open(1 << 20); got != 20*segment {
			t.Errorf("after the acknowledgement %d bytes may be sent, want %d", got, 20*segment)
		}
		time.Sleep(time.Second)
		if got := w.open(1 << 20); got != 10*segment {
			t.Errorf("after idling %d bytes may be sent, want %d", got, 10*segment)
		}
	})
}

func TestProxy(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := Parse("rtt=2ms,bw=1gbit")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Proxy(ctx, ln, server.Addr().String()) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := pattern(300000)
	go func() { _, _ = c.Write(sent); _ = c.(*net.TCPConn).CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	idle, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if _, err := idle.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the proxy")
	}
}
