package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/client"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/embedapi"
	"github.com/vitrine-project/vitrine/internal/service"
)

// lengths embeds an image as its length, negative where it was not to be normalised.
type lengths struct{ err error }

func (lengths) Metadata() service.Metadata {
	return service.Metadata{Name: "m", ModelName: "ViT-B-32", Pretrained: "openai", Space: "space-1", Dim: 2, Synthetic: true}
}
func (lengths) Ready() bool { return true }

func (m lengths) Infer(_ context.Context, r *service.Request) (*service.Response, error) {
	if m.err != nil {
		return nil, m.err
	}
	response := &service.Response{Results: make([]service.Result, len(r.Items))}
	for i, item := range r.Items {
		if bytes.HasPrefix(item.Data, []byte("bad")) {
			err := fault.New(fault.Invalid, "not an image").In(r.Field).At(i)
			if !r.Partial {
				return nil, err
			}
			response.Results[i].Err = err
			continue
		}
		v := float32(len(item.Data))
		if !r.Normalize {
			v = -v
		}
		response.Results[i].Embedding = []float32{v, 0.1}
	}
	return response, nil
}

func serve(tb testing.TB, m service.Model) *client.Client {
	tb.Helper()
	mux := http.NewServeMux()
	embedapi.New(embedapi.Options{Front: front.New(front.Options{}), Model: m}).Register(mux)
	s := httptest.NewServer(mux)
	tb.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", client.WithHTTPClient(s.Client()), client.WithHeader("X-Team", "search"))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func images(list ...string) (b [][]byte) {
	for _, s := range list {
		b = append(b, []byte(s))
	}
	return b
}

func TestEmbed(t *testing.T) {
	c := serve(t, lengths{})
	for _, k := range []struct {
		images [][]byte
		opts   []client.EmbedOption
		want   [][]float32
	}{
		{nil, nil, nil},
		{images("a"), nil, [][]float32{{1, 0.1}}},
		{images("a", "bcd\r\n", "ef"), nil, [][]float32{{1, 0.1}, {5, 0.1}, {2, 0.1}}},
		{images("a"), []client.EmbedOption{client.WithoutNormalization(), client.WithModel("ViT-B-32", "openai")}, [][]float32{{-1, 0.1}}},
		{images("a", "b"), []client.EmbedOption{client.WithoutNormalization()}, [][]float32{{-1, 0.1}, {-1, 0.1}}},
	} {
		got, info, err := c.Embed(t.Context(), k.images, append(k.opts, client.WithRequestID("id-1"))...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(k.want, got); diff != "" {
			t.Error(diff)
		}
		want := client.Info{ModelName: "ViT-B-32", Pretrained: "openai", SpaceID: "space-1", Dim: 2, Synthetic: true, RequestID: "id-1"}
		if diff := cmp.Diff(want, info); k.images != nil && diff != "" {
			t.Error(diff)
		}
	}
}

func TestPartial(t *testing.T) {
	c := serve(t, lengths{})
	got, _, err := c.Embed(t.Context(), images("a", "bad", "bcd"), client.WithPartial())
	var items *client.ItemsError
	if !errors.As(err, &items) || !cmp.Equal(items.Items, []int{1}) {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff([][]float32{{1, 0.1}, nil, {3, 0.1}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	for _, k := range []struct {
		err    error
		images [][]byte
		opts   []client.EmbedOption
		want   client.Error
	}{
		{nil, images("a", "b", "bad"), nil, client.Error{Status: 422, Message: "files[2]: not an image", Item: 2}},
		{nil, images("bad"), nil, client.Error{Status: 422, Message: "not an image", Item: -1}},
		{nil, images("a"), []client.EmbedOption{client.WithModel("ViT-L-14", "")}, client.Error{Status: 422, Message: `model_name: model_name "ViT-L-14" is not loaded; this server has "ViT-B-32"`, Item: -1}},
		{fault.New(fault.Exhausted, "the queue is full").After(3 * time.Second), images("a"), nil, client.Error{Status: 429, Message: "the queue is full", Item: -1, RetryAfter: 3 * time.Second}},
		{fault.New(fault.Unavailable, "draining"), images("a", "b"), nil, client.Error{Status: 503, Message: "draining", Item: -1, RetryAfter: time.Second}},
		{errors.New("boom"), images("a"), nil, client.Error{Status: 500, Message: "internal error", Item: -1}},
	} {
		_, _, err := serve(t, lengths{k.err}).Embed(t.Context(), k.images, append(k.opts, client.WithRequestID("r"))...)
		var e *client.Error
		if !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		k.want.RequestID = "r"
		if diff := cmp.Diff(k.want, *e); diff != "" {
			t.Error(diff)
		}
		if e.Temporary() != (e.RetryAfter > 0) {
			t.Errorf("%v: temporary %v", e, e.Temporary())
		}
	}
}

func TestNotAServer(t *testing.T) {
	if _, err := client.New("localhost:8000"); err == nil {
		t.Error("an address without a scheme was taken")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer s.Close()
	c, err := client.New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Embed(t.Context(), images("a")); err == nil || !strings.Contains(err.Error(), "Vitrine server") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Embed(ctx, images("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func ExampleClient_Embed() {
	// A server in this process stands for http://127.0.0.1:8000.
	mux := http.NewServeMux()
	embedapi.New(embedapi.Options{Front: front.New(front.Options{}), Model: lengths{}}).Register(mux)
	server := httptest.NewServer(mux)
	defer server.Close()

	c, err := client.New(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	vectors, info, err := c.Embed(context.Background(), [][]byte{[]byte("a JPEG"), []byte("a PNG")}, client.WithModel("ViT-B-32", "openai"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(vectors), "embeddings of", info.Dim, "floats in space", info.SpaceID)
	// Output: 2 embeddings of 2 floats in space space-1
}
