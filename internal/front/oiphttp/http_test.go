package oiphttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
)

// plainServer serves the default samples; limit bounds a body, compressed or not.
func plainServer(t *testing.T, limit int64) http.Handler {
	t.Helper()
	models := samples.Default()
	registry := oip.NewRegistry(nil)
	for _, m := range models {
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	New(Options{Front: front.New(front.Options{MaxBody: limit}), Server: oip.NewServer(registry, nil), MaxInput: limit}).Register(mux)
	return mux
}

func ask(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	pack(w, []byte(text))
	return b.String()
}

func TestABombIsRefused(t *testing.T) {
	h := plainServer(t, 1<<16)
	const path = "/v2/models/simple_identity/infer"
	w := ask(h, "POST", path, zipped(t, strings.Repeat(" ", 1<<20)), "Content-Encoding", "gzip")
	if w.Code != 400 || !strings.Contains(w.Body.String(), "exceeds the maximum allowed input size of 65536 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(h, "POST", path, strings.Repeat(" ", 1<<20)); w.Code != 400 || !strings.Contains(w.Body.String(), "larger than 65536 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	broken := []byte(zipped(t, `{"inputs":[]}`))
	broken[len(broken)-5] ^= 1 // the checksum
	if w := ask(h, "POST", path, string(broken), "Content-Encoding", "gzip"); w.Code != 400 || !strings.Contains(w.Body.String(), "not gzip") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	h := plainServer(t, 0)
	for _, c := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{"GET", "/v2/models/simple", 200, ""}, {"POST", "/v2/models/simple", 405, "GET"}, {"BREW", "/v2", 405, "GET, HEAD, POST, OPTIONS"},
		{"GET", "/v2/models/simple/infer", 405, "POST"}, {"PUT", "/v2/logging", 405, "GET, POST"},
		{"GET", "/v2/models/simple/versions/1", 200, ""}, {"GET", "/v2/models/simple/versions/1/", 404, ""},
		{"GET", "/v2/models/simple/versions/x", 404, ""}, {"GET", "/v2/models//ready", 307, ""}, // the router's own answer
		{"GET", "/v2/models/simple/versions/1/trace/setting", 404, ""}, {"GET", "/v2/models/simple/trace/setting", 200, ""},
		{"POST", "/v2/models/simple/generate", 501, ""}, {"POST", "/v2/repository/r/index", 200, ""}, {"POST", "/v2/repository/r/models/m/load", 501, ""},
		{"POST", "/v2/repository/models/simple/load", 503, ""}, {"GET", "/v2/cudasharedmemory/status", 200, ""},
		{"POST", "/v2/cudasharedmemory/region/r/register", 501, ""},
	} {
		w := ask(h, c.method, c.path, "")
		if w.Code != c.code || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %q %s", c.method, c.path, w.Code, w.Header().Get("Allow"), w.Body)
		}
		if w.Code >= 400 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %s", c.method, c.path, w.Body)
		}
	}
}

func TestReadiness(t *testing.T) {
	f := front.New(front.Options{})
	mux := http.NewServeMux()
	New(Options{Front: f, Server: oip.NewServer(oip.NewRegistry(nil), nil)}).Register(mux)
	if w := ask(mux, "GET", "/v2/health/ready", ""); w.Code != 200 {
		t.Error(w.Code)
	}
	f.SetDraining(true)
	for path, code := range map[string]int{"/v2/health/ready": 400, "/v2/health/live": 200} {
		if w := ask(mux, "GET", path, ""); w.Code != code {
			t.Errorf("%s while draining: %d", path, w.Code)
		}
	}
	loading := http.NewServeMux()
	RegisterLoading(front.New(front.Options{}), loading)
	for path, code := range map[string]int{"/v2/health/ready": 400, "/v2/health/live": 200, "/v2": 503, "/v2/models/m": 503} {
		if w := ask(loading, "GET", path, ""); w.Code != code {
			t.Errorf("%s while loading: %d", path, w.Code)
		}
	}
}

// broken fails as a test says.
type broken struct {
	*samples.Model
	err error
}

func (b broken) Infer(context.Context, *oip.Request) (*oip.Response, error) { return nil, b.err }

func TestStatuses(t *testing.T) {
	for kind, code := range map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 400, fault.NotFound: 404, fault.TooLarge: 400, fault.UnsupportedMedia: 400, fault.Unimplemented: 501,
		fault.Exhausted: 503, fault.Unavailable: 503, fault.Timeout: 503, fault.Unauthenticated: 401, fault.Forbidden: 403, fault.Mistaken: 500,
	} {
		registry := oip.NewRegistry(nil)
		if err := registry.Add(broken{samples.Default()[3].(*samples.Model), fault.New(kind, `with "quotes"`).In("image").At(2)}); err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		New(Options{Front: front.New(front.Options{}), Server: oip.NewServer(registry, nil)}).Register(mux)
		w := ask(mux, "POST", "/v2/models/simple_identity/infer", `{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,1],"data":["x"]}]}`)
		if w.Code != code || w.Body.String() != `{"error":"image[2]: with \"quotes\""}` {
			t.Errorf("%v: %d %s", kind, w.Code, w.Body)
		}
	}
}

func TestBuffersAreUsedAgainSafely(t *testing.T) {
	h := plainServer(t, 0)
	for i := range 50 {
		text := strings.Repeat(string(rune('a'+i%26)), 1+i*40)
		w := ask(h, "POST", "/v2/models/simple_identity/infer", `{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,1],"data":["`+text+`"]}]}`)
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"data":["`+text+`"]`) {
			t.Fatalf("%d: %d %s", i, w.Code, w.Body)
		}
	}
}

// FuzzInfer sends any body and any header: nothing may end in 500 without Triton's words, or in a panic.
func FuzzInfer(f *testing.F) {
	f.Add(`{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,1],"parameters":{"binary_data_size":5}}]}`+"\x01\x00\x00\x00a", "94", "")
	f.Add(`{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,2],"data":["a","b"]}],"outputs":[{"name":"OUTPUT0","parameters":{"classification":2}}]}`, "", "gzip")
	f.Add("raw", "0", "")
	f.Fuzz(func(t *testing.T, body, length, accept string) {
		h := plainServer(t, 1<<20)
		r := httptest.NewRequest("POST", "/v2/models/simple_identity/infer", strings.NewReader(body))
		if length != "" {
			r.Header[headerLength] = []string{length}
		}
		r.Header["Accept-Encoding"] = []string{accept}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 400 && !json.Valid(w.Body.Bytes()) && !strings.Contains(w.Body.String(), "\ufffd") && json.Valid([]byte(body)) {
			t.Errorf("%d %q", w.Code, w.Body)
		}
		if w.Code == 500 && strings.Contains(w.Body.String(), "internal error") {
			t.Errorf("%s", w.Body)
		}
	})
}
