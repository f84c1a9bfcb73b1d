package target

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// client is an ordinary HTTP client over the target's network, for what is not timed.
func (s *site) client() *http.Client {
	t := &http.Transport{DialContext: s.Dialer, DisableKeepAlives: true}
	if s.secure {
		t.TLSClientConfig = s.tlsConfig("http/1.1")
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{} // no HTTP/2
	}
	return &http.Client{Transport: t, Timeout: s.Timeout}
}

// get asks for a path and reads its JSON.
func (s *site) get(ctx context.Context, path string, into any) error {
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+s.host+s.path+path, nil)
	if err != nil {
		return err
	}
	for name, value := range s.Headers {
		req.Header.Set(name, value)
	}
	resp, err := s.client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: HTTP %s%s", path, statusText(resp.StatusCode), message(body))
	}
	return decode(body, into)
}

// Describe asks the ways in which servers tell what they are: /v2 (Triton, Vitrine), /model-info (Vitrine
// and whoever has it), /openapi.json (FastAPI). Its error is that none of them answered.
func (t *httpTarget) Describe(ctx context.Context) (record.Server, error) {
	var out record.Server
	var v2 struct{ Name, Version string }
	failed := t.site.get(ctx, "/v2", &v2)
	if failed == nil {
		out.Software, out.Version = strings.ToLower(v2.Name), v2.Version
	}
	if t.describeModel(ctx, &out) == nil {
		if out.Software == "triton" && out.Engine != "" { // Vitrine answers /v2 with Triton's name, as clients expect it
			out.Software, out.Version = "vitrine", t.healthVersion(ctx)
		}
		failed = nil
	}
	if out.Software == "" && t.describeFastAPI(ctx, &out) == nil {
		failed = nil
	}
	if failed != nil {
		return out, fmt.Errorf("target %s: the server does not say what it is: %w", t.site.Name, failed)
	}
	return out, nil
}

func (t *httpTarget) describeModel(ctx context.Context, out *record.Server) error {
	var m struct {
		Engine, Precision string
		Space             string `json:"space_id"`
		Synthetic         bool
	}
	if err := t.site.get(ctx, "/model-info", &m); err != nil {
		return err
	}
	out.Engine, out.Precision, out.Space, out.Synthetic = m.Engine, m.Precision, m.Space, m.Synthetic
	return nil
}

// healthVersion is the version that Vitrine's health route tells; empty where it tells none.
func (t *httpTarget) healthVersion(ctx context.Context) string {
	var h struct{ Version string }
	if err := t.site.get(ctx, "/healthz", &h); err != nil {
		return ""
	}
	return h.Version
}

func (t *httpTarget) describeFastAPI(ctx context.Context, out *record.Server) error {
	var a struct {
		OpenAPI string
		Info    struct{ Version string }
	}
	if err := t.site.get(ctx, "/openapi.json", &a); err != nil {
		return err
	}
	if a.OpenAPI == "" {
		return fmt.Errorf("GET /openapi.json: no OpenAPI document")
	}
	out.Software, out.Version = "fastapi", a.Info.Version
	return nil
}
