package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// observed collects records.
type observed struct {
	mu      sync.Mutex
	records []telemetry.Record
}

func (o *observed) ObserveRequest(r *telemetry.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records = append(o.records, *r)
}

func plainFail(x *Exchange, err error) {
	status := Status(err)
	if errors.Is(err, ErrMethod) {
		status = http.StatusMethodNotAllowed
	}
	x.Send(status, "text/plain", []byte(Message(err)))
}

// one returns a server's handler with one route, POST /.
func one(f *Front, h Handler) http.Handler {
	mux := http.NewServeMux()
	f.Register(mux, Route{Path: "/", Methods: map[string]Handler{"POST": h}, Fail: plainFail})
	return mux
}

// echo sends the body back.
func echo(x *Exchange, r *http.Request) error {
	b, err := x.Body(r)
	if err != nil {
		return err
	}
	x.Send(200, "text/plain", b)
	return nil
}

func post(h http.Handler, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/", body))
	return w
}

// unsized hides a reader's length, so that the request has none.
type unsized struct{ io.Reader }

func TestBodySizes(t *testing.T) {
	const limit = 3<<20 + 5
	f := New(Options{MaxBody: limit})
	h := one(f, echo)
	for _, n := range []int{0, 1, 16 << 10, 16<<10 + 1, firstBuffer - 1, firstBuffer, firstBuffer + 1, limit - 1, limit, limit + 1, 2 * limit} {
		data := bytes.Repeat([]byte("0123456789abcdef7"), n/17+1)[:n]
		for name, body := range map[string]io.Reader{"sized": bytes.NewReader(data), "unsized": unsized{bytes.NewReader(data)}} {
			w := post(h, body)
			switch {
			case n > limit && w.Code != 413:
				t.Errorf("%s %d bytes: %d", name, n, w.Code)
			case n <= limit && (w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data)):
				t.Errorf("%s %d bytes: %d, %d bytes back", name, n, w.Code, w.Body.Len())
			}
		}
	}
	if n := f.BodyBytes(); n != 0 {
		t.Errorf("%d bytes of the budget were not given back", n)
	}
}

func TestBodyBudget(t *testing.T) {
	f := New(Options{MaxBody: 16<<10 - 1, BodyBudget: 32 << 10})
	entered, leave := make(chan struct{}), make(chan struct{})
	h := one(f, func(x *Exchange, r *http.Request) error {
		if _, err := x.Body(r); err != nil {
			return err
		}
		entered <- struct{}{}
		<-leave
		x.Send(200, "text/plain", nil)
		return nil
	})
	codes := make(chan int)
	for range 2 {
		go func() { codes <- post(h, strings.NewReader("x")).Code }()
		<-entered
	}
	w := post(h, strings.NewReader("x"))
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "request bodies hold") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	close(leave)
	if a, b := <-codes, <-codes; a != 200 || b != 200 {
		t.Errorf("%d, %d", a, b)
	}
	go func() { <-entered }()
	if w := post(h, strings.NewReader("x")); w.Code != 200 || f.BodyBytes() != 0 {
		t.Errorf("%d after the others, %d bytes held", w.Code, f.BodyBytes())
	}
}

// pipe serves h over one connection and returns the client's end.
func pipe(t *testing.T, h http.Handler, o ServerOptions) net.Conn {
	client, server := net.Pipe()
	s := NewServer(h, o)
	l := &oneConn{conn: server, closed: make(chan struct{})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); _ = client.Close() })
	return client
}

type oneConn struct {
	once   sync.Once
	stop   sync.Once
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.conn })
	if c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { l.stop.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &observed{}
		c := pipe(t, one(New(Options{BodyTimeout: 5 * time.Second, Observer: o}), echo), ServerOptions{})
		start := time.Now()
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
		response, b := lastAnswer(t, c)
		if response.StatusCode != 408 || !response.Close || time.Since(start) != 5*time.Second {
			t.Errorf("%d after %v: %s", response.StatusCode, time.Since(start), b)
		}
	})
}

// lastAnswer reads an answer and makes sure that the server closes the connection after it.
func lastAnswer(t *testing.T, c net.Conn) (*http.Response, []byte) {
	t.Helper()
	from := bufio.NewReader(c)
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
		t.Errorf("after the answer: %q %v", rest, err)
	}
	return response, body
}

// TestUnreadBodies answers requests without reading their bodies: those that come are read away, for the
// connection's next request, and nobody waits longer than a body's time for those that do not.
func TestUnreadBodies(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: h\r\n"
	for name, c := range map[string]struct {
		request string
		took    time.Duration
		next    bool // the connection is used again
	}{
		"whole":          {head + "Content-Length: 4\r\n\r\nbody", 0, true},
		"chunked":        {head + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 0, true},
		"half":           {head + "Content-Length: 8\r\n\r\nbody", 5 * time.Second, false},
		"half a chunk":   {head + "Transfer-Encoding: chunked\r\n\r\n8\r\nbody", 5 * time.Second, false},
		"more than much": {head + "Content-Length: 1000000\r\n\r\n", 0, false},
		"not asked for":  {head + "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := New(Options{BodyTimeout: 5 * time.Second})
				conn := pipe(t, one(f, func(*Exchange, *http.Request) error { return fault.New(fault.NotFound, "no") }), ServerOptions{})
				start := time.Now()
				_, _ = io.WriteString(conn, c.request)
				if !c.next {
					response, _ := lastAnswer(t, conn)
					if took := time.Since(start); response.StatusCode != 404 || !response.Close || took < c.took || took > c.took+time.Second {
						t.Errorf("%d after %v", response.StatusCode, took)
					}
					return
				}
				from := bufio.NewReader(conn)
				for range 2 {
					response, err := http.ReadResponse(from, nil)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, response.Body)
					if response.StatusCode != 404 || response.Close || time.Since(start) != 0 {
						t.Errorf("%d after %v, close %v", response.StatusCode, time.Since(start), response.Close)
					}
					_, _ = io.WriteString(conn, c.request)
				}
			})
		})
	}
}

// TestRefuseUploads has requests of which only half has arrived, and others that have arrived whole, when the
// server stops to wait.
func TestRefuseUploads(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: h\r\n"
	synctest.Test(t, func(t *testing.T) {
		f := New(Options{})
		release := make(chan struct{})
		mux := http.NewServeMux()
		f.Register(mux, Route{Path: "/", Fail: plainFail, Methods: map[string]Handler{"POST": func(x *Exchange, r *http.Request) error {
			b, err := x.Body(r)
			if err != nil {
				return err
			}
			<-release
			if err := r.Context().Err(); err != nil {
				return err
			}
			x.Send(200, "text/plain", b)
			return nil
		}}})
		f.Register(mux, Route{Path: "/unread", Fail: plainFail})
		send := func(text string) net.Conn {
			c := pipe(t, mux, ServerOptions{})
			go func() { _, _ = io.WriteString(c, text) }()
			synctest.Wait()
			return c
		}
		refused := map[int][]net.Conn{
			503: {send(head + "Content-Length: 8\r\n\r\nhalf"), send(head + "Transfer-Encoding: chunked\r\n\r\n8\r\nhalf")},
			405: {send(strings.Replace(head, "/", "/unread", 1) + "Content-Length: 8\r\n\r\nhalf")},
		}
		whole := send(head + "Content-Length: 4\r\nConnection: close\r\n\r\nbody")
		start := time.Now()
		if n := f.RefuseUploads(); n != 3 {
			t.Errorf("%d requests are refused, want 3", n)
		}
		refused[503] = append(refused[503], send(head+"Content-Length: 8\r\n\r\nlate"))
		for status, conns := range refused {
			for _, c := range conns {
				if response, b := lastAnswer(t, c); response.StatusCode != status || !response.Close || time.Since(start) != 0 {
					t.Errorf("%d after %v, want %d: %s", response.StatusCode, time.Since(start), status, b)
				}
			}
		}
		close(release)
		if response, b := lastAnswer(t, whole); response.StatusCode != 200 || string(b) != "body" {
			t.Errorf("the request that had arrived: %d %s", response.StatusCode, b)
		}
		if f.BodyBytes() != 0 || f.uploads.count() != 0 {
			t.Errorf("%d bytes, %d requests are left", f.BodyBytes(), f.uploads.count())
		}
	})
}

func (u *uploads) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.waiting)
}

// TestRefuseUploadsOverHTTP2 refuses one stream of a connection and answers the other.
func TestRefuseUploadsOverHTTP2(t *testing.T) {
	f := New(Options{})
	entered, release := make(chan struct{}), make(chan struct{})
	s := NewServer(one(f, func(x *Exchange, r *http.Request) error {
		b, err := x.Body(r)
		if err != nil {
			return err
		}
		close(entered)
		<-release
		x.Send(200, "text/plain", b)
		return nil
	}), ServerOptions{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer func() { _ = s.Close() }()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	codes := func(body io.Reader) <-chan int {
		code := make(chan int, 1)
		go func() {
			response, err := (&http.Client{Transport: transport}).Post("http://"+l.Addr().String()+"/", "", body)
			if err != nil {
				t.Error(err)
				code <- 0
				return
			}
			_ = response.Body.Close()
			code <- response.StatusCode
		}()
		return code
	}
	body, half := io.Pipe()
	whole, refused := codes(strings.NewReader("body")), codes(body)
	<-entered
	if _, err := half.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	for f.uploads.count() == 0 { // until the server has seen its start
		runtime.Gosched()
	}
	f.RefuseUploads()
	if code := <-refused; code != 503 {
		t.Errorf("the half: %d", code)
	}
	close(release)
	if code := <-whole; code != 200 {
		t.Errorf("the whole: %d", code)
	}
	_ = half.Close()
}

// TestSlowWorkAfterTheBody makes sure that the body's deadline does not end the work.
func TestSlowWorkAfterTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(New(Options{BodyTimeout: 5 * time.Second}), func(x *Exchange, r *http.Request) error {
			if _, err := x.Body(r); err != nil {
				return err
			}
			select {
			case <-r.Context().Done():
				return r.Context().Err()
			case <-time.After(20 * time.Second):
			}
			x.Send(200, "text/plain", nil)
			return nil
		})
		c := pipe(t, h, ServerOptions{})
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("%d", response.StatusCode)
		}
	})
}

func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, one(New(Options{}), echo), ServerOptions{ReadHeaderTimeout: 3 * time.Second})
		start := time.Now()
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\n")
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("the connection was closed after %v", took)
		}
	})
}

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(New(Options{RequestTimeout: 7 * time.Second}), func(x *Exchange, r *http.Request) error {
			ctx, cancel := x.Deadline(r)
			defer cancel()
			<-ctx.Done()
			return fmt.Errorf("work: %w", ctx.Err())
		})
		start := time.Now()
		if w := post(h, nil); w.Code != 504 || time.Since(start) != 7*time.Second {
			t.Errorf("%d after %v", w.Code, time.Since(start))
		}
	})
}

func TestClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &observed{}
		h := one(New(Options{Observer: o}), func(x *Exchange, r *http.Request) error {
			if _, err := x.Body(r); err != nil {
				return err
			}
			<-r.Context().Done()
			return r.Context().Err()
		})
		c := pipe(t, h, ServerOptions{})
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
		synctest.Wait()
		_ = c.Close()
		synctest.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.records) != 1 || o.records[0].Code != StatusClientClosed || fault.KindOf(o.records[0].Err) != fault.Canceled {
			t.Errorf("%+v", o.records)
		}
	})
}

func TestObservation(t *testing.T) {
	var log bytes.Buffer
	o := &observed{}
	f := New(Options{Observer: o, AccessLog: true, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	mux := http.NewServeMux()
	f.Register(mux, Route{Path: "/a/{id}", Fail: plainFail, Methods: map[string]Handler{"POST": func(x *Exchange, r *http.Request) error {
		b, err := x.Body(r)
		x.Items, x.Model = 3, "m"
		if string(b) == "fail" {
			return fault.New(fault.Invalid, "broken").In("images").At(1)
		}
		x.Send(200, "text/plain", []byte("answer"))
		return err
	}}})
	f.Register(mux, Route{Path: "/quiet", Fail: plainFail, Quiet: true, Methods: map[string]Handler{"GET": echo}})
	for _, body := range []string{"good", "fail"} {
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/a/secret", strings.NewReader(body)))
	}
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/quiet", nil))
	if len(o.records) != 2 {
		t.Fatalf("%d records", len(o.records))
	}
	good, bad := o.records[0], o.records[1]
	if good.Route != "/a/{id}" || good.Code != 200 || good.BytesIn != 4 || good.BytesOut != 6 || good.Items != 3 || good.Err != nil {
		t.Errorf("%+v", good)
	}
	if good.Timeline.At[telemetry.Received].IsZero() || good.Timeline.At[telemetry.Sent].IsZero() {
		t.Error("Received and Sent are not stamped")
	}
	if bad.Code != 400 || bad.Err == nil {
		t.Errorf("%+v", bad)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), `images[1]: broken`) || strings.Contains(log.String(), "secret") {
		t.Errorf("%s", log.String())
	}
}

func TestPanics(t *testing.T) {
	var log bytes.Buffer
	f := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h := one(f, func(x *Exchange, _ *http.Request) error { panic("boom") })
	if w := post(h, nil); w.Code != 500 || strings.Contains(w.Body.String(), "boom") || !strings.Contains(log.String(), "boom") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Error("ErrAbortHandler was swallowed")
		}
	}()
	post(one(f, func(x *Exchange, _ *http.Request) error { panic(http.ErrAbortHandler) }), nil)
}

func TestStatusTable(t *testing.T) {
	for k := fault.Internal; k <= fault.Mistaken; k++ {
		err := fmt.Errorf("wrapped: %w", fault.New(k, "x"))
		internal := k == fault.Internal || k == fault.Mistaken
		if s := Status(err); s < 400 || s == 500 != internal {
			t.Errorf("%v: HTTP %d", k, s)
		}
		if c := GRPCCode(err); c == 0 || c > 16 || c == 13 != internal {
			t.Errorf("%v: gRPC %d", k, c)
		}
	}
	for err, want := range map[error][2]int{
		errors.New("unknown"):                       {500, 13},
		context.Canceled:                            {499, 1},
		context.DeadlineExceeded:                    {504, 4},
		fault.Wrap(fault.Timeout, errSlowBody, "x"): {408, 4},
	} {
		if got := [2]int{Status(err), int(GRPCCode(err))}; got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "text/html": "application/json",
		"application/octet-stream":                             "application/octet-stream",
		"Application/Octet-Stream":                             "application/octet-stream",
		"application/x-npy, */*;q=0.1":                         "application/x-npy",
		"application/json;q=0.2, application/x-npy;q=0.3":      "application/x-npy",
		"application/octet-stream;q=0, */*":                    "application/json",
		"application/*;q=0.5, application/json;q=0.1":          "application/octet-stream",
		"application/octet-stream;q=x":                         "application/json",
		"text/html,application/xhtml+xml,image/webp,*/*;q=0.8": "application/json",
	} {
		if got := Negotiate(accept, "application/json", "application/octet-stream", "application/x-npy"); got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
}

func TestMethods(t *testing.T) {
	f := New(Options{Header: http.Header{"X-Server": {"vitrine"}}})
	mux := http.NewServeMux()
	ok := func(x *Exchange, _ *http.Request) error { x.Send(200, "text/plain", []byte("body")); return nil }
	f.Register(mux, Route{Path: "/", Methods: map[string]Handler{"GET": ok}, Fail: plainFail})
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 204, "POST": 405, "BREW": 405} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want || w.Header().Get("X-Server") != "vitrine" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
		if allow := w.Header().Get("Allow"); (want != 200) != (allow == "GET, HEAD, OPTIONS") {
			t.Errorf("%s: Allow %q", method, allow)
		}
	}
	f.SetDraining(true)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Header().Get("Connection") != "close" || !f.Draining() {
		t.Error("a draining server keeps its connections")
	}
}

func TestUnencryptedHTTP2(t *testing.T) {
	s := NewServer(one(New(Options{}), echo), ServerOptions{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer func() { _ = s.Close() }()
	for major, set := range map[int]func(*http.Protocols, bool){1: (*http.Protocols).SetHTTP1, 2: (*http.Protocols).SetUnencryptedHTTP2} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		set(transport.Protocols, true)
		response, err := (&http.Client{Transport: transport}).Post("http://"+l.Addr().String()+"/", "", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.ProtoMajor != major || string(b) != "hello" {
			t.Errorf("HTTP/%d: %q", response.ProtoMajor, b)
		}
		transport.CloseIdleConnections()
	}
}
