package scrape

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// tritonText is what Triton 2.51 writes, shortened.
const tritonText = `# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="clip",version="1"} 12
nv_inference_request_failure{model="clip",reason="OTHER",version="1"} 0
nv_cpu_memory_used_bytes 1.5e+09
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25 1700000000000

escaped{path="C:\\x\"y\nz", b = "2" , } NaN
escaped{path="C:\\x\"y\nz", b = "2" , } -3
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(tritonText))
	if err != nil {
		t.Fatal(err)
	}
	want := []record.Value{
		{Name: "nv_inference_request_success", Labels: map[string]string{"model": "clip", "version": "1"}, Value: 12},
		{Name: "nv_inference_request_failure", Labels: map[string]string{"model": "clip", "reason": "OTHER", "version": "1"}},
		{Name: "nv_cpu_memory_used_bytes", Value: 1.5e9},
		{Name: "nv_gpu_utilization", Labels: map[string]string{"gpu_uuid": "GPU-1"}, Value: 0.25},
		{Name: "escaped", Labels: map[string]string{"path": "C:\\x\"y\nz", "b": "2"}, Value: -3},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"a", "a{", "a{b", `a{b="`, `a{b="c"`, `a{b="c"} `, `a{b=c} 1`, "1a 2", "a x", `a{b="c" d="e"} 1`, "<html>", `{"a": 1}`} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		} else if !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v names no line", text, err)
		}
	}
	if _, err := Parse([]byte(strings.Repeat("a 1\n", maxSeries+1))); err == nil {
		t.Error("too many series were taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(tritonText))
	if page, err := os.ReadFile("testdata/dcgm.txt"); err == nil {
		f.Add(page)
	}
	f.Add([]byte(`a{b="\`))
	f.Add([]byte("a 1e999\nb{} +Inf"))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := Parse(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, v := range values {
			b.WriteString(v.Name)
			if len(v.Labels) > 0 {
				b.WriteByte('{')
				for k, l := range v.Labels {
					fmt.Fprintf(&b, `%s="%s",`, k, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(l))
				}
				b.WriteByte('}')
			}
			fmt.Fprintf(&b, " %v\n", v.Value)
		}
		again, err := Parse([]byte(b.String()))
		if err != nil {
			t.Fatalf("what was read is not read again: %v\n%s", err, b.String())
		}
		if d := cmp.Diff(values, again); d != "" {
			t.Fatal(d)
		}
	})
}

func value(name string, v float64, labels ...string) record.Value {
	m := map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return record.Value{Name: name, Value: v, Labels: m}
}

// Ten requests of four images in five executions: each execution of 8 ms held two requests, so that
// Triton's counter grew by 80 ms, not 40.
func TestInferenceIsPerRequest(t *testing.T) {
	before := []record.Value{
		value(RequestSuccess, 100, "model", "clip", "version", "1"),
		value(RequestSuccess, 7, "model", "other", "version", "1"),
		value(ComputeDuration, 5000, "model", "clip", "version", "1"),
		value(ExecutionCount, 1000, "model", "clip", "version", "1"),
	}
	after := []record.Value{
		value(RequestSuccess, 110, "model", "clip", "version", "1"),
		value(RequestSuccess, 9, "model", "other", "version", "1"),
		value(RequestFailure, 2, "model", "clip", "version", "1", "reason", "OTHER"),
		value(RequestFailure, 1, "model", "clip", "version", "1", "reason", "BACKEND"),
		value(InferenceCount, 40, "model", "clip", "version", "1"),
		value(ExecutionCount, 5, "model", "clip", "version", "1"), // the server began anew
		value(ComputeDuration, 85000, "model", "clip", "version", "1"),
		value(QueueDuration, 20000, "model", "clip", "version", "1"),
	}
	got, ok := Between(before, after).Inference("clip")
	want := Inference{Requests: 10, Failed: 3, Images: 40, Executions: 5, Compute: 8 * time.Millisecond, Queue: 2 * time.Millisecond}
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Error(d)
	}
	if got.BatchSize() != 8 {
		t.Errorf("batch size %v, want 8", got.BatchSize())
	}
	if all, _ := Between(before, after).Sum(RequestSuccess, ""); all != 12 {
		t.Errorf("%v requests of all models, want 12", all)
	}
	if _, ok := Between(before, before[2:3]).Inference("clip"); ok {
		t.Error("a server without counters has them")
	}
}

func TestScraper(t *testing.T) {
	var asked atomic.Int64
	fourth := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "%s{model=\"m\"} %d\n", RequestSuccess, 10*n)
		if n == 4 {
			close(fourth)
		}
	}))
	defer server.Close()
	var samples []record.Sample
	clock := int64(0)
	s := &Scraper{URL: server.URL, Source: "server", Cell: 3, Every: time.Millisecond,
		Clock: func() int64 { return atomic.AddInt64(&clock, 10) },
		Write: func(r record.Sample) error { samples = append(samples, r); return nil }}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-fourth
	delta, n, err := s.Stop(t.Context())
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("the failed scrape is not told: %v", err)
	}
	if n != len(samples) || n < 3 {
		t.Errorf("%d samples, %d written", n, len(samples))
	}
	last := samples[len(samples)-1]
	if got, _ := delta.Sum(RequestSuccess, "m"); got != last.Values[0].Value-10 {
		t.Errorf("the counter grew by %v, want %v", got, last.Values[0].Value-10)
	}
	if last.Cell != 3 || last.Source != "server" || samples[0].At != 15 {
		t.Errorf("%+v at %d", last, samples[0].At)
	}
}

func TestScraperTellsAtOnce(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	s := &Scraper{URL: server.URL, Clock: func() int64 { return 0 }}
	if err := s.Start(context.Background()); err == nil {
		t.Error("an address without metrics starts")
	}
}
