// Package embedapi is the embedding API over HTTP: one image as the raw body (POST /embed), the
// reference service's requests (POST /embed/base64, POST /embed/batch) with FastAPI's error shapes,
// and OpenAI's (POST /v1/embeddings, GET /v1/models) with images as data URIs.
package embedapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/service"
)

// Options configure the API.
type Options struct {
	Front     *front.Front // limits, log and metrics, shared with the other fronts
	Model     service.Model
	MaxImages int // of one request; 0 is 1,024
}

// API is the embedding API of one model.
type API struct {
	front     *front.Front
	model     service.Model
	meta      service.Metadata
	maxImages int
	info      []byte      // the model_info of every answer, as JSON
	header    http.Header // of every answer that holds embeddings
	names     []string    // that /v1/models lists
	created   int64       // Unix seconds, what /v1/models calls the model's creation
}

// New returns the API.
func New(o Options) *API {
	a := &API{front: o.Front, model: o.Model, meta: o.Model.Metadata(), maxImages: o.MaxImages, created: time.Now().Unix()}
	if a.maxImages <= 0 {
		a.maxImages = 1024
	}
	a.names = modelNames(&a.meta)
	a.info = mustJSON(Info(&a.meta))
	a.header = http.Header{
		"X-Vitrine-Model": {a.meta.ModelName}, "X-Vitrine-Pretrained": {a.meta.Pretrained}, "X-Vitrine-Space": {a.meta.Space},
		"X-Embedding-Dim": {strconv.Itoa(a.meta.Dim)},
	}
	return a
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a value that the program itself built
	}
	return b
}

// ModelInfo is model_info in answers, and what GET /model-info says.
type ModelInfo struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	ModelName    string `json:"model_name"`
	Pretrained   string `json:"pretrained"`
	EmbeddingDim int    `json:"embedding_dim"`
	ImageSize    int    `json:"image_size"`
	Device       string `json:"device"`
	Precision    string `json:"precision"`
	Engine       string `json:"engine"`
	SpaceID      string `json:"space_id"`
	Synthetic    bool   `json:"synthetic"`
	Source       string `json:"source"`
}

// Info describes a model to clients.
func Info(m *service.Metadata) ModelInfo {
	return ModelInfo{
		Name: m.Name, Version: m.Version, ModelName: m.ModelName, Pretrained: m.Pretrained,
		EmbeddingDim: m.Dim, ImageSize: m.ImageSize, Device: m.Device, Precision: m.Precision,
		Engine: m.Engine, SpaceID: m.Space, Synthetic: m.Synthetic, Source: m.Source,
	}
}

// route is one of the API's.
type route struct {
	method, path string
	handle       func(*API, *front.Exchange, *http.Request) error
	fail         func(*front.Exchange, error)
}

var routes = []route{
	{http.MethodPost, "/embed", (*API).embedRaw, Fail},
	{http.MethodPost, "/embed/base64", (*API).embedBase64, Fail},
	{http.MethodPost, "/embed/batch", (*API).embedForm, Fail},
	{http.MethodPost, "/v1/embeddings", (*API).openAIEmbeddings, FailOpenAI},
	{http.MethodGet, "/v1/models", (*API).openAIModels, FailOpenAI},
	{http.MethodGet, "/v1/models/{id...}", (*API).openAIModel, FailOpenAI},
}

// group is the restricted group of a route.
func (r *route) group() door.Group {
	if r.method == http.MethodGet {
		return door.Metadata
	}
	return door.Inference
}

// Register adds the API's routes.
func (a *API) Register(mux *http.ServeMux) {
	for _, r := range routes {
		handle := func(x *front.Exchange, q *http.Request) error { return r.handle(a, x, q) }
		a.front.Register(mux, front.Route{Path: r.path, Methods: map[string]front.Handler{r.method: handle}, Fail: a.marked(r.fail), Group: r.group()})
	}
}

// marked makes a refusal say, as answers do, that the weights are synthetic.
func (a *API) marked(fail func(*front.Exchange, error)) func(*front.Exchange, error) {
	return func(x *front.Exchange, err error) {
		a.mark(x)
		fail(x, err)
	}
}

func (a *API) mark(x *front.Exchange) {
	if a.meta.Synthetic {
		x.Header()["X-Vitrine-Synthetic"] = []string{"true"}
	}
}

// infer asks the model; field is what the protocol calls the items.
func (a *API) infer(x *front.Exchange, r *http.Request, field string, items []service.Item, o *options) (*service.Response, error) {
	x.Items, x.Model = len(items), a.meta.Name
	ctx, cancel := x.Deadline(r)
	defer cancel()
	response, err := a.model.Infer(ctx, &service.Request{
		ID: x.ID, Items: items, Field: field, Priority: o.priority, Timeout: o.timeout,
		Normalize: o.normalize, Partial: o.partial, Received: x.Received(),
	})
	if err != nil {
		return nil, fault.Of(err)
	}
	x.Timeline = response.Timeline
	a.mark(x)
	for k, v := range a.header {
		x.Header()[k] = v
	}
	return response, nil
}
