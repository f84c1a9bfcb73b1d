package embedapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/jsonscan"
	"github.com/vitrine-project/vitrine/internal/service"
)

// coded is a fault with the code that OpenAI's clients branch on.
type coded struct {
	fault *fault.Error
	code  string
}

func (e *coded) Error() string { return e.fault.Error() }

func (e *coded) Unwrap() error { return e.fault }

// FailOpenAI answers in OpenAI's shape: {"error":{"message","type","param","code"}}.
func FailOpenAI(x *front.Exchange, err error) {
	f := fault.Of(err)
	body := openAIError{Message: front.Message(err), Type: openAIType(f.Kind)}
	if p := f.Place(); p != "" {
		body.Param = &p
	}
	var c *coded
	if errors.As(err, &c) {
		body.Code = &c.code
	}
	status := front.Status(err)
	if errors.Is(err, front.ErrMethod) {
		status = http.StatusMethodNotAllowed
	}
	x.JSON(status, struct {
		Error openAIError `json:"error"`
	}{body})
}

type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func openAIType(k fault.Kind) string {
	switch k {
	case fault.Internal, fault.Unavailable, fault.Timeout, fault.Unimplemented:
		return "server_error"
	case fault.Exhausted:
		return "rate_limit_exceeded"
	case fault.Unauthenticated:
		return "authentication_error"
	case fault.Forbidden:
		return "permission_error"
	}
	return "invalid_request_error"
}

// openAIRequest is the body of POST /v1/embeddings. Unknown fields are ignored.
type openAIRequest struct {
	items  []service.Item
	model  string
	base64 bool
	seen   map[string]bool
	max    int
	dim    int
}

// openAIEmbeddings answers POST /v1/embeddings.
func (a *API) openAIEmbeddings(x *front.Exchange, r *http.Request) error {
	if err := jsonType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	body, err := x.Body(r)
	if err != nil {
		return err
	}
	q := openAIRequest{seen: map[string]bool{}, max: a.maxImages, dim: a.meta.Dim}
	if err := q.read(body); err != nil {
		return syntaxFault(err)
	}
	if !isOpenAIModel(&a.meta, a.names, q.model) {
		return &coded{fault.New(fault.NotFound, "The model %.100q does not exist; this server has %q", q.model, a.names[0]).In("model"), "model_not_found"}
	}
	response, err := a.infer(x, r, "input", q.items, &options{normalize: true})
	if err != nil {
		return err
	}
	a.respondOpenAI(x, &q, response.Results)
	return nil
}

func (q *openAIRequest) read(body []byte) error {
	s := jsonscan.New(body)
	if k := s.Next(); k == jsonscan.End || k != jsonscan.Object && json.Valid(body) {
		return fault.New(fault.Invalid, "the body must be a JSON object")
	}
	if err := s.Object(func(key []byte) error { return q.field(&s, string(key)) }); err != nil {
		return err
	}
	if err := s.End(); err != nil {
		return err
	}
	for _, key := range []string{"model", "input"} {
		if !q.seen[key] {
			return fault.New(fault.Invalid, "you must provide a %s parameter", key).In(key)
		}
	}
	return nil
}

func (q *openAIRequest) field(s *jsonscan.Scanner, key string) error {
	switch key {
	case "model", "input", "encoding_format", "dimensions":
	default:
		return s.Skip()
	}
	if q.seen[key] {
		return fault.New(fault.Invalid, "given more than once").In(key)
	}
	q.seen[key] = true
	switch key {
	case "input":
		return q.input(s)
	case "model":
		return readString(s, key, &q.model)
	case "encoding_format":
		return q.encoding(s)
	default:
		return q.dimensions(s)
	}
}

func readString(s *jsonscan.Scanner, key string, to *string) error {
	if s.Next() != jsonscan.String {
		if err := s.Skip(); err != nil {
			return err
		}
		return fault.New(fault.Invalid, "must be a string").In(key)
	}
	b, err := s.Text()
	*to = string(b)
	return err
}

func (q *openAIRequest) encoding(s *jsonscan.Scanner) error {
	if null, err := s.Null(); null || err != nil {
		return err
	}
	var format string
	if err := readString(s, "encoding_format", &format); err != nil {
		return err
	}
	if format != "float" && format != "base64" {
		return fault.New(fault.Invalid, `must be "float" or "base64", not %.100q`, format).In("encoding_format")
	}
	q.base64 = format == "base64"
	return nil
}

func (q *openAIRequest) dimensions(s *jsonscan.Scanner) error {
	if null, err := s.Null(); null || err != nil {
		return err
	}
	raw, err := s.Raw()
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(string(raw)); err != nil || n != q.dim {
		return fault.New(fault.Invalid, "this model's embeddings have %d dimensions and cannot be shortened", q.dim).In("dimensions")
	}
	return nil
}

// input reads one image, or an array of them.
func (q *openAIRequest) input(s *jsonscan.Scanner) error {
	if s.Next() != jsonscan.Array {
		return q.image(s, -1)
	}
	err := s.Array(func(i int) error {
		if i >= q.max {
			return fault.New(fault.Invalid, "more than %d images in one request", q.max).In("input")
		}
		return q.image(s, i)
	})
	if err == nil && len(q.items) == 0 {
		return fault.New(fault.Invalid, "input is empty").In("input")
	}
	return err
}

// image reads one input: a data URI, or an object that holds one. i is -1 for an input that is no array.
func (q *openAIRequest) image(s *jsonscan.Scanner, i int) error {
	var data []byte
	var wrong *fault.Error
	var err error
	switch s.Next() {
	case jsonscan.String:
		data, wrong, err = uriString(s)
	case jsonscan.Object:
		data, wrong, err = imageObject(s)
	case jsonscan.Number, jsonscan.Array: // token ids
		err, wrong = s.Skip(), errText
	default:
		err, wrong = s.Skip(), fault.New(fault.Invalid, "must be a data URI or an object that holds one")
	}
	if err != nil {
		return err
	}
	if wrong != nil {
		return inputFault(wrong, i)
	}
	q.items = append(q.items, service.Item{Kind: service.Encoded, Data: data})
	return nil
}

// inputFault says which input is wrong; errText is shared, so it works on a copy.
func inputFault(f *fault.Error, i int) error {
	g := *f
	g.Field, g.Item = "input", i
	if f == errText {
		return &coded{&g, "text_input_unsupported"}
	}
	return &g
}

func uriString(s *jsonscan.Scanner) ([]byte, *fault.Error, error) {
	b, escaped, err := s.Opaque()
	if err != nil {
		return nil, nil, err
	}
	data, wrong := imageString(b, escaped, true)
	return data, wrong, nil
}

// imageObject reads {"image": uri}, {"type": "image_url", "image_url": {"url": uri}} (or the URI
// itself), and refuses {"type": "text", ...}.
func imageObject(s *jsonscan.Scanner) (data []byte, wrong *fault.Error, err error) {
	var images int
	var text bool
	take := func() (err error) {
		images++
		if s.Next() != jsonscan.String {
			wrong = fault.New(fault.Invalid, "the image must be a data URI")
			return s.Skip()
		}
		var w *fault.Error
		data, w, err = uriString(s)
		if wrong == nil {
			wrong = w
		}
		return err
	}
	err = s.Object(func(key []byte) error {
		switch string(key) {
		case "image", "url":
			return take()
		case "image_url":
			if s.Next() != jsonscan.Object {
				return take()
			}
			return s.Object(func(key []byte) error {
				if string(key) == "url" {
					return take()
				}
				return s.Skip()
			})
		case "text":
			text = true
		}
		return s.Skip()
	})
	switch {
	case err != nil || wrong != nil:
		return nil, wrong, err
	case images == 0 && text:
		return nil, errText, nil
	case images != 1 || text:
		return nil, fault.New(fault.Invalid, "an input object must hold exactly one image and no text"), nil
	}
	return data, nil, nil
}

// respondOpenAI writes the list of embeddings; images have no tokens, so usage counts them apart.
func (a *API) respondOpenAI(x *front.Exchange, q *openAIRequest, results []service.Result) {
	buffer := x.Buffer(len(results)*(a.meta.Dim*14+64) + len(a.info) + 256)
	b := append(*buffer, `{"object":"list","data":[`...)
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"embedding":`...)
		if q.base64 {
			b = appendBase64(b, results[i].Embedding)
		} else {
			b = appendFloats(b, results[i].Embedding)
		}
		b = append(b, '}')
	}
	b = append(b, `],"model":`...)
	b = append(b, mustJSON(q.model)...)
	b = fmt.Appendf(b, `,"usage":{"prompt_tokens":0,"total_tokens":0,"num_images":%d},"model_info":`, len(results))
	b = append(append(b, a.info...), '}')
	*buffer = b
	x.Send(http.StatusOK, typeJSON, b)
}

// appendBase64 writes a string of base64 of little-endian float32, through a block that is a whole
// number of base64 groups.
func appendBase64(b []byte, v []float32) []byte {
	var block [4 * 384]byte
	b = append(b, '"')
	for len(v) > 0 {
		n := min(len(v), len(block)/4)
		b = base64.StdEncoding.AppendEncode(b, appendBinary(block[:0], v[:n]))
		v = v[n:]
	}
	return append(b, '"')
}

type openAIModelObject struct {
	ID      string          `json:"id"`
	Object  string          `json:"object"`
	Created int64           `json:"created"`
	OwnedBy string          `json:"owned_by"`
	Info    json.RawMessage `json:"model_info"`
}

func (a *API) modelObject(id string) openAIModelObject {
	return openAIModelObject{ID: id, Object: "model", Created: a.created, OwnedBy: "vitrine", Info: a.info}
}

func (a *API) openAIModels(x *front.Exchange, _ *http.Request) error {
	a.mark(x)
	list := struct {
		Object string              `json:"object"`
		Data   []openAIModelObject `json:"data"`
	}{Object: "list"}
	for _, id := range a.names {
		list.Data = append(list.Data, a.modelObject(id))
	}
	x.JSON(http.StatusOK, list)
	return nil
}

func (a *API) openAIModel(x *front.Exchange, r *http.Request) error {
	id := r.PathValue("id")
	if !isOpenAIModel(&a.meta, a.names, id) {
		return &coded{fault.New(fault.NotFound, "The model %.100q does not exist", id).In("model"), "model_not_found"}
	}
	a.mark(x)
	x.JSON(http.StatusOK, a.modelObject(id))
	return nil
}
