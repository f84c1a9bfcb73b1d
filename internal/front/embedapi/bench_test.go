package embedapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// constant answers every item with the same embedding, at once: what remains is the front.
type constant struct {
	fake
	embedding []float32
}

func (m *constant) Infer(_ context.Context, r *service.Request) (*service.Response, error) {
	response := &service.Response{Results: make([]service.Result, len(r.Items))}
	for i := range response.Results {
		response.Results[i].Embedding = m.embedding
	}
	response.Timeline.Mark(telemetry.OutputReady)
	return response, nil
}

func newConstant() *constant {
	m := &constant{fake: *newFake()}
	m.meta.Dim = 512
	rng := rand.New(rand.NewPCG(1, 2))
	for range m.meta.Dim {
		m.embedding = append(m.embedding, float32(rng.NormFloat64())/22)
	}
	return m
}

const photo = 15_000 // bytes of a typical JPEG of 224 pixels

var benchRequests = []struct {
	name, path, kind, accept string
	body                     []byte
}{
	{"raw", "/embed", "image/jpeg", "", make([]byte, photo)},
	{"raw-binary", "/embed", "image/jpeg", typeBinary, make([]byte, photo)},
	{"base64", "/embed/base64", "application/json", "", base64Body(1)},
	{"base64-binary", "/embed/base64", "application/json", typeBinary, base64Body(1)},
	{"openai", "/v1/embeddings", "application/json", "", []byte(`{"model":"ViT-B-32","encoding_format":"base64","input":"data:image/jpeg;base64,` + base64.StdEncoding.EncodeToString(make([]byte, photo)) + `"}`)},
}

func base64Body(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"images":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + base64.StdEncoding.EncodeToString(make([]byte, photo)) + `"`)
	}
	b.WriteString(`],"model_name":"ViT-B-32","pretrained":"openai"}`)
	return b.Bytes()
}

// discard is a ResponseWriter that keeps nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkHandler is the front alone: no sockets, no HTTP parsing, no model.
func BenchmarkHandler(b *testing.B) {
	metrics := telemetry.NewMetrics(telemetry.MetricsOptions{})
	h := handler(newConstant(), front.Options{Observer: metrics})
	for _, c := range benchRequests {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest("POST", c.path, nil)
			r.Header.Set("Content-Type", c.kind)
			r.Header.Set("Accept", c.accept)
			r.ContentLength = int64(len(c.body))
			for b.Loop() {
				r.Body = io.NopCloser(bytes.NewReader(c.body))
				w := &discard{header: http.Header{}}
				h.ServeHTTP(w, r)
				if w.status != 200 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// BenchmarkServer is the whole way over loopback, the client's side included.
func BenchmarkServer(b *testing.B) {
	s := server(b, newConstant(), front.Options{Observer: telemetry.NewMetrics(telemetry.MetricsOptions{})})
	for _, c := range benchRequests {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a := ask(b, s, "POST", c.path, c.kind, c.body, "Accept", c.accept); a.StatusCode != 200 {
					b.Fatal(a.StatusCode)
				}
			}
		})
	}
}

func BenchmarkAppendFloats(b *testing.B) {
	v := newConstant().embedding
	buffer := make([]byte, 0, 16<<10)
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			buffer = appendFloats(buffer[:0], v)
		}
	})
	b.Run("strconv", func(b *testing.B) {
		for b.Loop() {
			buffer = buffer[:0]
			for _, f := range v {
				buffer = strconv.AppendFloat(append(buffer, ','), float64(f), 'g', -1, 32)
			}
		}
	})
}
