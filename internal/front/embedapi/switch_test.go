package embedapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
)

// TestSwitch exchanges the model while a request is under way: each is answered by one model alone.
func TestSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current service.Model
		users := 0
		mux := http.NewServeMux()
		NewSwitch(Options{Front: front.New(front.Options{})}, func() (service.Model, func(), error) {
			if current == nil {
				return nil, nil, fault.New(fault.Unavailable, "no model")
			}
			users++
			return current, func() { users-- }, nil
		}).Register(mux)
		ask := func(method, path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("photo")))
			return w
		}
		for _, r := range routes {
			path := strings.ReplaceAll(r.path, "{id...}", "x")
			if w := ask(r.method, path); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "no model") {
				t.Errorf("%s %s without a model: %d %s", r.method, path, w.Code, w.Body)
			}
		}
		first, second := newFake(), newFake()
		second.meta.Space, second.meta.ModelName = "space-2", "ViT-B-16"
		hold := make(chan struct{})
		first.infer = func(ctx context.Context, r *service.Request) (*service.Response, error) {
			<-hold
			return newFake().Infer(ctx, r)
		}
		current = first
		done := make(chan *httptest.ResponseRecorder)
		go func() { done <- ask("POST", "/embed") }()
		synctest.Wait()
		current = second
		for range 2 {
			if w := ask("POST", "/embed"); w.Code != http.StatusOK || w.Header().Get("X-Vitrine-Space") != "space-2" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		}
		if w := ask("GET", "/v1/models/ViT-B-16/openai"); w.Code == http.StatusServiceUnavailable {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if users != 1 {
			t.Errorf("%d hold a model, the first request alone should", users)
		}
		close(hold)
		if w := <-done; w.Code != http.StatusOK || w.Header().Get("X-Vitrine-Space") != "space-1" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if users != 0 {
			t.Errorf("%d models are not given back", users)
		}
		if w := ask("PUT", "/embed"); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("PUT: %d", w.Code)
		}
	})
}
