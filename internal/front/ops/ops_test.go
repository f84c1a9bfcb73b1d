package ops

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

type fake struct {
	ready   bool
	devices []service.Device
}

func (m *fake) Ready() bool               { return m.ready }
func (m *fake) Devices() []service.Device { return m.devices }
func (m *fake) Metadata() service.Metadata {
	return service.Metadata{Name: "m", ModelName: "ViT-B-32", Pretrained: "openai", Dim: 512, WeightsHash: "sha256:0", Synthetic: true}
}
func (m *fake) Infer(context.Context, *service.Request) (*service.Response, error) {
	panic("not asked")
}

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestReadiness(t *testing.T) {
	f := front.New(front.Options{})
	s := New(Options{Front: f, Version: "v1"})
	data, metrics := http.NewServeMux(), http.NewServeMux()
	s.Register(data)
	s.RegisterMetrics(metrics)
	m := &fake{}
	for _, step := range []struct {
		name   string
		do     func()
		status int
		state  string
	}{
		{"no model", func() {}, 503, "starting"},
		{"model loaded", func() { s.SetModel(m) }, 503, "starting"},
		{"first inference", func() { m.ready = true }, 200, "healthy"},
		{"draining", func() { s.SetDraining(true) }, 503, "draining"},
		{"drain called off", func() { s.SetDraining(false) }, 200, "healthy"},
		{"engine lost", func() { m.ready = false }, 503, "starting"},
	} {
		step.do()
		for port, mux := range map[string]*http.ServeMux{"data": data, "metrics": metrics} {
			if w := get(mux, "GET", "/readyz"); w.Code != step.status {
				t.Errorf("%s, %s port: /readyz %d", step.name, port, w.Code)
			}
			for _, path := range []string{"/health", "/healthz"} {
				w := get(mux, "GET", path)
				var h health
				if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || w.Code != 200 || h.Status != step.state || h.Ready != (step.status == 200) {
					t.Errorf("%s, %s port: %s %d %s", step.name, port, path, w.Code, w.Body)
				}
			}
		}
	}
}

// TestLostDevices is ready with one device of two, and says that it is not whole.
func TestLostDevices(t *testing.T) {
	s := New(Options{Front: front.New(front.Options{}), Version: "v1"})
	mux := http.NewServeMux()
	s.Register(mux)
	up, down := service.Device{Name: "gpu:0", Up: true, Since: time.Now()}, service.Device{Name: "gpu:1", Why: "fell off the bus", Since: time.Now().Add(-time.Hour)}
	for _, c := range []struct {
		devices []service.Device
		ready   bool
		state   string
	}{
		{[]service.Device{up, up}, true, "healthy"},
		{[]service.Device{up, down}, true, "degraded"},
		{[]service.Device{down, down}, false, "unavailable"},
	} {
		s.SetModel(&fake{ready: c.ready, devices: c.devices})
		w := get(mux, "GET", "/readyz")
		var h health
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || h.Status != c.state || (w.Code == 200) != c.ready || len(h.Devices) != 2 {
			t.Errorf("%s: %d %s, %v", c.state, w.Code, w.Body, err)
		}
		if d := h.Devices[1]; !d.Up && (d.Why != down.Why || d.Since < 3600) {
			t.Errorf("%+v", d)
		}
	}
}

func TestWhatIsLoaded(t *testing.T) {
	s := New(Options{Front: front.New(front.Options{}), Version: "v1"})
	mux := http.NewServeMux()
	s.Register(mux)
	if w := get(mux, "GET", "/model-info"); w.Code != 503 {
		t.Errorf("%d before a model is loaded", w.Code)
	}
	s.SetModel(&fake{})
	w := get(mux, "GET", "/model-info")
	var info map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil {
		t.Fatal(err)
	}
	if info["embedding_dim"] != 512.0 || info["weights_hash"] != "sha256:0" || info["synthetic"] != true || w.Header().Get("X-Vitrine-Synthetic") != "true" {
		t.Errorf("%v %v", info, w.Header())
	}
	if w := get(mux, "GET", "/gpu-info"); strings.TrimSpace(w.Body.String()) != `{"gpu_available":false,"gpus":[]}` {
		t.Errorf("%s", w.Body)
	}
	if w := get(mux, "GET", "/"); w.Code != 200 || !strings.Contains(w.Body.String(), "POST /embed") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get(mux, "POST", "/health"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestNoRouteAsFastAPI(t *testing.T) {
	data, err := os.ReadFile("../embedapi/testdata/fastapi_errors.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name, Method, Path string
			Status             int
			Answer             map[string]any
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	New(Options{Front: front.New(front.Options{})}).Register(mux)
	found := false
	for _, c := range golden.Cases {
		if c.Name != "no route" {
			continue
		}
		found = true
		w := get(mux, c.Method, c.Path)
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != c.Status || !reflect.DeepEqual(got, c.Answer) {
			t.Errorf("%d %s, want %d %v", w.Code, w.Body, c.Status, c.Answer)
		}
	}
	if !found {
		t.Error("the golden file has no such case")
	}
}

func TestMetricsPort(t *testing.T) {
	m := telemetry.NewMetrics(telemetry.MetricsOptions{Version: "v1"})
	f := front.New(front.Options{Observer: m})
	data := http.NewServeMux()
	New(Options{Front: f}).Register(data)
	get(data, "GET", "/nothing")
	for _, profiling := range []bool{false, true} {
		mux := http.NewServeMux()
		New(Options{Front: f, Metrics: m.Handler(), Pprof: profiling}).RegisterMetrics(mux)
		w := get(mux, "GET", "/metrics")
		if w.Code != 200 || !strings.Contains(w.Body.String(), `vitrine_request_duration_seconds_count{code="404",protocol="http",route="/"} 1`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := get(mux, "GET", "/debug/pprof/cmdline"); (w.Code == 200) != profiling {
			t.Errorf("pprof %v: %d", profiling, w.Code)
		}
	}
}

// TestModelsThatComeAndGo asks what is current at each request.
func TestModelsThatComeAndGo(t *testing.T) {
	s := New(Options{Front: front.New(front.Options{})})
	mux := http.NewServeMux()
	s.Register(mux)
	var current service.Model
	ready := false
	s.SetModels(func() service.Model { return current }, func() bool { return ready })
	if w := get(mux, "GET", "/readyz"); w.Code != 503 || strings.Contains(w.Body.String(), `"model_loaded":true`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	ready = true
	if w := get(mux, "GET", "/readyz"); w.Code != 200 || strings.Contains(w.Body.String(), `"model_loaded":true`) {
		t.Errorf("a server of other models: %d %s", w.Code, w.Body)
	}
	if w := get(mux, "GET", "/model-info"); w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	current = &fake{}
	if w := get(mux, "GET", "/model-info"); w.Code != 200 || !strings.Contains(w.Body.String(), "ViT-B-32") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
