// Package hub downloads files of a Hugging Face model repository into the cache that Python's
// huggingface_hub uses, so that either finds what the other has fetched.
//
// The layout: models--owner--name/ with refs/<revision> (a commit), blobs/<etag> (the content) and
// snapshots/<commit>/<file> (relative symbolic links into blobs). Locks lie in .locks.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

var (
	// ErrNoNetwork is a hub that cannot be reached, or that may not be (HF_HUB_OFFLINE), for files that the cache lacks.
	ErrNoNetwork = errors.New("no network")
	// ErrNoFile is a repository that has none of the wanted files.
	ErrNoFile = errors.New("not in the repository")
	// ErrDenied is a repository that is private, gated or absent: without a token the hub does not tell which.
	ErrDenied = errors.New("access denied")
	// ErrCorrupt is content that does not have the announced hash or size.
	ErrCorrupt = errors.New("corrupt download")
)

// Want is one file, under the first of several names that the repository has.
type Want struct{ Names []string }

// PullOptions say from where, to where and what. Zero values are taken from the environment, as
// Python's library does.
type PullOptions struct {
	Endpoint string // HF_ENDPOINT, else the public hub
	Token    string // HF_TOKEN, else the token file; sent to Endpoint's host only
	CacheDir string // HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub
	Files    []Want
	// PreferCache takes a complete snapshot from the cache without asking the hub for a newer one.
	PreferCache bool
	Offline     bool // HF_HUB_OFFLINE
	// Progress is called now and then with the bytes that a file has of its total; never concurrently.
	Progress func(file string, done, total int64)
	// Contact is how long the hub may take to answer at all before the verdict is ErrNoNetwork, 3 s if 0.
	Contact time.Duration
	// LockWait is how long to wait for another process that fetches the same file, 10 minutes if 0.
	LockWait time.Duration
	// Backoff is the pause after a failed attempt; it doubles each time. 500 ms if 0.
	Backoff time.Duration
}

// attempts is how often a transfer without progress is tried.
const attempts = 5

// A ref is a checked reference to a repository's revision.
type ref struct{ repo, revision string }

var (
	repoPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	etagPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	filePattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$`)
)

func parseRef(s string) (ref, error) {
	repo, revision, given := strings.Cut(s, "@")
	if !given {
		revision = "main"
	}
	if !repoPattern.MatchString(repo) || strings.Contains(repo, "..") || strings.Contains(repo, "--") {
		return ref{}, fmt.Errorf("%q is not owner/name", repo)
	}
	if !revisionPattern.MatchString(revision) || strings.Contains(revision, "..") || strings.Contains(revision, "//") {
		return ref{}, fmt.Errorf("%q is not a revision", revision)
	}
	return ref{repo, revision}, nil
}

// Pull makes the wanted files present in the cache and returns their snapshot's folder. All files are
// of one commit. A file that the cache has is not downloaded again; a download that was cut short is
// resumed, by this call or a later one.
func Pull(ctx context.Context, reference string, o PullOptions) (dir string, err error) {
	r, err := parseRef(reference)
	if err != nil {
		return "", err
	}
	for _, w := range o.Files {
		for _, name := range w.Names {
			if !filePattern.MatchString(name) {
				return "", fmt.Errorf("%q is not a file name", name)
			}
		}
	}
	if err := o.fill(); err != nil {
		return "", err
	}
	c := cache{root: o.CacheDir, repo: r.repo}
	if dir, ok := c.complete(r.revision, o.Files); ok && (o.PreferCache || o.Offline) {
		return dir, nil
	}
	if o.Offline {
		return "", fmt.Errorf("%w: HF_HUB_OFFLINE is set and the cache %s lacks the model", ErrNoNetwork, c.root)
	}
	p := puller{PullOptions: o, cache: c, ref: r, client: newClient()}
	defer p.client.CloseIdleConnections()
	return p.pull(ctx)
}

// Cached returns the folder of a snapshot that has all wanted files, without asking the hub.
func Cached(reference string, o PullOptions) (dir string, ok bool) {
	r, err := parseRef(reference)
	if err != nil || o.fill() != nil {
		return "", false
	}
	return cache{root: o.CacheDir, repo: r.repo}.complete(r.revision, o.Files)
}

// puller is one Pull.
type puller struct {
	PullOptions
	cache  cache
	ref    ref
	client *http.Client
	commit string // of the first answer; every further file is asked for by it
}

func (p *puller) pull(ctx context.Context) (string, error) {
	for _, want := range p.Files {
		if err := p.ensure(ctx, want); err != nil {
			if dir, ok := p.cache.complete(p.ref.revision, p.Files); ok && errors.Is(err, ErrNoNetwork) {
				return dir, nil
			}
			return "", err
		}
	}
	if p.commit == "" {
		return "", errors.New("nothing to pull")
	}
	if err := p.cache.setRef(p.ref.revision, p.commit); err != nil {
		return "", err
	}
	return p.cache.snapshot(p.commit), nil
}

// ensure fetches the first of want's names that the repository has.
func (p *puller) ensure(ctx context.Context, want Want) error {
	for _, name := range want.Names {
		meta, err := p.describe(ctx, name)
		if errors.Is(err, ErrNoFile) {
			continue
		}
		if err != nil {
			return err
		}
		if p.commit == "" {
			p.commit = meta.commit
		}
		return p.fetch(ctx, name, meta)
	}
	return fmt.Errorf("%s has no %s: %w", p.ref.repo, strings.Join(want.Names, " or "), ErrNoFile)
}
