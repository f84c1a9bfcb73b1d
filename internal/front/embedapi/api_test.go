package embedapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

const dim = 4

// fake is a model whose embedding tells what it was given: the length of the data, a checksum, and
// whether it was to be normalised. Data that starts with "bad" is no image.
type fake struct {
	meta  service.Metadata
	infer func(context.Context, *service.Request) (*service.Response, error) // in place of the above
	last  *service.Request
}

func newFake() *fake {
	return &fake{meta: service.Metadata{
		Name: "openclip_vit_b32", Version: "1", ModelName: "ViT-B-32", Pretrained: "openai", Source: "test", Space: "space-1",
		Engine: "null", Device: "cpu", Precision: "fp32", Dim: dim, ImageSize: 224,
	}}
}

func (m *fake) Metadata() service.Metadata { return m.meta }
func (m *fake) Ready() bool                { return true }

func (m *fake) Infer(ctx context.Context, r *service.Request) (*service.Response, error) {
	m.last = r
	if m.infer != nil {
		return m.infer(ctx, r)
	}
	response := &service.Response{Results: make([]service.Result, len(r.Items))}
	for i, item := range r.Items {
		if len(item.Data) == 0 || bytes.HasPrefix(item.Data, []byte("bad")) {
			err := fault.New(fault.Invalid, "not an image").In(r.Field).At(i)
			if !r.Partial {
				return nil, err
			}
			response.Results[i].Err = err
			continue
		}
		response.Results[i].Embedding = m.embedding(item.Data, r.Normalize)
	}
	t := &response.Timeline
	for s := telemetry.Received; s < telemetry.Sent; s++ {
		t.At[s] = r.Received.Add(time.Duration(s) * time.Millisecond)
	}
	t.BatchSize = len(r.Items)
	return response, nil
}

func (m *fake) embedding(data []byte, normalize bool) []float32 {
	v := make([]float32, m.meta.Dim)
	v[0] = float32(len(data))
	for i, b := range data {
		v[1] += float32(i+1) * float32(b) / 1024
	}
	if normalize {
		v[2] = 1
	}
	v[3] = -1e-7
	return v
}

// server is the API over a model as serve wires it.
func server(t testing.TB, m service.Model, o front.Options) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler(m, o))
	t.Cleanup(s.Close)
	return s
}

func handler(m service.Model, o front.Options) http.Handler { return one(m, front.New(o)) }

func one(m service.Model, f *front.Front) http.Handler {
	mux := http.NewServeMux()
	New(Options{Front: f, Model: m, MaxImages: 4}).Register(mux)
	return mux
}

type answer struct {
	*http.Response
	body []byte
}

func ask(t testing.TB, s *httptest.Server, method, path, kind string, body []byte, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, b}
}

type embedded struct {
	Embeddings [][]float32 `json:"embeddings"`
	Info       ModelInfo   `json:"model_info"`
	Count      int         `json:"count"`
	Errors     []struct {
		Index        int
		Kind, Detail string
	} `json:"errors"`
}

func (a answer) embedded(t testing.TB) embedded {
	t.Helper()
	if a.StatusCode != 200 {
		t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	var e embedded
	if err := json.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return e
}

func images(list ...string) []byte {
	var coded []string
	for _, s := range list {
		coded = append(coded, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	return mustJSON(map[string]any{"images": coded})
}

func TestRaw(t *testing.T) {
	m := newFake()
	s := server(t, m, front.Options{})
	for _, kind := range []string{"", "image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", "image/x-whatever; q=1"} {
		e := ask(t, s, "POST", "/embed", kind, []byte("a=b&c=d")).embedded(t)
		if diff := cmp.Diff([][]float32{m.embedding([]byte("a=b&c=d"), true)}, e.Embeddings); diff != "" || e.Count != 1 {
			t.Errorf("%q: %s", kind, diff)
		}
	}
	e := ask(t, s, "POST", "/embed?normalize=false", "", []byte("x")).embedded(t)
	if e.Embeddings[0][2] != 0 {
		t.Error("normalize=false was not heard")
	}
	if diff := cmp.Diff(Info(&m.meta), e.Info); diff != "" {
		t.Error(diff)
	}
}

func TestBase64Forms(t *testing.T) {
	m := newFake()
	s := server(t, m, front.Options{})
	image := []byte("\xff\xd8\xff\xe0 and more bytes?>~")
	std := base64.StdEncoding.EncodeToString(image)
	for name, text := range map[string]string{
		"standard": std, "url": base64.URLEncoding.EncodeToString(image), "raw": base64.RawStdEncoding.EncodeToString(image),
		"data URI": "data:image/jpeg;base64," + std, "escaped": strings.ReplaceAll(std, "/", `\/`), "unicode escape": strings.ReplaceAll(std, "/", `\u002f`),
		"MIME lines": std[:8] + `\r\n` + std[8:], "data URI, escaped": `data:image\/jpeg;base64,` + std, "no type": "data:;base64," + std,
	} {
		e := ask(t, s, "POST", "/embed/base64", "application/json", []byte(`{"images":["`+text+`"]}`)).embedded(t)
		if diff := cmp.Diff([][]float32{m.embedding(image, true)}, e.Embeddings); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPartial(t *testing.T) {
	s := server(t, newFake(), front.Options{})
	body := []byte(`{"images":["aGVsbG8=","%%%","YmFk","aGVsbG8="],"partial":true}`)
	a := ask(t, s, "POST", "/embed/base64", "application/json", body)
	e := a.embedded(t)
	if e.Count != 4 || e.Embeddings[0] == nil || e.Embeddings[1] != nil || e.Embeddings[2] != nil || e.Embeddings[3] == nil {
		t.Fatalf("%s", a.body)
	}
	if len(e.Errors) != 2 || e.Errors[0].Index != 1 || !strings.Contains(e.Errors[0].Detail, "not base64") || e.Errors[1].Index != 2 || e.Errors[1].Detail != "not an image" {
		t.Errorf("%+v", e.Errors)
	}
	a = ask(t, s, "POST", "/embed/base64", "application/json", body, "Accept", "application/octet-stream")
	v := floats(t, a.body)
	if a.Header.Get("X-Embedding-Errors") != "1,2" || len(v) != 4*dim || v[0] != 5 || v[dim] == v[dim] || v[3*dim] != 5 {
		t.Errorf("%v, %v", a.Header, v)
	}
	for path, want := range map[string]string{
		`{"images":["aGVsbG8=","%%%"]}`:                  `{"detail":[{"type":"value_error","loc":["body","images",1],"msg":"byte 0 of the base64 text is not base64"}]}`,
		`{"images":["aGVsbG8=","YmFk"]}`:                 `{"detail":[{"type":"value_error","loc":["body","images",1],"msg":"not an image"}]}`,
		`{"images":["http://h/a.jpg"]}`:                  `{"detail":[{"type":"value_error","loc":["body","images",0],"msg":"remote images are not fetched: send the image itself, as base64 or a data URI"}]}`,
		`{"images":["data:text/plain;base64,aGVsbG8="]}`: `{"detail":"images[0]: a data URI of text/plain is not an image"}`,
	} {
		a := ask(t, s, "POST", "/embed/base64", "application/json", []byte(path))
		if diff := cmp.Diff(want+"\n", string(a.body)); diff != "" {
			t.Error(diff)
		}
	}
}

func floats(t testing.TB, b []byte) []float32 {
	t.Helper()
	if len(b)%4 != 0 {
		t.Fatalf("%d bytes", len(b))
	}
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func TestBinaryAnswers(t *testing.T) {
	m := newFake()
	s := server(t, m, front.Options{})
	want := append(m.embedding([]byte("one"), true), m.embedding([]byte("three"), true)...)
	a := ask(t, s, "POST", "/embed/base64", "application/json", images("one", "three"), "Accept", "application/octet-stream")
	if diff := cmp.Diff(want, floats(t, a.body)); diff != "" || a.Header.Get("X-Embedding-Shape") != "2,4" {
		t.Errorf("%s %v", diff, a.Header)
	}
	a = ask(t, s, "POST", "/embed/base64", "application/json", images("one", "three"), "Accept", "application/x-npy, application/json;q=0.5")
	head, data, ok := bytes.Cut(a.body, []byte("\n"))
	if !ok || (len(head)+1)%64 != 0 || !strings.Contains(string(head), "'shape': (2, 4)") {
		t.Fatalf("%q", head)
	}
	if diff := cmp.Diff(want, floats(t, data)); diff != "" {
		t.Error(diff)
	}
}

func TestModelMustBeTheLoadedOne(t *testing.T) {
	for _, c := range []struct {
		loaded, tag, asked, askedTag string
		ok                           bool
	}{
		{"ViT-B-32", "openai", "ViT-B-32", "openai", true},
		{"ViT-B-32", "openai", "ViT-B/32", "OpenAI", true},
		{"ViT-B-32", "openai", "ViT-B-32-quickgelu", "openai", true},
		{"ViT-B-32-quickgelu", "openai", "ViT-B-32", "openai", true},
		{"ViT-B-32", "openai", "openclip_vit_b32", "openai", true},
		{"ViT-B-32", "laion2b_s34b_b79k", "ViT-B-32", "laion2b-s34b-b79k", true},
		{"ViT-B-32", "laion2b_s34b_b79k", "ViT-B-32-quickgelu", "laion2b_s34b_b79k", false},
		{"ViT-B-32", "openai", "ViT-L-14", "openai", false},
		{"ViT-B-32", "openai", "ViT-B-32", "laion2b_s34b_b79k", false},
		{"ViT-B-32", "", "ViT-B-32", "openai", false},
		{"", "", "", "", false},
	} {
		m := newFake()
		m.meta.ModelName, m.meta.Pretrained = c.loaded, c.tag
		s := server(t, m, front.Options{})
		body := fmt.Appendf(nil, `{"images":["aGVsbG8="],"model_name":%q,"pretrained":%q}`, c.asked, c.askedTag)
		a := ask(t, s, "POST", "/embed/base64", "application/json", body)
		if got := a.StatusCode == 200; got != c.ok || !c.ok && a.StatusCode != 422 {
			t.Errorf("%+v: %d %s", c, a.StatusCode, a.body)
		}
		a = ask(t, s, "POST", "/embed?model_name="+c.asked+"&pretrained="+c.askedTag, "", []byte("x"))
		if got := a.StatusCode == 200; got != c.ok {
			t.Errorf("query %+v: %d %s", c, a.StatusCode, a.body)
		}
	}
	s := server(t, newFake(), front.Options{})
	a := ask(t, s, "POST", "/embed/base64", "application/json", []byte(`{"images":["aGVsbG8="],"model_name":"ViT-L-14"}`))
	want := `{"detail":[{"type":"value_error","loc":["body","model_name"],"msg":"model_name \"ViT-L-14\" is not loaded; this server has \"ViT-B-32\"","input":"ViT-L-14"}]}`
	if string(a.body) != want+"\n" {
		t.Errorf("%s", a.body)
	}
}

func TestSyntheticIsSaid(t *testing.T) {
	m := newFake()
	m.meta.Synthetic = true
	s := server(t, m, front.Options{})
	for _, c := range [][3]string{
		{"POST", "/embed", "x"}, {"POST", "/embed", "bad"}, {"POST", "/embed/base64", "{}"}, {"GET", "/v1/models", ""},
	} {
		if a := ask(t, s, c[0], c[1], "", []byte(c[2])); a.Header.Get("X-Vitrine-Synthetic") != "true" {
			t.Errorf("%v: not said", c)
		}
	}
	if !ask(t, s, "POST", "/embed", "", []byte("x")).embedded(t).Info.Synthetic {
		t.Error("model_info does not say it")
	}
}

func TestFaultsToStatus(t *testing.T) {
	for kind, status := range map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 400, fault.TooLarge: 413, fault.UnsupportedMedia: 415, fault.Exhausted: 429,
		fault.Unavailable: 503, fault.Timeout: 504, fault.Unimplemented: 501, fault.NotFound: 404,
	} {
		m := newFake()
		m.infer = func(context.Context, *service.Request) (*service.Response, error) {
			return nil, fault.Wrap(kind, errors.New("the cause"), "it failed").After(1500 * time.Millisecond)
		}
		s := server(t, m, front.Options{})
		for path, body := range map[string][]byte{"/embed": []byte("x"), "/v1/embeddings": []byte(`{"model":"ViT-B-32","input":"data:;base64,aGVsbG8="}`)} {
			a := ask(t, s, "POST", path, "", body)
			if a.StatusCode != status {
				t.Errorf("%v at %s: %d %s", kind, path, a.StatusCode, a.body)
			}
			if retry := a.Header.Get("Retry-After") == "2"; retry != (status == 429 || status == 503) {
				t.Errorf("%v: Retry-After %q", kind, a.Header.Get("Retry-After"))
			}
			if strings.Contains(string(a.body), "the cause") == (kind == fault.Internal) {
				t.Errorf("%v: %s", kind, a.body)
			}
		}
	}
}

func TestPanicIsOneRequestsOwn(t *testing.T) {
	m := newFake()
	m.infer = func(context.Context, *service.Request) (*service.Response, error) { panic("boom") }
	s := server(t, m, front.Options{})
	if a := ask(t, s, "POST", "/embed", "", []byte("x")); a.StatusCode != 500 || strings.Contains(string(a.body), "boom") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	m.infer = nil
	ask(t, s, "POST", "/embed", "", []byte("x")).embedded(t)
}

// TestHostile sends what breaks servers; each has its status, and the next request is answered.
func TestHostile(t *testing.T) {
	s := server(t, newFake(), front.Options{MaxBody: 1 << 20})
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	form := "multipart/form-data; boundary=B"
	file := "--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\nhello\r\n"
	field := "--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n"
	for _, c := range []struct {
		name, method, path, kind, body string
		status                         int
	}{
		{"deep JSON", "POST", "/embed/base64", "application/json", deep, 400},
		{"deep field", "POST", "/embed/base64", "application/json", `{"x":` + deep + `}`, 400},
		{"deep input", "POST", "/v1/embeddings", "application/json", `{"input":` + deep + `}`, 400},
		{"not JSON", "POST", "/embed/base64", "application/json", "\x00\xff", 422},
		{"not JSON, OpenAI", "POST", "/v1/embeddings", "application/json", "\x00\xff", 400},
		{"not UTF-8", "POST", "/embed/base64", "application/json", "{\"images\":[\"aGVsbG8=\"],\"x\":\"\xff\"}", 422},
		{"duplicate", "POST", "/embed/base64", "application/json", `{"images":["aGVsbG8="],"images":["aGVsbG8="]}`, 422},
		{"trailing", "POST", "/embed/base64", "application/json", `{"images":["aGVsbG8="]}{}`, 422},
		{"too large", "POST", "/embed", "", strings.Repeat("x", 1<<20+1), 413},
		{"empty", "POST", "/embed", "image/png", "", 422},
		{"wrong type", "POST", "/embed", "text/html", "x", 415},
		{"JSON as raw", "POST", "/embed", "application/json", "{}", 415},
		{"form as JSON", "POST", "/embed/base64", form, file + "--B--", 415},
		{"form cut", "POST", "/embed/batch", form, file, 400},
		{"form cut in header", "POST", "/embed/batch", form, file + "--B\r\nContent-Disp", 400},
		{"form without boundary", "POST", "/embed/batch", "multipart/form-data", file, 400},
		{"form of another boundary", "POST", "/embed/batch", "multipart/form-data; boundary=C", file + "--B--\r\n", 400},
		{"form part without name", "POST", "/embed/batch", form, "--B\r\n\r\nx\r\n--B--\r\n", 400},
		{"huge part header", "POST", "/embed/batch", form, "--B\r\nX: " + strings.Repeat("y", 20_000) + "\r\n\r\n\r\n--B--\r\n", 400},
		{"many files", "POST", "/embed/batch", form, strings.Repeat(file, 5000) + "--B--\r\n", 422},
		{"many fields", "POST", "/embed/batch", form, file + strings.Repeat(field, 5000) + "--B--\r\n", 400},
		{"bad query", "POST", "/embed?normalize=maybe", "", "x", 422},
		{"method", "GET", "/embed", "", "", 405},
		{"method, OpenAI", "DELETE", "/v1/models", "", "", 405},
		{"options", "OPTIONS", "/embed", "", "", 204},
		{"head", "HEAD", "/v1/models", "", "", 200},
	} {
		a := ask(t, s, c.method, c.path, c.kind, []byte(c.body))
		if a.StatusCode != c.status {
			t.Errorf("%s: %d %.300s", c.name, a.StatusCode, a.body)
		}
		if a.StatusCode >= 400 && !json.Valid(a.body) {
			t.Errorf("%s: %s", c.name, a.body)
		}
		if (c.status == 405 || c.status == 204) != (a.Header.Get("Allow") != "") {
			t.Errorf("%s: Allow %q", c.name, a.Header.Get("Allow"))
		}
		ask(t, s, "POST", "/embed", "", []byte("x")).embedded(t)
	}
}

// TestAnImageInAnotherFieldIsToldWhereToGo is for the client that names its file field "image".
func TestAnImageInAnotherFieldIsToldWhereToGo(t *testing.T) {
	s := server(t, newFake(), front.Options{})
	body := formPart("image", strings.Repeat("x", 5000)) + "--B--\r\n"
	a := ask(t, s, "POST", "/embed/batch", "multipart/form-data; boundary=B", []byte(body))
	if a.StatusCode != 422 || !strings.Contains(string(a.body), "images go into the field files") || !strings.Contains(string(a.body), `"image"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestKeepAliveSurvivesAnError(t *testing.T) {
	var dials atomic.Int32
	s := httptest.NewUnstartedServer(handler(newFake(), front.Options{}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dials.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	for _, body := range []string{"bad", "x", "", "bad image of some bytes", "x"} {
		ask(t, s, "POST", "/embed", "", []byte(body))
		ask(t, s, "POST", "/embed", "text/html", []byte(body))
		ask(t, s, "POST", "/embed/base64", "", []byte(body))
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
}

func TestHeaders(t *testing.T) {
	m := newFake()
	s := server(t, m, front.Options{})
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := ask(t, s, "POST", "/embed", "", []byte("x"), "X-Request-Id", "mine-1", "Traceparent", trace)
	h := a.Header
	if h.Get("X-Request-Id") != "mine-1" || m.last.ID != "mine-1" || h.Get("Traceparent") != trace {
		t.Errorf("%v", h)
	}
	if !strings.Contains(h.Get("Server-Timing"), "compute;dur=1.000") || h.Get("X-Vitrine-Space") != "space-1" || h.Get("Content-Length") == "" {
		t.Errorf("%v", h)
	}
	a = ask(t, s, "POST", "/embed", "", []byte("x"), "X-Request-Id", "with \"quotes\"", "Traceparent", "nonsense")
	if id := a.Header.Get("X-Request-Id"); len(id) < 16 || strings.Contains(id, `"`) || a.Header.Get("Traceparent") != "" {
		t.Errorf("%v", a.Header)
	}
}
