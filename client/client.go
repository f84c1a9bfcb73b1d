// Package client asks a Vitrine server for image embeddings, over its binary HTTP answers.
//
//	c, err := client.New("http://127.0.0.1:8000")
//	vectors, info, err := c.Embed(ctx, [][]byte{jpeg, png})
//
// Vectors are comparable if their Info.SpaceID is equal. The package needs nothing but the standard
// library.
package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client asks one server. It is safe for concurrent use.
type Client struct {
	base   string
	http   *http.Client
	header http.Header
}

// Option changes a Client.
type Option func(*Client)

// WithHTTPClient makes the client use h: its transport, its timeouts. Without it http.DefaultClient is used.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithHeader sends a header with every request, for example an Authorization.
func WithHeader(key, value string) Option { return func(c *Client) { c.header.Set(key, value) } }

// New returns a client of the server at baseURL ("http://127.0.0.1:8000").
func New(baseURL string, opts ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("client: %q is not an http or https URL", baseURL)
	}
	c := &Client{base: strings.TrimRight(u.String(), "/"), http: http.DefaultClient, header: http.Header{}}
	for _, o := range opts {
		o(c)
	}
	return c, nil
}

// Info says what computed an answer.
type Info struct {
	ModelName    string // open_clip's name: "ViT-B-32"
	Pretrained   string // open_clip's tag: "openai"
	SpaceID      string // embeddings are comparable if it is equal
	Dim          int    // floats an embedding
	Synthetic    bool   // the weights are synthetic: the embeddings mean nothing
	RequestID    string // for the server's log
	ServerTiming string // the Server-Timing header: where the time went
}

// EmbedOption changes one request.
type EmbedOption func(*request)

type request struct {
	query url.Values
	id    string
}

// WithModel asks for a model by open_clip's names; a server that has loaded another one refuses. An
// empty name is not sent.
func WithModel(modelName, pretrained string) EmbedOption {
	return func(r *request) {
		for key, value := range map[string]string{"model_name": modelName, "pretrained": pretrained} {
			if value != "" {
				r.query.Set(key, value)
			}
		}
	}
}

// WithoutNormalization asks for embeddings as the model puts them out, not scaled to length 1.
func WithoutNormalization() EmbedOption {
	return func(r *request) { r.query.Set("normalize", "false") }
}

// WithPartial lets images that cannot be embedded fail alone: their embedding is nil, and Embed
// returns an *ItemsError beside the others' embeddings.
func WithPartial() EmbedOption { return func(r *request) { r.query.Set("partial", "true") } }

// WithRequestID names the request in the server's log.
func WithRequestID(id string) EmbedOption { return func(r *request) { r.id = id } }

// Embed returns one embedding for each encoded image (JPEG, PNG, WebP or GIF), in order. A request
// that the server refuses gives an *Error.
func (c *Client) Embed(ctx context.Context, images [][]byte, opts ...EmbedOption) ([][]float32, Info, error) {
	if len(images) == 0 {
		return nil, Info{}, nil
	}
	r := request{query: url.Values{}}
	for _, o := range opts {
		o(&r)
	}
	response, err := c.post(ctx, &r, images)
	if err != nil {
		return nil, Info{}, fmt.Errorf("client: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, Info{}, fmt.Errorf("client: reading the answer: %w", err)
	}
	info := readInfo(response.Header)
	if response.StatusCode != http.StatusOK {
		return nil, info, readError(response, body)
	}
	vectors, err := readVectors(body, len(images), info.Dim)
	if err != nil {
		return nil, info, err
	}
	return vectors, info, dropFailed(vectors, response.Header.Get("X-Embedding-Errors"))
}

// post sends one image as the raw body, several as a form.
func (c *Client) post(ctx context.Context, r *request, images [][]byte) (*http.Response, error) {
	path, contentType, body := "/embed", "application/octet-stream", images[0]
	if len(images) > 1 {
		var err error
		if path, contentType, body, err = form(images); err != nil {
			return nil, err
		}
	}
	target := c.base + path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range c.header {
		q.Header[k] = v
	}
	q.Header.Set("Content-Type", contentType)
	q.Header.Set("Accept", "application/octet-stream")
	if r.id != "" {
		q.Header.Set("X-Request-Id", r.id)
	}
	return c.http.Do(q)
}

func form(images [][]byte) (path, contentType string, body []byte, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i, image := range images {
		part, err := w.CreateFormFile("files", strconv.Itoa(i))
		if err != nil {
			return "", "", nil, err
		}
		if _, err := part.Write(image); err != nil {
			return "", "", nil, err
		}
	}
	err = w.Close()
	return "/embed/batch", w.FormDataContentType(), b.Bytes(), err
}

func readInfo(h http.Header) Info {
	dim, _ := strconv.Atoi(h.Get("X-Embedding-Dim"))
	return Info{
		ModelName: h.Get("X-Vitrine-Model"), Pretrained: h.Get("X-Vitrine-Pretrained"), SpaceID: h.Get("X-Vitrine-Space"),
		Dim: dim, Synthetic: h.Get("X-Vitrine-Synthetic") == "true",
		RequestID: h.Get("X-Request-Id"), ServerTiming: h.Get("Server-Timing"),
	}
}

func readVectors(body []byte, count, dim int) ([][]float32, error) {
	if dim <= 0 || len(body)%4 != 0 || len(body)/4 != count*dim {
		return nil, fmt.Errorf("client: %d bytes are not %d embeddings of %d float32: is this a Vitrine server?", len(body), count, dim)
	}
	all := make([]float32, count*dim)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
	}
	vectors := make([][]float32, count)
	for i := range vectors {
		vectors[i] = all[i*dim : (i+1)*dim : (i+1)*dim]
	}
	return vectors, nil
}

// dropFailed sets the embeddings of failed images, listed by index, to nil.
func dropFailed(vectors [][]float32, list string) error {
	if list == "" {
		return nil
	}
	failed := &ItemsError{}
	for text := range strings.SplitSeq(list, ",") {
		i, err := strconv.Atoi(text)
		if err != nil || i < 0 || i >= len(vectors) {
			return fmt.Errorf("client: X-Embedding-Errors %q is not a list of indices", list)
		}
		vectors[i] = nil
		failed.Items = append(failed.Items, i)
	}
	return failed
}

// detail turns FastAPI's "detail" into a sentence: a string, or a list of problems with their places.
func detail(body []byte) (message string, item int) {
	var answer struct {
		Detail json.RawMessage `json:"detail"`
	}
	var problems []struct {
		Loc []any  `json:"loc"`
		Msg string `json:"msg"`
	}
	switch {
	case json.Unmarshal(body, &answer) != nil || answer.Detail == nil:
		return strings.TrimSpace(string(body[:min(len(body), 200)])), -1
	case json.Unmarshal(answer.Detail, &message) == nil:
		return message, -1
	case json.Unmarshal(answer.Detail, &problems) != nil || len(problems) == 0:
		return string(answer.Detail), -1
	}
	item = -1
	var place strings.Builder
	for _, part := range problems[0].Loc {
		if n, ok := part.(float64); ok {
			item = int(n)
			fmt.Fprintf(&place, "[%d]", item)
			continue
		}
		if s, ok := part.(string); ok && s != "body" && s != "query" {
			place.WriteString(s)
		}
	}
	if place.Len() > 0 {
		place.WriteString(": ")
	}
	return place.String() + problems[0].Msg, item
}
