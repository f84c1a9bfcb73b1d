package embedapi

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/jsonscan"
	"github.com/vitrine-project/vitrine/internal/service"
)

// embedBase64 answers POST /embed/base64.
func (a *API) embedBase64(x *front.Exchange, r *http.Request) error {
	if err := jsonType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	o, body, err := a.read(x, r)
	if err != nil {
		return err
	}
	q := base64Request{options: o, max: a.maxImages}
	if err := q.read(body); err != nil {
		return err
	}
	if err := q.check(a); err != nil {
		return err
	}
	response, err := a.infer(x, r, "images", q.items, &q.options)
	if err != nil {
		return err
	}
	q.merge(response.Results)
	return a.respond(x, r, response.Results)
}

// base64Request is the body of POST /embed/base64. Unknown fields are ignored, as pydantic does.
type base64Request struct {
	options
	items []service.Item
	bad   []*fault.Error // images that are not base64, each At its index

	max      int // images
	seen     [len(base64Fields)]bool
	problems [len(base64Fields)]invalid // by field: reported in the model's order, whatever the body's is
	body     []byte
}

// The model's fields, in its order.
var base64Fields = [...]string{"images", "model_name", "pretrained", "normalize", "partial"}

// read scans the body; it fails if that is not an object in JSON, and collects what breaks the schema.
func (q *base64Request) read(body []byte) error {
	q.body = body
	s := jsonscan.New(body)
	switch s.Next() {
	case jsonscan.End:
		return &invalid{[]problem{{Type: "missing", Loc: []any{"body"}, Msg: "Field required", Input: []byte("null")}}}
	case jsonscan.Object:
	default:
		return q.notObject(&s)
	}
	if err := s.Object(func(key []byte) error { return q.field(&s, string(key)) }); err != nil {
		return syntaxFault(err)
	}
	if err := s.End(); err != nil {
		return syntaxFault(err)
	}
	return nil
}

func (q *base64Request) notObject(s *jsonscan.Scanner) error {
	raw, err := s.Raw()
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return syntaxFault(err)
	}
	return &invalid{[]problem{{
		Type: "model_attributes_type", Loc: []any{"body"}, Input: shown(raw),
		Msg: "Input should be a valid dictionary or object to extract fields from",
	}}}
}

func (q *base64Request) field(s *jsonscan.Scanner, key string) error {
	f := slices.Index(base64Fields[:], key)
	if f < 0 {
		return s.Skip()
	}
	bad := &q.problems[f]
	if q.seen[f] {
		bad.add(problem{Type: "duplicate_key", Loc: []any{"body", key}, Msg: "Field given more than once"})
		return s.Skip()
	}
	q.seen[f] = true
	switch key {
	case "images":
		return q.readImages(s, bad)
	case "model_name":
		return scanText(s, &q.modelName, key, bad)
	case "pretrained":
		return scanText(s, &q.pretrained, key, bad)
	case "normalize":
		return scanBool(s, &q.normalize, key, bad)
	default:
		return scanBool(s, &q.partial, key, bad)
	}
}

func (q *base64Request) readImages(s *jsonscan.Scanner, bad *invalid) error {
	if s.Next() != jsonscan.Array {
		raw, err := s.Raw()
		bad.add(problem{Type: "list_type", Loc: []any{"body", "images"}, Msg: "Input should be a valid list", Input: shown(raw)})
		return err
	}
	n := 0
	err := s.Array(func(i int) error {
		if n++; n > q.max {
			return s.Skip()
		}
		return q.readImage(s, i, bad)
	})
	switch {
	case n == 0:
		bad.add(problem{
			Type: "too_short", Loc: []any{"body", "images"}, Msg: "List should have at least 1 item after validation, not 0",
			Input: []byte("[]"), Ctx: map[string]any{"field_type": "List", "min_length": 1, "actual_length": 0},
		})
	case n > q.max:
		bad.problems = []problem{{
			Type: "too_long", Loc: []any{"body", "images"},
			Msg: fmt.Sprintf("List should have at most %d items after validation, not %d", q.max, n),
			Ctx: map[string]any{"field_type": "List", "max_length": q.max, "actual_length": n},
		}}
	}
	return err
}

func (q *base64Request) readImage(s *jsonscan.Scanner, i int, bad *invalid) error {
	if s.Next() != jsonscan.String {
		raw, err := s.Raw()
		bad.add(problem{Type: "string_type", Loc: []any{"body", "images", i}, Msg: "Input should be a valid string", Input: shown(raw)})
		return err
	}
	b, escaped, err := s.Opaque()
	if err != nil {
		return err
	}
	data, wrong := imageString(b, escaped, false)
	if wrong != nil {
		q.bad = append(q.bad, wrong.In("images").At(i))
	}
	q.items = append(q.items, service.Item{Kind: service.Encoded, Data: data})
	return nil
}

// check reports everything that breaks the schema; then, unless the request is partial, the first
// image that is not base64.
func (q *base64Request) check(a *API) error {
	if !q.seen[0] {
		q.problems[0].add(problem{Type: "missing", Loc: []any{"body", "images"}, Msg: "Field required", Input: shown(q.body)})
	}
	var all invalid
	for i := range q.problems {
		for _, p := range q.problems[i].problems {
			all.add(p)
		}
	}
	a.check(&q.options, "body", &all)
	if len(all.problems) > 0 {
		return &all
	}
	if len(q.bad) > 0 && !q.partial {
		return q.bad[0]
	}
	return nil
}

// merge gives images that are not base64 their own error. The model was asked about them too, as empty
// images, so that every index stays the client's.
func (q *base64Request) merge(results []service.Result) {
	for _, f := range q.bad {
		results[f.Item] = service.Result{Err: f}
	}
}
