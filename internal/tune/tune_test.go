package tune

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// slow is an engine that takes a time for each batch and each image, and longer for the first.
type slow struct {
	engine.Engine
	precision   engine.Precision
	batch, each time.Duration
	runs        int
	fails       error
	closed      *int
}

func (s *slow) Spec() engine.Spec {
	spec := s.Engine.Spec()
	spec.Precision = s.precision
	return spec
}

func (s *slow) Run(ctx context.Context, rows []tensor.Row, out [][]float32) (engine.Timings, error) {
	if s.runs++; s.runs == 1 {
		time.Sleep(time.Minute)
	}
	time.Sleep(s.batch + time.Duration(len(rows))*s.each)
	if s.fails != nil {
		return engine.Timings{}, s.fails
	}
	return s.Engine.Run(ctx, rows, out)
}

func (s *slow) Close() error { *s.closed++; return s.Engine.Close() }

func candidate(name string, batch, each time.Duration, fails error, closed *int) Candidate {
	return Candidate{Name: name, Open: func(_ context.Context, p engine.Precision, most int) (engine.Engine, error) {
		if p == engine.FP16 {
			return nil, errors.New("no fp16\nand more of it")
		}
		e := null.New(null.Options{Width: 8, Height: 8, Dim: 4, MaxBatch: most, InFlight: 1})
		return &slow{e, p, batch, each, 0, fails, closed}, nil
	}}
}

const ms = time.Millisecond

func TestMeasureAndBest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed, seen := 0, 0
		results, err := Measure(t.Context(), []Candidate{
			candidate("steady", 0, 10*ms, nil, &closed), // 100/s at any size
			candidate("wide", 30*ms, 1*ms, nil, &closed),
			candidate("broken", 0, ms, errors.New("broken"), &closed),
		}, []engine.Precision{engine.FP32, engine.FP16}, []int{1, 30}, Bounds{Runs: 5, Within: time.Hour}, func(*Result) { seen++ })
		if err != nil || seen != 6 || closed != 3 {
			t.Fatalf("%d results, %d engines closed, %v", seen, closed, err)
		}
		if got := results[0].Speed(); math.Abs(got-100) > 1e-6 {
			t.Errorf("steady: %v images/s", got)
		}
		// 1 image in 31 ms, 30 in 60 ms.
		if got, want := results[1].Speed(), math.Sqrt(1/.031*30/.060); math.Abs(got-want) > 1e-6 {
			t.Errorf("wide: %v images/s, want %v", got, want)
		}
		want := []Timing{{1, 31 * ms, 5}, {30, 60 * ms, 5}}
		if diff := cmp.Diff(want, results[1].Timings); diff != "" {
			t.Errorf("the first run counts? (-want +got)\n%s", diff)
		}
		if b := Best(results, engine.FP32); b == nil || b.Engine != "wide" {
			t.Errorf("best: %+v", b)
		}
		if b := Best(results, engine.FP16); b != nil {
			t.Errorf("the best of none: %+v", b)
		}
		for i, text := range []string{"steady fp32: 100 images/s (batch 1 10 ms, batch 30 300 ms)", "", "broken fp32: not timed: broken", "steady fp16: not timed: no fp16"} {
			if got := results[i].String(); text != "" && got != text {
				t.Errorf("%s, want %s", got, text)
			}
		}
	})
}

func TestMeasureIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		c := candidate("slow", 10*time.Second, 0, nil, &closed)
		results, err := Measure(t.Context(), []Candidate{c}, []engine.Precision{engine.FP32}, []int{1}, Bounds{Runs: 100, Within: time.Second}, func(*Result) {})
		if err != nil || results[0].Timings[0].Runs != leastRuns {
			t.Errorf("%+v, %v", results, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		if _, err := Measure(ctx, []Candidate{c}, []engine.Precision{engine.FP32}, []int{1}, Bounds{}, func(*Result) {}); err == nil || err.Error() != "enough" {
			t.Errorf("got %v", err)
		}
	})
}

// TestPrecisionsAreNotMixed refuses an engine that computes in another precision than it was asked to.
func TestPrecisionsAreNotMixed(t *testing.T) {
	closed := 0
	c := candidate("x", 0, 0, nil, &closed)
	open := c.Open
	c.Open = func(ctx context.Context, _ engine.Precision, most int) (engine.Engine, error) {
		return open(ctx, engine.BF16, most)
	}
	r := measure(t.Context(), c, engine.FP32, []int{1}, Bounds{})
	if !strings.Contains(r.Error, "bf16") || r.Speed() != 0 {
		t.Errorf("%+v", r)
	}
}

func TestFileRoundTrip(t *testing.T) {
	folder := t.TempDir()
	path := File(folder, "machine", "sha256:1")
	if filepath.Dir(path) != filepath.Join(folder, "tune") || path == File(folder, "machine", "sha256:2") || path == File(folder, "other", "sha256:1") {
		t.Errorf("path %s", path)
	}
	if _, err := Load(path, "machine", "sha256:1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	c := Choice{At: time.Unix(1e9, 0).UTC(), Program: "v1", Machine: "machine", Model: "ViT-B-32", Weights: "sha256:1", Batches: []int{1, 8},
		Results: []Result{{Engine: "cpu", Precision: engine.BF16, Start: ms, Timings: []Timing{{1, ms, 5}}}, {Engine: "torch", Precision: engine.BF16, Error: "no torch"}}}
	for range 2 {
		if err := Save(path, c); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(path, "machine", "sha256:1")
	if err != nil {
		t.Fatal(err)
	}
	c.Version = version
	if diff := cmp.Diff(&c, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := Load(path, "another", "sha256:1"); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("got %v", err)
	}
	for text, want := range map[string]string{`{"version": 99}`: "format version 99", "rubbish": "invalid character"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, "machine", "sha256:1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(folder, "tune", ".tune-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
