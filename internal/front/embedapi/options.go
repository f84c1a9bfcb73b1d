package embedapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/jsonscan"
)

// options are what a request asks beside its images: from the query, and from the body where the
// protocol has fields for them, which then decide.
type options struct {
	modelName, pretrained text
	normalize, partial    bool
	priority              uint32
	timeout               time.Duration
}

// text is an optional string field.
type text struct {
	value string
	given bool
}

// read reads what every request to embed brings: its options in the query, and its body.
func (a *API) read(x *front.Exchange, r *http.Request) (o options, body []byte, err error) {
	if o, err = a.query(r); err != nil {
		return o, nil, err
	}
	body, err = x.Body(r)
	return o, body, err
}

// query reads the options of the URL's query.
func (a *API) query(r *http.Request) (options, error) {
	o := options{normalize: true}
	if r.URL.RawQuery == "" {
		return o, nil
	}
	var bad invalid
	q := r.URL.Query()
	for _, key := range []string{"model_name", "pretrained", "normalize", "partial", "priority", "timeout_ms"} {
		if q.Has(key) {
			o.set(key, q.Get(key), "query", &bad)
		}
	}
	a.check(&o, "query", &bad)
	if len(bad.problems) > 0 {
		return o, &bad
	}
	return o, nil
}

// set reads one option from text: a query's or a form's.
func (o *options) set(key, value, where string, bad *invalid) {
	switch key {
	case "model_name":
		o.modelName = text{value, true}
	case "pretrained":
		o.pretrained = text{value, true}
	case "normalize":
		o.setBool(&o.normalize, key, value, where, bad)
	case "partial":
		o.setBool(&o.partial, key, value, where, bad)
	case "priority":
		o.priority = uint32(whole(key, value, where, bad))
	case "timeout_ms":
		o.timeout = time.Duration(whole(key, value, where, bad)) * time.Millisecond
	}
}

func (o *options) setBool(to *bool, key, value, where string, bad *invalid) {
	v, typ := booleanWord(value)
	if typ != "" {
		bad.add(problem{Type: typ, Loc: []any{where, key}, Msg: boolMessages[typ], Input: shown(mustJSON(value))})
		return
	}
	*to = v
}

func whole(key, value, where string, bad *invalid) uint64 {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		bad.add(problem{
			Type: "int_parsing", Loc: []any{where, key}, Input: shown(mustJSON(value)),
			Msg: "Input should be a valid integer from 0 to 2147483647",
		})
	}
	return n
}

// scanText reads a string field of a JSON body. null counts as absent.
func scanText(s *jsonscan.Scanner, to *text, key string, bad *invalid) error {
	raw, err := s.Raw()
	if err != nil || string(raw) == "null" {
		return err
	}
	if raw[0] != '"' {
		bad.add(problem{Type: "string_type", Loc: []any{"body", key}, Msg: "Input should be a valid string", Input: shown(raw)})
		return nil
	}
	to.given = true
	return json.Unmarshal(raw, &to.value)
}

// scanBool reads a flag of a JSON body.
func scanBool(s *jsonscan.Scanner, to *bool, key string, bad *invalid) error {
	raw, err := s.Raw()
	if err != nil {
		return err
	}
	v, typ := boolean(raw)
	if typ != "" {
		bad.add(problem{Type: typ, Loc: []any{"body", key}, Msg: boolMessages[typ], Input: shown(raw)})
		return nil
	}
	*to = v
	return nil
}

// check refuses a model that is not the loaded one, by name.
func (a *API) check(o *options, where string, bad *invalid) {
	if o.modelName.given && !isModelName(&a.meta, o.modelName.value) {
		bad.add(mismatch(where, "model_name", o.modelName.value, a.meta.ModelName))
	}
	if o.pretrained.given && !isPretrained(&a.meta, o.pretrained.value) {
		bad.add(mismatch(where, "pretrained", o.pretrained.value, a.meta.Pretrained))
	}
}

func mismatch(where, key, got, have string) problem {
	return problem{
		Type: "value_error", Loc: []any{where, key}, Input: shown(mustJSON(got)),
		Msg: fmt.Sprintf("%s %.100q is not loaded; this server has %q", key, got, have),
	}
}
