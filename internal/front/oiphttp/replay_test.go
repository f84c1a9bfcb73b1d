package oiphttp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip/transcript"
)

// The corpus holds what Triton 2.51 answered to some 740 requests (testdata/triton). Each is sent to
// Vitrine as the same bytes, and the answer is compared: how many, status, the headers of the protocol,
// the body byte by byte (JSON of a few routes as values, since members may come in another order).

const corpusFile = "../../../testdata/triton/corpus.jsonl.gz"

// answerTime is how long an answer may take before it counts as missing.
const answerTime = 5 * time.Second

// octets are bytes as the corpus writes them.
type octets []byte

func (o *octets) UnmarshalJSON(b []byte) error {
	var v struct {
		Text   *string
		Base64 []byte
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*o = v.Base64
	if v.Text != nil {
		*o = []byte(*v.Text)
	}
	return nil
}

// recorded is one line of the corpus.
type recorded struct {
	Name        string
	Send        []octets
	Compare     string // "", masked, status, record
	Bodiless    bool
	Connections int
	Answers     []answer
	End         string
}

type answer struct {
	Status  int
	Headers [][2]string
	Body    octets
}

func (a *answer) header(name string) string {
	for _, h := range a.Headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

func TestReplay(t *testing.T) {
	all := transcript.Read[recorded](t, corpusFile)
	if len(all) < 250 {
		t.Fatalf("only %d transcripts", len(all))
	}
	shared := shareMemory(t, "/vitrine_transcript")
	var log transcript.Log
	addr := serve(t, front.Options{AccessLog: true, Logger: log.Logger()})
	used := map[string]bool{}
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			replay(t, addr, shared, &r, used)
		})
	}
	log.Check(t)
	for _, d := range differences {
		for _, pattern := range d.cases {
			if !used[pattern] {
				t.Errorf("the difference %q of %q is allowed and does not occur", d.reason, pattern)
			}
		}
	}
}

// replay sends one transcript's requests and compares, unless a difference is allowed.
func replay(t *testing.T, addr string, shared *sharing, r *recorded, used map[string]bool) {
	if r.Compare == "record" {
		t.Skip("kept for readers only")
	}
	d, pattern := allowed(r.Name)
	want := r.Answers
	n := len(want)
	if d != nil && d.n > 0 {
		n = d.n
	}
	got, err := exchange(addr, shared, r, n)
	if err != nil {
		t.Fatal(err)
	}
	problem := compare(r, want, got)
	if d == nil {
		if problem != "" {
			t.Error(problem)
		}
		return
	}
	if problem != "" {
		used[pattern] = true
	}
	if problem = d.check(want, got); problem != "" {
		t.Errorf("allowed to differ (%s), but: %s", d.reason, problem)
	}
}

// exchange sends the transcript's bytes and reads as many answers as are wanted, at least one.
func exchange(addr string, shared *sharing, r *recorded, want int) ([]answer, error) {
	if r.Connections <= 1 {
		return converse(addr, shared, r, want)
	}
	var wait sync.WaitGroup
	results, errs := make([][]answer, r.Connections), make([]error, r.Connections)
	for i := range r.Connections {
		wait.Go(func() { results[i], errs[i] = converse(addr, shared, r, 1) })
	}
	wait.Wait()
	got := slices.Concat(results...)
	slices.SortFunc(got, func(a, b answer) int { return a.Status - b.Status })
	return got, errors.Join(errs...)
}

func converse(addr string, shared *sharing, r *recorded, want int) (got []answer, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	for _, piece := range r.Send {
		if _, err := c.Write(shared.request(piece)); err != nil {
			break // the server had enough; what it said is to be read
		}
	}
	if want == 0 { // the server is not to wait for more
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return nil, err
		}
	}
	b := bufio.NewReader(c)
	for len(got) < max(want, 1) {
		a, err := read(b, r.Bodiless)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
			break
		}
		if err != nil {
			return got, fmt.Errorf("after %d answers of %d: %w", len(got), want, err)
		}
		a.Body = shared.answer(a.Body)
		got = append(got, *a)
	}
	return got, nil
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// read reads one answer; a 100 is one.
func read(b *bufio.Reader, bodiless bool) (*answer, error) {
	request := &http.Request{Method: http.MethodGet}
	if bodiless {
		request.Method = http.MethodHead
	}
	response, err := http.ReadResponse(b, request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	a := &answer{Status: response.StatusCode}
	for name, values := range response.Header {
		a.Headers = append(a.Headers, [2]string{name, values[0]})
	}
	if response.Close {
		a.Headers = append(a.Headers, [2]string{"Connection", "close"})
	}
	a.Body, err = io.ReadAll(response.Body)
	return a, err
}

// compared are the headers that the protocol gives a meaning.
var compared = []string{"Content-Type", "Content-Encoding", "Inference-Header-Content-Length", "Accept-Encoding"}

// compare says how got differs from what is wanted, "" if it does not.
func compare(r *recorded, want, got []answer) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d answers, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := &want[i], &got[i]
		if w.Status != g.Status {
			return fmt.Sprintf("answer %d: status %d, want %d\n got %s\nwant %s", i, g.Status, w.Status, brief(g.Body), brief(w.Body))
		}
		if r.Compare == "status" {
			continue
		}
		for _, h := range compared {
			if w.header(h) != g.header(h) {
				return fmt.Sprintf("answer %d: header %s %q, want %q\n got %s\nwant %s", i, h, g.header(h), w.header(h), brief(g.Body), brief(w.Body))
			}
		}
		if problem := compareBody(r, w, g); problem != "" {
			return fmt.Sprintf("answer %d: %s", i, problem)
		}
	}
	return ""
}

func compareBody(r *recorded, w, g *answer) string {
	want, got := unpacked(w), unpacked(g)
	switch {
	case r.Bodiless || bytes.Equal(want, got):
		return ""
	case r.Compare == "masked":
		return compareValues(want, got, true)
	case anyOrder(r.Name):
		return compareValues(want, got, false)
	}
	return fmt.Sprintf("body\n got %s\nwant %s", brief(got), brief(want))
}

// anyOrder are the routes whose answers are compared as values: maps without an order.
func anyOrder(name string) bool {
	return strings.HasSuffix(name, "/config") || name == "simple: an unexpected input"
}

// compareValues compares JSON; numbers by their digits. Masked, all numbers are equal and lists that
// depend on earlier requests are empty.
func compareValues(want, got []byte, masked bool) string {
	w, err := values(want, masked)
	if err != nil {
		return fmt.Sprintf("body is not JSON, want: %v", err)
	}
	g, err := values(got, masked)
	if err != nil {
		return fmt.Sprintf("body is not JSON: %v in %s", err, brief(got))
	}
	return cmp.Diff(w, g)
}

func values(b []byte, masked bool) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if masked {
		v = mask("", v)
	}
	return v, nil
}

func mask(key string, v any) any {
	switch v := v.(type) {
	case json.Number:
		return json.Number("0")
	case []any:
		if key == "batch_stats" || key == "memory_usage" {
			return []any{}
		}
		for i := range v {
			v[i] = mask("", v[i])
		}
	case map[string]any:
		for k, item := range v {
			v[k] = mask(k, item)
		}
	}
	return v
}

// unpacked is the body without its compression, or as it is where it cannot be undone.
func unpacked(a *answer) []byte {
	var r io.Reader
	var err error
	switch a.header("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(a.Body))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(a.Body))
	default:
		return a.Body
	}
	if err != nil {
		return a.Body
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return a.Body
	}
	return b
}

func brief(b []byte) string {
	const most = 400
	if len(b) > most {
		return fmt.Sprintf("%q... (%d bytes)", b[:most], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// allowed finds the difference that is allowed for a transcript.
func allowed(name string) (*difference, string) {
	for i := range differences {
		for _, pattern := range differences[i].cases {
			if ok, err := path.Match(pattern, strings.ReplaceAll(name, "/", "|")); ok || err != nil || pattern == name {
				return &differences[i], pattern
			}
		}
	}
	return nil, ""
}

// sharing gives the corpus's shared memory objects names of this process, of the same length.
type sharing struct{ recorded, own []byte }

func (s *sharing) request(b []byte) []byte { return bytes.ReplaceAll(b, s.recorded, s.own) }
func (s *sharing) answer(b []byte) []byte  { return bytes.ReplaceAll(b, s.own, s.recorded) }

// shareMemory makes the objects that the corpus's requests name: each two pages that begin with 0 to 15
// and sixteen ones as INT32.
func shareMemory(t *testing.T, recorded string) *sharing {
	own := fmt.Sprintf("/vt%0*d", len(recorded)-3, os.Getpid())
	page := make([]byte, 8192)
	for i := range 16 {
		page[4*i], page[64+4*i] = byte(i), 1
	}
	for _, c := range "abc" {
		file := fmt.Sprintf("/dev/shm%s_%c", own, c)
		if err := os.WriteFile(file, page, 0o600); err != nil {
			t.Skipf("no shared memory: %v", err)
		}
		t.Cleanup(func() { _ = os.Remove(file) })
	}
	return &sharing{[]byte(recorded), []byte(own)}
}
