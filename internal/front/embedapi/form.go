package embedapi

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
)

const (
	maxFormFields = 64   // parts that are no files
	maxFormField  = 4096 // bytes of one
)

// embedForm answers POST /embed/batch: a form with one or more "files".
func (a *API) embedForm(x *front.Exchange, r *http.Request) error {
	boundary, err := formBoundary(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	o, body, err := a.read(x, r)
	if err != nil {
		return err
	}
	q := formRequest{options: o, max: a.maxImages}
	if err := splitForm(body, boundary, q.part); err != nil {
		return err
	}
	if err := q.check(a); err != nil {
		return err
	}
	response, err := a.infer(x, r, "files", q.items, &q.options)
	if err != nil {
		return err
	}
	return a.respond(x, r, response.Results)
}

func formBoundary(contentType string) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if kind != "multipart/form-data" {
		return "", fault.New(fault.UnsupportedMedia, "POST /embed/batch takes multipart/form-data, not %.100q", kind)
	}
	b := params["boundary"]
	if err != nil || b == "" {
		return "", fault.New(fault.Invalid, "Missing boundary in multipart.")
	}
	if len(b) > 70 {
		return "", fault.New(fault.Invalid, "the multipart boundary is longer than 70 characters")
	}
	return b, nil
}

// formRequest is the form of POST /embed/batch.
type formRequest struct {
	options
	items  []service.Item
	bad    invalid
	max    int
	files  int
	fields int
}

func (q *formRequest) part(p part) error {
	if p.name == "files" || p.name == "file" {
		if q.files++; q.files <= q.max {
			q.items = append(q.items, service.Item{Kind: service.Encoded, Data: p.data})
		}
		return nil
	}
	if q.fields++; q.fields > maxFormFields {
		return fault.New(fault.Invalid, "the form has more than %d fields beside its files", maxFormFields)
	}
	if len(p.data) > maxFormField {
		return fault.New(fault.Invalid, "the field is longer than %d bytes; images go into the field files", maxFormField).In(fmt.Sprintf("%.100s", p.name))
	}
	q.set(p.name, string(bytes.ToValidUTF8(p.data, []byte("\ufffd"))), "body", &q.bad)
	return nil
}

func (q *formRequest) check(a *API) error {
	switch {
	case q.files == 0:
		q.bad.add(problem{Type: "missing", Loc: []any{"body", "files"}, Msg: "Field required", Input: []byte("null")})
	case q.files > q.max:
		q.bad.add(problem{
			Type: "too_long", Loc: []any{"body", "files"},
			Msg: fmt.Sprintf("List should have at most %d items after validation, not %d", q.max, q.files),
			Ctx: map[string]any{"field_type": "List", "max_length": q.max, "actual_length": q.files},
		})
	}
	a.check(&q.options, "body", &q.bad)
	if len(q.bad.problems) > 0 {
		return &q.bad
	}
	return nil
}
