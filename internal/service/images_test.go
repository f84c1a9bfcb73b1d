package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/batcher"
	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/fault"
	vit "github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

func TestInferAnswersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, nil)
		names := []string{"slow a", "b", "c", "d", "e"}
		r := images(names...)
		r.Received = time.Now()
		got, err := m.Infer(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range names {
			if !near(got.Results[i].Embedding, expected(n)) {
				t.Errorf("%s: %v", n, got.Results[i].Embedding)
			}
		}
		line := got.Timeline
		want := telemetry.Stages{Receive: time.Second, Compute: latency}
		if d := cmp.Diff(want, line.Stages()); d != "" || line.Decode != 10*ms || line.Preprocess != 5*ms || line.BatchSize < 1 {
			t.Errorf("%s%+v", d, line)
		}
		finish(t, m, s)
	})
}

func TestWithoutNormalisingTheModelsOwnVector(t *testing.T) {
	s := newSpy(8)
	m := model(t, s, &script{}, nil)
	r := images("a")
	r.Normalize = false
	got, err := m.Infer(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]byte, tensor.FormatUint8HWC.Size(side, side))
	draw([]byte("a"), row)
	want := make([]float32, testDim)
	null.Vector(want, row)
	if !slices.Equal(got.Results[0].Embedding, want) {
		t.Errorf("%v, want %v", got.Results[0].Embedding, want)
	}
	finish(t, m, s)
}

func TestASlowImageHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, nil)
		slow := make(chan error, 1)
		go func() {
			_, err := m.Infer(t.Context(), images("slow"))
			slow <- err
		}()
		synctest.Wait()
		start := time.Now()
		if _, err := m.Infer(t.Context(), images("a")); err != nil || time.Since(start) != 3*ms+latency {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := <-slow; err != nil {
			t.Error(err)
		}
		finish(t, m, s)
	})
}

func TestABadItemFailsTheRequestAndStopsTheRest(t *testing.T) {
	for _, c := range []struct {
		name, item string
		kind       fault.Kind
		want       string
	}{
		{"corrupt", "bad", fault.Invalid, "images[1]: truncated"},
		{"not an image", "bad header", fault.UnsupportedMedia, "images[1]: not an image"},
		{"empty", "", fault.Invalid, "images[1]: the image is empty"},
		{"more memory than there is", "huge", fault.TooLarge, "images[1]: decoding needs 1099511627776 bytes of memory, 1073741824 are allowed"},
		{"a decoder that panics", "panic", fault.Internal, "images[1]: the image could not be decoded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpy(8)
				m := model(t, s, &script{}, func(o *Options) { o.DecodeWorkers = 2 })
				items := []string{"a", c.item}
				for range 80 {
					items = append(items, "slow") // 40 s for two decoders
				}
				start := time.Now()
				got, err := m.Infer(t.Context(), images(items...))
				if got != nil || err == nil || err.Error() != c.want || fault.KindOf(err) != c.kind {
					t.Errorf("%v, %v (%v); want %s", got, err, fault.KindOf(err), c.want)
				}
				if time.Since(start) > 11*time.Second { // 18 are under way at once, in any order
					t.Errorf("the rest went on for %v", time.Since(start))
				}
				finish(t, m, s)
			})
		})
	}
}

func TestPartialAnswersTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, nil)
		r := images("a", "bad", "c", "", "panic", "huge", "g")
		r.Items = append(r.Items, Item{Kind: Text, Data: []byte("a dog")})
		r.Partial = true
		got, err := m.Infer(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		want := map[int]string{
			1: "images[1]: truncated", 3: "images[3]: the image is empty",
			4: "images[4]: the image could not be decoded",
			5: "images[5]: decoding needs 1099511627776 bytes of memory, 1073741824 are allowed",
			7: "images[7]: text embeddings are not served: model m embeds images only",
		}
		for i, res := range got.Results {
			msg, bad := want[i]
			switch {
			case bad && (res.Err == nil || res.Err.Error() != msg || res.Embedding != nil):
				t.Errorf("%d: %v, want %s", i, res.Err, msg)
			case !bad && (res.Err != nil || !near(res.Embedding, expected(string(r.Items[i].Data)))):
				t.Errorf("%d: %+v", i, res)
			}
		}
		finish(t, m, s)
	})
}

func TestDecodingIsBounded(t *testing.T) {
	for _, c := range []struct {
		name                 string
		memory               int64
		leastPeak, limitPeak int64
	}{
		{"by slots", 1000, 90, 270},
		{"by memory", 100, 90, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpy(8)
				p := &script{footprint: 10, bigFooting: 90}
				m := model(t, s, p, func(o *Options) { o.DecodeWorkers, o.DecodeMemory = 3, c.memory })
				var items []string
				for i := range 60 {
					items = append(items, []string{"a", "big b", "slow c"}[i%3])
				}
				if _, err := m.Infer(t.Context(), images(items...)); err != nil {
					t.Fatal(err)
				}
				if p.mostBusy < 2 || p.mostBusy > 3 || p.mostMemory > c.limitPeak || p.mostMemory < c.leastPeak {
					t.Errorf("%d at once in %d bytes", p.mostBusy, p.mostMemory)
				}
				finish(t, m, s)
			})
		})
	}
}

func TestWaitingForADecoderEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, func(o *Options) { o.DecodeWorkers = 1 })
		slow := make(chan error, 1)
		go func() {
			_, err := m.Infer(t.Context(), images("slow"))
			slow <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		start := time.Now()
		if _, err := m.Infer(ctx, images("a")); fault.KindOf(err) != fault.Timeout || time.Since(start) != 5*ms {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := <-slow; err != nil {
			t.Error(err)
		}
		finish(t, m, s)
	})
}

func TestAnAbandonedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*ms, cancel) // while its batch runs
		_, err := m.Infer(ctx, images("a", "b"))
		f := fault.Of(err)
		if f == nil || f.Kind != fault.Canceled || f.Item != -1 {
			t.Errorf("%v", err)
		}
		finish(t, m, s)
	})
}

func TestAWholeRequestIsOneExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(4)
		m := model(t, s, &script{}, nil)
		r := images("a", "slow", "c", "d")
		r.Whole = true
		got, err := m.Infer(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for i, it := range r.Items {
			if !near(got.Results[i].Embedding, expected(string(it.Data))) {
				t.Errorf("%d: %+v", i, got.Results[i])
			}
		}
		if !slices.Equal(s.sizes, []int{4}) || got.Timeline.BatchSize != 4 {
			t.Errorf("ran %v", s.sizes)
		}
		r.Items = append(r.Items, r.Items[0])
		if _, err := m.Infer(t.Context(), r); err == nil || err.Error() != "images: a batch of 5 is larger than the model's largest, 4" {
			t.Errorf("%v", err)
		}
		bad := images("a", "bad", "slow")
		bad.Whole, bad.Partial = true, true
		if _, err := m.Infer(t.Context(), bad); err == nil || err.Error() != "images[1]: truncated" || len(s.sizes) != 1 {
			t.Errorf("%v after %v", err, s.sizes)
		}
		finish(t, m, s)
	})
}

func TestManyImagesThroughASmallQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, func(o *Options) { o.Batcher = batcher.Config{MaxQueueSize: 3} })
		var items []string
		for i := range 200 {
			items = append(items, fmt.Sprint("image ", i))
		}
		got, err := m.Infer(t.Context(), images(items...))
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range items {
			if !near(got.Results[i].Embedding, expected(name)) {
				t.Fatalf("%s is not answered", name)
			}
		}
		finish(t, m, s)
	})
}

func TestTensorsAndPixels(t *testing.T) {
	s := newSpy(8)
	m := model(t, s, &script{}, nil)
	floats := tensor.AlignedFloat32s(3 * side * side)
	for i := range floats {
		floats[i] = float32(i) / 7
	}
	data := append([]byte{0}, tensor.BytesOf(floats)...)[1:] // at an odd address
	r := &Request{Field: "inputs", Normalize: true, Whole: true, Items: []Item{{Kind: Tensor, Data: data}, {Kind: Tensor, Data: data}}}
	got, err := m.Infer(t.Context(), r)
	if err != nil || !near(got.Results[1].Embedding, unit(tensor.BytesOf(floats))) {
		t.Errorf("%+v, %v", got, err)
	}
	pix := bytes.Repeat([]byte{1, 2, 3}, 6)
	got, err = m.Infer(t.Context(), &Request{Normalize: true, Items: []Item{{Kind: Pixels, Data: pix, Width: 3, Height: 2}}})
	if err != nil || !near(got.Results[0].Embedding, expected(string(pix))) {
		t.Errorf("%+v, %v", got, err)
	}
	finish(t, m, s)
}

func TestRefusedBeforeAnyWork(t *testing.T) {
	s := newSpy(8)
	onlyBytes := newSpy(8)
	onlyBytes.spec.Formats = onlyBytes.spec.Formats[:1]
	for _, c := range []struct {
		name string
		s    *spy
		item []Item
		kind fault.Kind
		want string
	}{
		{"nothing", s, nil, fault.Invalid, "x: must hold at least one item"},
		{"short tensor", s, []Item{{Kind: Tensor, Data: make([]byte, 767)}}, fault.Invalid, "x[0]: the tensor has 767 bytes, float32 [3, 8, 8] has 768"},
		{"tensor for an engine of bytes", onlyBytes, []Item{{Kind: Tensor, Data: make([]byte, 768)}}, fault.Unimplemented, "x[0]: the null engine does not take preprocessed tensors"},
		{"text", s, []Item{{Kind: Text, Data: []byte("a dog")}}, fault.Unimplemented, "x[0]: text embeddings are not served: model m embeds images only"},
		{"pixels of another size", s, []Item{{Kind: Pixels, Data: make([]byte, 12), Width: 2, Height: 3}}, fault.Invalid, "x[0]: 12 bytes are not 2 x 3 RGB pixels"},
		{"no width", s, []Item{{Kind: Pixels, Data: make([]byte, 12), Height: 3}}, fault.Invalid, "x[0]: 12 bytes are not 0 x 3 RGB pixels"},
		{"unknown", s, []Item{{Kind: 99}}, fault.Internal, "x[0]: an item of unknown kind 99"},
	} {
		m := model(t, c.s, &script{}, nil)
		_, err := m.Infer(t.Context(), &Request{Field: "x", Items: c.item})
		if err == nil || err.Error() != c.want || fault.KindOf(err) != c.kind || len(c.s.sizes) != 0 {
			t.Errorf("%s: %v (%v), want %s", c.name, err, fault.KindOf(err), c.want)
		}
		m.batch.Close()
	}
}

func TestNoSpoiltVectorLeaves(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name  string
		value float32
		want  string
	}{
		{"zeros", 0, "images[1]: the model computed an embedding of zeros, which has no direction"},
		{"NaN", nan, "images[1]: the model computed an embedding that is not finite"},
		{"infinite", inf, "images[1]: the model computed an embedding that is not finite"},
	} {
		for _, whole := range []bool{false, true} {
			s := newSpy(8)
			s.after = func(rows []tensor.Row, out [][]float32) error {
				for i, r := range rows {
					if r.Bytes()[0] == 'X' {
						for j := range out[i] {
							out[i][j] = c.value
						}
					}
				}
				return nil
			}
			m := model(t, s, &script{}, nil)
			r := images("a", "X")
			r.Whole = whole
			if _, err := m.Infer(t.Context(), r); err == nil || err.Error() != c.want || fault.KindOf(err) != fault.Internal {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
			finish(t, m, s)
		}
	}
}

func TestATensorOfNaNIsTheClientsFault(t *testing.T) {
	s := newSpy(8)
	s.after = func(_ []tensor.Row, out [][]float32) error {
		out[0][0] = float32(math.NaN())
		return nil
	}
	m := model(t, s, &script{}, nil)
	floats := make([]float32, 3*side*side)
	floats[5] = float32(math.NaN())
	_, err := m.Infer(t.Context(), &Request{Field: "x", Items: []Item{{Kind: Tensor, Data: tensor.BytesOf(floats)}}})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
	finish(t, m, s)
}

func TestAProtocolRequestOfNaNIsAnswered(t *testing.T) {
	s := newSpy(8)
	s.after = func(rows []tensor.Row, out [][]float32) error {
		for i, r := range rows {
			out[i][0] = tensor.Float32s(r.Bytes())[5]
			out[i][1] = 1
		}
		return nil
	}
	m := model(t, s, &script{}, nil)
	spoilt, sound := make([]float32, 3*side*side), make([]float32, 3*side*side)
	spoilt[5], sound[5] = float32(math.NaN()), 2
	items := []Item{{Kind: Tensor, Data: tensor.BytesOf(spoilt)}, {Kind: Tensor, Data: tensor.BytesOf(sound)}}
	answer, err := m.Infer(t.Context(), &Request{Field: "x", Whole: true, Items: items})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Results[0].Embedding[0]; got == got {
		t.Errorf("the spoilt row's embedding is %v, want NaN", got)
	}
	if got := answer.Results[1].Embedding[0]; got != 2 {
		t.Errorf("its neighbour's is %v, want 2", got)
	}
	finish(t, m, s)
}

func TestNormaliseInDoublePrecision(t *testing.T) {
	for _, scale := range []float32{1e-30, 1, 1e30} { // squares leave float32's range
		v := []float32{3 * scale, -4 * scale}
		if err := finishVector(v, true); err != nil || !near(v, []float32{0.6, -0.8}) {
			t.Errorf("%g: %v, %v", scale, v, err)
		}
	}
}

func TestEngineFailuresAreNoItemsFault(t *testing.T) {
	s := newSpy(8)
	s.noRow = fault.New(fault.Exhausted, "no memory on the device")
	m := model(t, s, &script{}, nil)
	_, err := m.Infer(t.Context(), images("a", "b"))
	if f := fault.Of(err); f == nil || f.Kind != fault.Exhausted || f.Item != -1 {
		t.Errorf("%v", err)
	}
	finish(t, m, s)
}

func TestReadyAfterARealInferenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		s.spec.Batches = []int{1, 2, 4, 8}
		metrics := telemetry.NewMetrics(telemetry.MetricsOptions{Proc: t.TempDir()})
		m := model(t, s, &script{}, func(o *Options) { o.Metrics = metrics; o.Batcher.MaxBatchSize = 4 })
		if m.Ready() {
			t.Error("ready before anything was computed")
		}
		broken := true
		s.after = func([]tensor.Row, [][]float32) error {
			if broken {
				return errors.New("no kernel image for this device")
			}
			return nil
		}
		if err := m.WarmUp(t.Context()); err == nil || !strings.Contains(err.Error(), "no kernel image") || m.Ready() {
			t.Errorf("ready with a broken engine: %v", err)
		}
		broken, s.sizes = false, nil
		if err := m.WarmUp(t.Context()); err != nil || !m.Ready() {
			t.Fatalf("not ready: %v", err)
		}
		if !slices.Equal(s.sizes, []int{1, 1, 1, 2, 4}) {
			t.Errorf("warmed up with %v", s.sizes)
		}
		if text := scrape(metrics); !strings.Contains(text, `nv_inference_exec_count{model="m",version="1"} 0`) {
			t.Error("warming up shows in the metrics")
		}
		if err := m.Drain(t.Context()); err != nil || m.Ready() {
			t.Errorf("ready while draining: %v", err)
		}
		finish(t, m, s)
	})
}

func TestDrainAnswersWhatIsStillBeingDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, nil)
		slow := make(chan error, 1)
		go func() {
			_, err := m.Infer(t.Context(), images("slow"))
			slow <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), ms)
		defer cancel()
		if err := m.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drained with a request inside: %v", err)
		}
		if _, err := m.Infer(t.Context(), images("a")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a draining model answered %v", err)
		}
		if err := m.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-slow; err != nil {
			t.Errorf("an accepted request: %v", err)
		}
		finish(t, m, s)
	})
}

func TestCloseWithRequestsInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		m := model(t, s, &script{}, nil)
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := m.Infer(t.Context(), images("slow", "b"))
				errs <- err
			}()
		}
		synctest.Wait()
		finish(t, m, s)
		for range 2 {
			if err := <-errs; fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%v", err)
			}
		}
		if err := m.Close(); err != nil {
			t.Errorf("a second close: %v", err)
		}
	})
}

func TestMetricsOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(8)
		metrics := telemetry.NewMetrics(telemetry.MetricsOptions{Proc: t.TempDir()})
		m := model(t, s, &script{}, func(o *Options) { o.Metrics = metrics })
		if err := m.WarmUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		whole, partial := images("a", "b", "c"), images("a", "bad")
		whole.Whole, partial.Partial = true, true
		for _, r := range []*Request{whole, partial, images("bad"), {}} {
			_, _ = m.Infer(t.Context(), r) // the scrape tells how each ended
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = m.Infer(ctx, images("a"))
		text := scrape(metrics)
		for _, want := range []string{
			`nv_inference_request_success{model="m",version="1"} 2`,
			`nv_inference_request_failure{model="m",reason="OTHER",version="1"} 2`,
			`nv_inference_request_failure{model="m",reason="CANCELED",version="1"} 1`,
			`nv_inference_count{model="m",version="1"} 4`,
			`nv_inference_exec_count{model="m",version="1"} 2`,
			`nv_inference_compute_infer_duration_us{model="m",version="1"} 20000`,
			`nv_inference_request_duration_us{model="m",version="1"} 26000`,
			`vitrine_decode_seconds_count{model="m",version="1"} 6`,
			`nv_inference_pending_request_count{model="m",version="1"} 0`,
			`vitrine_requests_in_flight{model="m",version="1"} 0`,
			`vitrine_model_info{engine="null",model="m",precision="fp32",space="s1",synthetic="true",version="1"} 1`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("missing: %s", want)
			}
		}
		if t.Failed() {
			t.Log(text)
		}
		finish(t, m, s)
	})
}

func TestPendingUntilComputed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy(1)
		m := model(t, s, &script{}, nil)
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := m.Infer(t.Context(), images("a"))
				done <- err
			}()
		}
		time.Sleep(5 * ms) // both are decoded, one is computed
		synctest.Wait()
		if d := cmp.Diff(telemetry.Live{Pending: 1, Queued: 1, InFlight: 2}, m.live()); d != "" {
			t.Error(d)
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
		finish(t, m, s)
	})
}

// TestWarmUpWithTheRealPipeline decodes the warm-up's own PNG and JPEG as a server does.
func TestWarmUpWithTheRealPipeline(t *testing.T) {
	e := null.New(null.Options{Width: 32, Height: 32, Dim: testDim, MaxBatch: 4})
	p, err := preproc.New(preproc.PlanFor(vit.Config{
		ImageSize: 32, Std: [3]float32{1, 1, 1}, Interpolation: "bicubic", ResizeMode: "shortest",
	}), preproc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Options{Name: "m", Engine: e, Pipeline: p})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.WarmUp(t.Context()); err != nil || !m.Ready() {
		t.Errorf("not ready: %v", err)
	}
	if _, err := m.Infer(t.Context(), images("\xff\xd8 not a JPEG")); err == nil || fault.KindOf(err) == fault.Internal {
		t.Errorf("a corrupt image: %v", err)
	}
}

func TestMetadataIsFilled(t *testing.T) {
	s := newSpy(8)
	m := model(t, s, &script{}, func(o *Options) { o.Batcher.MaxBatchSize = 6 })
	want := Metadata{
		Name: "m", Version: "1", ModelName: "ViT-B-32", Space: "s1", Synthetic: true,
		Engine: "null", Variant: "none", Device: "none", Precision: "fp32",
		Dim: testDim, ImageSize: side, MaxBatch: 6, Instances: 1,
	}
	if d := cmp.Diff(want, m.Metadata()); d != "" {
		t.Error(d)
	}
	finish(t, m, s)
}

func TestAPanickingDecoderIsLoggedWithItsStack(t *testing.T) {
	var log bytes.Buffer
	s := newSpy(8)
	m := model(t, s, &script{}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	r := images("panic")
	r.ID = "r7"
	if _, err := m.Infer(t.Context(), r); err == nil {
		t.Error("no error")
	}
	for _, want := range []string{"r7", "index out of range", "fake_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is missing in %s", want, log.String())
		}
	}
	finish(t, m, s)
}

func scrape(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// BenchmarkInfer is the service's own cost: the null engine without latency, a pipeline that only
// fills the row.
func BenchmarkInfer(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("items=%d", n), func(b *testing.B) {
			e := null.New(null.Options{})
			m, err := New(Options{Name: "m", Engine: e, Pipeline: &instant{}})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			r := images(slices.Repeat([]string{"a"}, n)...)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := m.Infer(b.Context(), r); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
