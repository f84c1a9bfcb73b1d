package target

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

const timed = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nserver-timing: receive;dur=0.1, decode;dur=1.5, preprocess;dur=0.25, " +
	"queue;dur=2, input;dur=.5, compute;dur=10.125, output;dur=0.001, total;desc=\"all\";dur=14.5\r\nContent-Length: 2\r\n\r\n{}"

func TestHead(t *testing.T) {
	for _, c := range []struct {
		text string
		want head
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbody", head{size: 39, status: 200, length: 12, json: -1}},
		{"HTTP/1.1 404\r\nCONNECTION: Close\r\n\r\n", head{size: 35, status: 404, length: -1, close: true, json: -1}},
		{"HTTP/1.0 200 OK\r\n\r\n", head{size: 19, status: 200, length: -1, close: true, json: -1}},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", head{size: 46, status: 204, json: -1}},
		{"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nContent-Length: 5\r\n\r\n", head{size: 66, status: 200, length: -1, chunked: true, json: -1}},
		{"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 300\r\nContent-Length: 2348\r\n\r\n",
			head{size: 79, status: 200, length: 2348, json: 300}},
		{timed, head{size: len(timed) - 2, status: 200, length: 2, json: -1, server: record.ServerTiming{
			Total: 14500 * time.Microsecond, Decode: 1750 * time.Microsecond, Queue: 2 * time.Millisecond, Input: 500 * time.Microsecond,
			Compute: 10125 * time.Microsecond, Output: time.Microsecond}}},
	} {
		var got head
		if err := got.parse([]byte(c.text)); err != nil {
			t.Errorf("%q: %v", c.text, err)
		} else if d := cmp.Diff(c.want, got, cmp.AllowUnexported(head{})); d != "" {
			t.Errorf("%q: %s", c.text, d)
		}
		end := strings.Index(c.text, "\r\n\r\n") + 3
		if err := got.parse([]byte(c.text[:end])); !errors.Is(err, errIncomplete) {
			t.Errorf("%q: %v, want incomplete", c.text[:end], err)
		}
	}
}

func TestHeadRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"HTTP/2 200 OK\r\n\r\n":                                              errHead,
		"HTTP/1.1 2x0 OK\r\n\r\n":                                            errHead,
		"HTTP/1.1 099 OK\r\n\r\n":                                            errHead,
		"HTTP/1.1\r\n\r\n":                                                   errHead,
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n":                                errHead,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":                      errLength,
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n":  errLength,
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n":    errLength,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n":        errTransfer,
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", maxHead) + "\r\n\r\n": errHeadSize,
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", maxHead):              errHeadSize,
	} {
		var h head
		if err := h.parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", text, err, want)
		}
	}
}

// Chunks arrive in pieces of every size.
func TestChunks(t *testing.T) {
	const text = "5\r\nhello\r\n1;name=\"x\"\r\n,\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext"
	for step := 1; step <= len(text); step++ {
		b := []byte(text)
		var c chunks
		for n := step; !c.done; n += step {
			if err := c.take(b[:min(n, len(b))]); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
		if got := string(b[:c.out]); got != "hello,0123456789" || string(b[c.in:]) != "next" {
			t.Fatalf("step %d: %q, and %q left", step, got, b[c.in:])
		}
	}
	for _, bad := range []string{"x\r\n", "5\r\nhello??", "\r\n", "fffffffffff\r\n", "20000000\r\n"} {
		var c chunks
		if err := c.take([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzAnswer compares with net/http where both understand an answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(timed))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n{\"detail\":\"full\"}"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := httpConn{buf: bytes.Clone(text), n: len(text)}
		if c.head.parse(c.buf) != nil || c.head.length > len(text) {
			return
		}
		body := c.buf[c.head.size:]
		switch {
		case c.head.chunked:
			if c.chunks.take(body) != nil || !c.chunks.done {
				return
			}
			body = body[:c.chunks.out]
		case c.head.length >= 0:
			if c.head.length > len(body) {
				return
			}
			body = body[:c.head.length]
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), &http.Request{Method: http.MethodPost})
		if err != nil || theirs.StatusCode < 200 {
			return
		}
		want, err := io.ReadAll(theirs.Body)
		if err != nil {
			return
		}
		if theirs.StatusCode != c.head.status || !bytes.Equal(want, body) {
			t.Fatalf("status %d and %q, net/http has %d and %q", c.head.status, body, theirs.StatusCode, want)
		}
	})
}
