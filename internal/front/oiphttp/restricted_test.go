package oiphttp_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/front/oiphttp"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/transcript"
)

// TestRestricted makes the requests to which Triton 2.51 answered with all groups restricted
// (testdata/triton/grpc/restricted.json).
func TestRestricted(t *testing.T) {
	b, err := os.ReadFile("../../../testdata/triton/grpc/restricted.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Groups [][3]string
		HTTP   []struct {
			Method, Path, Type, Body string
			Header                   map[string]string
			Status                   int
		}
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	restricted := door.Restrictions{}
	for _, g := range recorded.Groups {
		if err := restricted.Add(g[0] + ":" + g[1] + "=" + g[2]); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	f := front.New(front.Options{Guard: door.NewGuard(restricted, nil)})
	oiphttp.New(oiphttp.Options{Front: f, Server: oip.NewServer(transcript.Registry(t), nil)}).Register(mux)
	if len(recorded.HTTP) < 50 {
		t.Fatalf("only %d requests", len(recorded.HTTP))
	}
	for _, r := range recorded.HTTP {
		request := httptest.NewRequest(r.Method, r.Path, nil)
		for k, v := range r.Header {
			request.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, request)
		if w.Code != r.Status || w.Code == http.StatusForbidden && (w.Body.String() != r.Body || w.Header().Get("Content-Type") != r.Type) {
			t.Errorf("%s %s with %d headers: %d %s, want %d %s", r.Method, r.Path, len(r.Header), w.Code, w.Body, r.Status, r.Body)
		}
	}
}

// TestKeys asks every kind of route for a key; probes need none.
func TestKeys(t *testing.T) {
	keys, err := door.ParseKeys([]byte("alice:alice-secret"))
	if err != nil {
		t.Fatal(err)
	}
	g := &door.Guard{}
	g.SetKeys(keys)
	mux := http.NewServeMux()
	oiphttp.New(oiphttp.Options{Front: front.New(front.Options{Guard: g}), Server: oip.NewServer(transcript.Registry(t), nil)}).Register(mux)
	for path, open := range map[string]bool{"/v2/health/live": true, "/v2/health/ready": true, "/v2/models/simple/ready": false, "/v2": false,
		"/v2/models/simple": false, "/v2/logging": false, "/v2/nothing": false} {
		for key, good := range map[string]bool{"": false, "Bearer wrong-secret": false, "Bearer alice-secret": true} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", key)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			refused := w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == door.Challenge
			if refused == (open || good) {
				t.Errorf("%s with %q: %d %s", path, key, w.Code, w.Body)
			}
		}
	}
}

// TestWrongMethodInTheLog is no error of the server's.
func TestWrongMethodInTheLog(t *testing.T) {
	var log bytes.Buffer
	mux := http.NewServeMux()
	f := front.New(front.Options{AccessLog: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	oiphttp.New(oiphttp.Options{Front: f, Server: oip.NewServer(transcript.Registry(t), nil)}).Register(mux)
	for _, path := range []string{"/v2", "/v2/models/simple/infer"} {
		log.Reset()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, path, nil))
		if line := log.String(); w.Code != http.StatusMethodNotAllowed || !strings.Contains(line, "level=INFO") || !strings.Contains(line, "fault=invalid") {
			t.Errorf("%s: %d, %s", path, w.Code, line)
		}
	}
}
