package target

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

func image(name string) Image {
	m := Image{Name: name, JPEG: []byte("\xff\xd8 " + name), Width: 2, Height: 2}
	for i := range 12 {
		m.Pixels = append(m.Pixels, byte(20*i))
		m.Tensor = append(m.Tensor, float32(i)/3-1)
	}
	return m
}

// servant answers every format with as many embeddings as the request has images, and keeps what came.
type servant struct {
	count  func(r *http.Request, body []byte) (images int, err error)
	answer string // instead of embeddings
	status int
}

func (s *servant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch kind := r.URL.Path; {
	case kind == "/v2/models/m" || kind == "/v2/models/m/versions/2":
		fmt.Fprint(w, `{"name":"m","inputs":[{"name":"pixels","datatype":"`+r.Header.Get("X-Kind")+`","shape":[-1,3,2,2]}]}`)
		return
	case s.answer != "":
		w.WriteHeader(max(s.status, 200))
		fmt.Fprint(w, s.answer)
		return
	}
	n, err := s.count(r, body)
	if err != nil {
		http.Error(w, `{"error":`+strconv.Quote(err.Error())+`}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Server-Timing", "compute;dur=3.5")
	s.embeddings(w, r.URL.Path, r.Header.Get("Inference-Header-Content-Length") != "", n)
}

func (s *servant) embeddings(w http.ResponseWriter, path string, binaryOut bool, n int) {
	vector := "[0.5,0.25]"
	list := strings.TrimSuffix(strings.Repeat(vector+",", n), ",")
	switch {
	case path == "/v1/embeddings":
		fmt.Fprint(w, `{"data":[`+strings.ReplaceAll(strings.ReplaceAll(list, "[", `{"embedding":[`), "]", "]}")+`]}`)
	case !strings.HasPrefix(path, "/v2/"):
		fmt.Fprintf(w, `{"embeddings":[%s],"count":%d}`, list, n)
	case binaryOut:
		head := fmt.Sprintf(`{"outputs":[{"name":"e","datatype":"FP32","shape":[%d,2],"parameters":{"binary_data_size":%d}}]}`, n, 8*n)
		w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
		fmt.Fprint(w, head+strings.Repeat("12345678", n))
	default:
		fmt.Fprintf(w, `{"outputs":[{"name":"e","datatype":"FP32","shape":[%d,2],"data":[%s]}]}`, n, strings.NewReplacer("[", "", "]", "").Replace(list))
	}
}

// Every format's request is read by an independent reader, and its images are found whole.
func TestFormats(t *testing.T) {
	a, b := image("a"), image("b")
	readers := map[string]func(r *http.Request, body []byte) (int, error){
		EmbedBase64: func(_ *http.Request, body []byte) (int, error) {
			var q struct{ Images []string }
			err := json.Unmarshal(body, &q)
			for i, s := range q.Images {
				if got, _ := base64.StdEncoding.DecodeString(s); string(got) != string([]Image{a, b}[i].JPEG) {
					err = fmt.Errorf("image %d is %q", i, got)
				}
			}
			return len(q.Images), err
		},
		EmbedRaw: func(_ *http.Request, body []byte) (int, error) { return 1, same(string(body), string(a.JPEG)) },
		EmbedBatch: func(r *http.Request, body []byte) (int, error) {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			if err := r.ParseMultipartForm(1 << 20); err != nil {
				return 0, err
			}
			files := r.MultipartForm.File["files"]
			f, err := files[0].Open()
			if err != nil {
				return 0, err
			}
			got, _ := io.ReadAll(f)
			return len(files), same(string(got), string(a.JPEG))
		},
		OpenAI: func(_ *http.Request, body []byte) (int, error) {
			var q struct {
				Model string
				Input []string
			}
			err := json.Unmarshal(body, &q)
			if err == nil {
				err = same(q.Input[0], "data:image/jpeg;base64,"+base64.StdEncoding.EncodeToString(a.JPEG))
			}
			return len(q.Input), err
		},
		OIPJSON: func(_ *http.Request, body []byte) (int, error) {
			var q struct {
				Inputs []struct {
					Name, Datatype string
					Shape          []int
					Data           []float64
				}
			}
			if err := json.Unmarshal(body, &q); err != nil {
				return 0, err
			}
			in := q.Inputs[0]
			for i, v := range in.Data {
				if float32(v) != a.Tensor[i%12] {
					return 0, fmt.Errorf("value %d is %v", i, v)
				}
			}
			return in.Shape[0], same(fmt.Sprint(in.Name, in.Datatype, in.Shape[1:], len(in.Data)), fmt.Sprint("pixelsFP32", []int{3, 2, 2}, 12*in.Shape[0]))
		},
		OIPBinary: func(r *http.Request, body []byte) (int, error) {
			n, tensor, err := binaryParts(r, body)
			for i := 0; err == nil && i < len(tensor)/4; i++ {
				if got := math.Float32frombits(binary.LittleEndian.Uint32(tensor[4*i:])); got != a.Tensor[i%12] {
					err = fmt.Errorf("value %d is %v", i, got)
				}
			}
			return n, err
		},
		OIPBinaryU8: func(r *http.Request, body []byte) (int, error) {
			n, tensor, err := binaryParts(r, body)
			if err == nil {
				err = same(string(tensor), strings.Repeat(string(a.Pixels), n))
			}
			return n, err
		},
		OIPRaw: func(r *http.Request, body []byte) (int, error) {
			return 1, same(r.Header.Get("Inference-Header-Content-Length")+string(body), "0"+string(a.JPEG))
		},
	}
	for format, reader := range readers {
		for _, images := range [][]Image{{a}, {a, b}} {
			one := format == EmbedRaw || format == OIPRaw
			t.Run(fmt.Sprint(format, len(images)), func(t *testing.T) {
				to := openTo(t, Options{Format: format}, &servant{count: reader})
				q, err := to.Prepare(images)
				if one && len(images) > 1 {
					if err == nil {
						t.Error("two images in a format of one")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				c := dial(t, to)
				for range 3 { // over one connection; the shape is checked once
					r := do(t, c, q)
					if r.Error != "" || r.Status != 200 {
						t.Fatalf("%d %q", r.Status, r.Error)
					}
					if int(r.BytesOut) != q.Bytes() || r.BytesIn < 30 || r.Server.Compute != 3500*time.Microsecond {
						t.Errorf("%+v", r)
					}
					if r.Sent > r.Wrote || r.Wrote > r.FirstByte || r.FirstByte > r.Done {
						t.Errorf("stamps %d %d %d %d", r.Sent, r.Wrote, r.FirstByte, r.Done)
					}
				}
			})
		}
	}
}

func same(got, want string) error {
	if got != want {
		return fmt.Errorf("got %.200q, want %.200q", got, want)
	}
	return nil
}

func binaryParts(r *http.Request, body []byte) (int, []byte, error) {
	n, err := strconv.Atoi(r.Header.Get("Inference-Header-Content-Length"))
	if err != nil {
		return 0, nil, err
	}
	var q struct {
		Inputs []struct {
			Shape      []int
			Parameters struct {
				Size int `json:"binary_data_size"`
			}
		}
		Parameters struct {
			Output bool `json:"binary_data_output"`
		}
	}
	if err := json.Unmarshal(body[:n], &q); err != nil {
		return 0, nil, err
	}
	tensor := body[n:]
	if len(tensor) != q.Inputs[0].Parameters.Size || !q.Parameters.Output {
		return 0, nil, fmt.Errorf("%d bytes of tensor, %+v", len(tensor), q)
	}
	return q.Inputs[0].Shape[0], tensor, nil
}

// openTo opens a target of a test server.
func openTo(t *testing.T, o Options, h http.Handler) Target {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o.URL, o.Model = s.URL, "m"
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	o.Headers = map[string]string{"X-Kind": kinds[o.Format]}
	to, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func dial(t *testing.T, to Target) Conn {
	t.Helper()
	c, err := to.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t *testing.T, c Conn, q Request) (r record.Request) {
	t.Helper()
	start := time.Now()
	if err := c.Do(t.Context(), q, func() int64 { return 1 + int64(time.Since(start)) }, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWrongAnswers(t *testing.T) {
	for _, c := range []struct {
		format, answer string
		status         int
		want           string
	}{
		{EmbedRaw, `{"error":{"message":"no room"}}`, 200, "an error under a success status: no room"},
		{EmbedRaw, `{"embeddings":[]}`, 200, "0 embeddings for 1 images"},
		{EmbedRaw, `{"embeddings":[[]]}`, 200, "embedding 0 has 0 values"},
		{EmbedRaw, `nothing`, 200, "a wrong answer: invalid character"},
		{EmbedRaw, `{"detail":"full"}`, 503, "HTTP 503 Service Unavailable: full"},
		{EmbedRaw, `{"detail":[{"msg":"x"}]}`, 422, `HTTP 422 Unprocessable Entity: [{"msg":"x"}]`},
		{OpenAI, `{"data":[{"embedding":[]}]}`, 200, "embedding 0 has 0 values"},
		{OIPJSON, `{"outputs":[]}`, 200, "no outputs"},
		{OIPJSON, `{"error":"bad shape"}`, 400, "HTTP 400 Bad Request: bad shape"},
		{OIPJSON, `{"outputs":[{"name":"e","shape":[2,2],"data":[1,2,3,4]}]}`, 200, "the shape [2 2] for 1 images"},
		{OIPJSON, `{"outputs":[{"name":"e","shape":[1,2]}]}`, 200, "has no data"},
		{OIPBinary, `{"outputs":[{"name":"e","shape":[1,2],"parameters":{"binary_data_size":8}}]}`, 200, "0 bytes of tensors, 8 announced"},
	} {
		to := openTo(t, Options{Format: c.format}, &servant{answer: c.answer, status: c.status})
		q, err := to.Prepare([]Image{image("a")})
		if err != nil {
			t.Fatal(err)
		}
		if r := do(t, dial(t, to), q); !strings.Contains(r.Error, c.want) || int(r.Status) != c.status {
			t.Errorf("%s %s: %d %q, want %q", c.format, c.answer, r.Status, r.Error, c.want)
		}
	}
}

// raw serves connections by hand; each gets one connection and its number.
func raw(t *testing.T, serve func(n int, c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(n, c) }()
		}
	}()
	return "http://" + ln.Addr().String()
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"embeddings\":[[0.5]]}"

func rawTarget(t *testing.T, o Options, serve func(n int, c net.Conn)) (Target, Request) {
	t.Helper()
	o.URL, o.Format = raw(t, serve), EmbedRaw
	to, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	q, err := to.Prepare([]Image{image("a")})
	if err != nil {
		t.Fatal(err)
	}
	return to, q
}

// readRequest reads one request whose body is that of image("a").
func readRequest(c net.Conn) bool {
	var got []byte
	b := make([]byte, 4096)
	for !strings.HasSuffix(string(got), string(image("a").JPEG)) {
		n, err := c.Read(b)
		if err != nil {
			return false
		}
		got = append(got, b[:n]...)
	}
	return true
}

func TestConnectionsEnd(t *testing.T) {
	for _, c := range []struct{ name, answer, want string }{
		{"no answer", "", "the connection was closed without an answer"},
		{"half a head", "HTTP/1.1 200 O", "the connection was closed"},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "the connection ended within the answer"},
		{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{", "the connection ended within the answer"},
		{"up to the end", "HTTP/1.1 200 OK\r\n\r\n{\"embeddings\":[[0.5]]}", ""},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n16\r\n{\"embeddings\":[[0.5]]}\r\n0\r\n\r\n", ""},
		{"provisional", "HTTP/1.1 103 Early Hints\r\n\r\n" + good, ""},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", errHead.Error()},
	} {
		var connections atomic.Int32
		to, q := rawTarget(t, Options{}, func(_ int, nc net.Conn) {
			connections.Add(1)
			if readRequest(nc) {
				fmt.Fprint(nc, c.answer)
			}
		})
		conn := dial(t, to)
		for range 2 { // it reconnects by itself
			if r := do(t, conn, q); c.want == "" && r.Error != "" || !strings.Contains(r.Error, c.want) {
				t.Errorf("%s: %q, want %q", c.name, r.Error, c.want)
			}
			conn.(*httpConn).drop()
		}
		if n := connections.Load(); n != 2 {
			t.Errorf("%s: %d connections, want 2", c.name, n)
		}
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	to, q := rawTarget(t, Options{Timeout: 30 * time.Millisecond}, func(_ int, c net.Conn) {
		readRequest(c)
		<-hold
	})
	c := dial(t, to)
	if r := do(t, c, q); r.Error != Timeout || r.Status != 0 || r.Done == 0 {
		t.Errorf("%+v, want a timeout", r)
	}
	c.(interface{ SetTimeout(time.Duration) }).SetTimeout(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan record.Request, 1)
	go func() {
		var r record.Request
		_ = c.Do(ctx, q, func() int64 { return 1 }, &r)
		ended <- r
	}()
	cancel()
	if r := <-ended; r.Error != "cancelled" {
		t.Errorf("%+v, want cancelled", r)
	}
}

func TestNewConnections(t *testing.T) {
	var connections atomic.Int32
	to, q := rawTarget(t, Options{NewConnection: true}, func(_ int, c net.Conn) {
		connections.Add(1)
		for readRequest(c) {
			fmt.Fprint(c, good)
		}
	})
	c := dial(t, to)
	for range 5 {
		if r := do(t, c, q); r.Error != "" {
			t.Error(r.Error)
		}
	}
	if n := connections.Load(); n != 5 {
		t.Errorf("%d connections for 5 requests", n)
	}
}

// Two answers for one request: the second is no answer to the next one.
func TestSurplusAnswerIsNotTaken(t *testing.T) {
	var connections atomic.Int32
	to, q := rawTarget(t, Options{}, func(_ int, c net.Conn) {
		connections.Add(1)
		for readRequest(c) {
			fmt.Fprint(c, good+good)
		}
	})
	c := dial(t, to)
	for range 3 {
		if r := do(t, c, q); r.Error != "" {
			t.Error(r.Error)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestNothingIsAllocatedPerRequest(t *testing.T) {
	to, q := rawTarget(t, Options{}, func(_ int, c net.Conn) {
		b, answer := make([]byte, 4096), []byte(good)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	c, ctx := dial(t, to), t.Context()
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	var r record.Request
	if n := testing.AllocsPerRun(200, func() {
		if err := c.Do(ctx, q, clock, &r); err != nil || r.Error != "" {
			t.Fatal(err, r.Error)
		}
	}); n >= 1 {
		t.Errorf("%v allocations a request", n)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(&servant{count: func(*http.Request, []byte) (int, error) { return 1, nil }})
	defer s.Close()
	o := Options{URL: s.URL, Format: EmbedRaw, TLS: s.Client().Transport.(*http.Transport).TLSClientConfig}
	to, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	q, err := to.Prepare([]Image{image("a")})
	if err != nil {
		t.Fatal(err)
	}
	if r := do(t, dial(t, to), q); r.Error != "" {
		t.Error(r.Error)
	}
	o.TLS = nil
	if to, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Dial(t.Context()); err == nil {
		t.Error("an unknown certificate was taken")
	}
}

// Golden texts are python3 -c 'import json; print(json.dumps([...]))'.
func TestReprIsPythons(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0.0"}, {1, "1.0"}, {-2.5, "-2.5"}, {float64(float32(0.1)), "0.10000000149011612"},
		{float64(float32(1e-5)), "9.999999747378752e-06"}, {0.0001, "0.0001"}, {1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {math.Copysign(0, -1), "-0.0"},
	} {
		if got := string(appendRepr(nil, c.v)); got != c.want {
			t.Errorf("%v is %s, Python writes %s", c.v, got, c.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, o := range []Options{
		{Format: "soap", URL: "http://x"}, {Format: EmbedRaw, URL: "ftp://x"}, {Format: EmbedRaw, URL: ""}, {Format: OIPJSON, URL: "http://x"}, {Format: InProcess},
	} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		name  string
		pages map[string]string
		want  record.Server
	}{
		{"triton", map[string]string{"/v2": `{"name":"triton","version":"2.51.0","extensions":[]}`}, record.Server{Software: "triton", Version: "2.51.0"}},
		{"vitrine", map[string]string{"/v2": `{"name":"vitrine","version":"1.0"}`,
			"/model-info": `{"engine":"cpu","precision":"fp32","space_id":"s","synthetic":true,"version":"1"}`},
			record.Server{Software: "vitrine", Version: "1.0", Engine: "cpu", Precision: "fp32", Space: "s", Synthetic: true}},
		{"vitrine under Triton's name", map[string]string{"/v2": `{"name":"triton","version":"2.51.0"}`, "/model-info": `{"engine":"cpu","version":"1"}`},
			record.Server{Software: "vitrine", Engine: "cpu"}},
		{"fastapi", map[string]string{"/openapi.json": `{"openapi":"3.1.0","info":{"title":"FastAPI","version":"0.1.0"}}`},
			record.Server{Software: "fastapi", Version: "0.1.0"}},
		{"nothing", map[string]string{}, record.Server{}},
	} {
		to := openTo(t, Options{Format: EmbedRaw}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			page, ok := c.pages[r.URL.Path]
			if !ok {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, page)
		}))
		got, err := to.Describe(t.Context())
		if got != c.want || (err == nil) != (len(c.pages) > 0) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}
