package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// metadata is what the hub says of a file before its content.
type metadata struct {
	commit string
	etag   string // SHA-256 of a large file, git blob hash of a small one
	size   int64
}

// newClient follows redirects but carries the token to no other origin.
func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // sizes and hashes are of the file itself
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("more than 10 redirects")
		}
		if !sameOrigin(r.URL, via[0].URL) {
			r.Header.Del("Authorization")
		}
		return nil
	}}
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

func (p *puller) url(name string) string {
	revision := first(p.commit, p.ref.revision)
	return p.Endpoint + "/" + p.ref.repo + "/resolve/" + url.PathEscape(revision) + "/" + url.PathEscape(name)
}

func (p *puller) request(ctx context.Context, method, address string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "vitrine")
	r.Header.Set("Accept-Encoding", "identity")
	if p.Token != "" {
		r.Header.Set("Authorization", "Bearer "+p.Token)
	}
	return r, nil
}

// describe asks for a file's metadata. The first contact decides within p.Contact whether there is a
// network; answers that a hub under load gives are waited out.
func (p *puller) describe(ctx context.Context, name string) (metadata, error) {
	pause := p.Backoff
	for attempt := 1; ; attempt++ {
		meta, again, err := p.head(ctx, name)
		if err == nil || !again || attempt == attempts {
			return meta, err
		}
		if err := sleep(ctx, pause); err != nil {
			return meta, err
		}
		pause *= 2
	}
}

// head sends HEAD and follows redirects within the hub: the hub's own headers are on the first answer,
// before a redirect to where large files lie.
func (p *puller) head(ctx context.Context, name string) (meta metadata, again bool, err error) {
	limit, met := p.Contact, p.commit != ""
	if met { // a hub that has answered before is slow, not absent
		limit *= 10
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := *p.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	address := p.url(name)
	for range 5 {
		r, err := p.request(limited, http.MethodHead, address)
		if err != nil {
			return meta, false, err
		}
		resp, err := client.Do(r)
		if err != nil {
			return meta, met, p.unreachable(ctx, err)
		}
		resp.Body.Close()
		next, err := resp.Location()
		inside := err == nil && resp.StatusCode/100 == 3 && sameOrigin(next, r.URL)
		if inside && resp.Header.Get("X-Linked-Etag") == "" {
			address = next.String()
			if meta.commit == "" {
				meta.commit = resp.Header.Get("X-Repo-Commit")
			}
			continue
		}
		return p.read(name, meta, resp)
	}
	return meta, false, fmt.Errorf("%s: more than 5 redirects", name)
}

// unreachable turns a failure to speak with the hub into ErrNoNetwork, unless the caller gave up.
func (p *puller) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %s cannot be reached: %w", ErrNoNetwork, p.Endpoint, err)
}

// read takes the metadata from the hub's answer. All of it becomes file names, so all of it is checked.
func (p *puller) read(name string, meta metadata, resp *http.Response) (_ metadata, again bool, err error) {
	if again, err = p.refused(name, resp); err != nil {
		return meta, again, err
	}
	h := resp.Header
	meta.commit = first(h.Get("X-Repo-Commit"), meta.commit)
	meta.etag = strings.Trim(strings.TrimPrefix(first(h.Get("X-Linked-Etag"), h.Get("ETag")), "W/"), `"`)
	length := first(h.Get("X-Linked-Size"), h.Get("Content-Length"))
	meta.size, err = strconv.ParseInt(length, 10, 64)
	switch {
	case !commitPattern.MatchString(meta.commit):
		err = fmt.Errorf("%s: the answer names no commit (X-Repo-Commit %q): is %s a model hub?", name, meta.commit, p.Endpoint)
	case !etagPattern.MatchString(meta.etag):
		err = fmt.Errorf("%s: the answer has no usable ETag (%q)", name, meta.etag)
	case err != nil || meta.size < 0:
		err = fmt.Errorf("%s: the answer has no size (%q)", name, length)
	}
	return meta, false, err
}

// refused turns a status into an error, and tells whether the same request may succeed later.
func (p *puller) refused(name string, resp *http.Response) (again bool, err error) {
	code := resp.Header.Get("X-Error-Code")
	switch s := resp.StatusCode; {
	case s < 400:
		return false, nil
	case s == http.StatusUnauthorized, s == http.StatusForbidden, code == "RepoNotFound", code == "GatedRepo":
		hint := "set HF_TOKEN if it is private or gated"
		if p.Token != "" {
			hint = "the token does not give access to it"
		}
		return false, fmt.Errorf("%s: %w (%s): no such repository, or %s", p.ref.repo, ErrDenied, resp.Status, hint)
	case code == "RevisionNotFound":
		return false, fmt.Errorf("%s has no revision %q", p.ref.repo, p.ref.revision)
	case s == http.StatusNotFound:
		return false, fmt.Errorf("%s: %s: %w", p.ref.repo, name, ErrNoFile)
	case s == http.StatusTooManyRequests, s >= 500:
		return true, fmt.Errorf("%s: the hub answers %s", name, resp.Status)
	default:
		return false, fmt.Errorf("%s: the hub answers %s", name, resp.Status)
	}
}

// sleep waits, or returns the context's error if it ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
