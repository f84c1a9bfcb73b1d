package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/embedapi"
)

// BenchmarkNullEngine is a JPEG request end to end without a model: socket, front, decoding, resizing,
// batcher, null engine, answer, and the client's side too.
func BenchmarkNullEngine(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	p, err := buildPlant(b.Context(), plantOptions{
		engine: engineFlags{name: "null", maxBatch: 32, instances: 1}, image: imageFlags{jpeg: "auto"}, log: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	mux := http.NewServeMux()
	embedapi.New(embedapi.Options{Front: front.New(front.Options{Logger: log}), Model: p.images}).Register(mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	jpeg := photo(b, "astronaut.jpg")
	b.ReportAllocs()
	b.SetBytes(int64(len(jpeg)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			answer, err := http.Post(server.URL+"/embed", "image/jpeg", bytes.NewReader(jpeg))
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK {
				b.Errorf("status %d, %v", answer.StatusCode, err)
				return
			}
		}
	})
}
