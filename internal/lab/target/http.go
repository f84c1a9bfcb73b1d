package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
)

// httpTarget is a server in one of the formats over HTTP.
type httpTarget struct {
	site *site

	once  sync.Mutex
	input *tensorInput // of the model, once it was asked
}

// Prepare makes the bytes of a whole request.
func (t *httpTarget) Prepare(images []Image) (Request, error) {
	q, err := t.encode(images)
	if err != nil {
		return nil, fmt.Errorf("target %s: %s: %w", t.site.Name, t.site.Format, err)
	}
	return &httpRequest{bytes: t.assemble(q), images: len(images), check: q.check}, nil
}

func (t *httpTarget) encode(images []Image) (wireRequest, error) {
	if len(images) == 0 {
		return wireRequest{}, errNoImages
	}
	kind, oip := kinds[t.site.Format]
	if !oip {
		kind = "BYTES"
	}
	if err := sameSize(kind, images); err != nil {
		return wireRequest{}, err
	}
	if !oip {
		return encodeEmbed(t.site.Format, images)
	}
	in, err := t.modelInput(kind)
	if err != nil {
		return wireRequest{}, err
	}
	return encodeOIP(t.site.Format, t.modelPath()+"/infer", *in, images)
}

func (t *httpTarget) modelPath() string {
	p := "/v2/models/" + url.PathEscape(t.site.Model)
	if t.site.Version != "" {
		p += "/versions/" + url.PathEscape(t.site.Version)
	}
	return p
}

// modelInput asks the server for the model's only input.
func (t *httpTarget) modelInput(kind string) (*tensorInput, error) {
	t.once.Lock()
	defer t.once.Unlock()
	if t.input != nil {
		return t.input, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.site.Timeout)
	defer cancel()
	var m struct{ Inputs []tensorInput }
	if err := t.site.get(ctx, t.modelPath(), &m); err != nil {
		return nil, fmt.Errorf("asking for the inputs of %q: %w", t.site.Model, err)
	}
	in, err := onlyInput(m.Inputs, kind)
	t.input = in
	return in, err
}

func onlyInput(all []tensorInput, kind string) (*tensorInput, error) {
	switch {
	case len(all) != 1:
		return nil, fmt.Errorf("the model has %d inputs, want one", len(all))
	case all[0].Datatype != kind:
		return nil, fmt.Errorf("the model's input %s is %s, this format sends %s", all[0].Name, all[0].Datatype, kind)
	}
	return &all[0], nil
}

// assemble puts the request line and the headers before the body.
func (t *httpTarget) assemble(q wireRequest) []byte {
	s := t.site
	b := fmt.Appendf(nil, "POST %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: vitrine-bench\r\nAccept: */*\r\n", s.path, q.path, s.host)
	for _, line := range q.headers {
		b = append(append(b, line...), "\r\n"...)
	}
	for _, name := range sortedKeys(s.Headers) {
		b = fmt.Appendf(b, "%s: %s\r\n", name, s.Headers[name])
	}
	if s.NewConnection {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(q.body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, q.body...)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Dial opens a connection, unless each request opens its own.
func (t *httpTarget) Dial(ctx context.Context) (Conn, error) {
	c := newHTTPConn(t.site)
	if t.site.NewConnection {
		return c, nil
	}
	nc, err := t.site.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.site.Name, err)
	}
	c.nc, c.fresh = nc, true
	return c, nil
}

// Close does nothing: connections are closed one by one.
func (t *httpTarget) Close() error { return nil }

// decode reads a JSON body.
func decode(body []byte, into any) error {
	if raw, ok := into.(*[]byte); ok {
		*raw = body
		return nil
	}
	return json.Unmarshal(body, into)
}
