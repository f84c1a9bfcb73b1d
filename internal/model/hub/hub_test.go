package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fakeHub serves one repository as the hub does: small files itself, large ones (names in large) by a
// redirect to another host.
type fakeHub struct {
	*httptest.Server
	storage *httptest.Server
	files   map[string][]byte
	large   map[string]bool
	commit  string

	mu       sync.Mutex
	requests []string // "HEAD main/config.json", "storage GET big 100-"
	tokens   []string // Authorization headers that the storage host saw
	// change alters an answer before it is sent; true means it has answered.
	change        func(w http.ResponseWriter, r *http.Request, name string) bool
	changeStorage func(w http.ResponseWriter, r *http.Request, name string) bool
}

func newFakeHub(t *testing.T, files map[string][]byte, large ...string) *fakeHub {
	t.Helper()
	h := &fakeHub{files: files, large: map[string]bool{}, commit: commit}
	for _, name := range large {
		h.large[name] = true
	}
	h.Server = httptest.NewServer(http.HandlerFunc(h.resolve))
	h.storage = httptest.NewServer(http.HandlerFunc(h.store))
	t.Cleanup(h.Close)
	t.Cleanup(h.storage.Close)
	return h
}

func (h *fakeHub) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, fmt.Sprintf(format, args...))
}

func (h *fakeHub) count(part string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (h *fakeHub) resolve(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/me/mine/resolve/")
	if !ok {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	revision, name, _ := strings.Cut(rest, "/")
	h.note("%s %s/%s %s", r.Method, revision, name, r.Header.Get("Range"))
	if h.change != nil && h.change(w, r, name) {
		return
	}
	content, ok := h.files[name]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", h.commit)
	if h.large[name] {
		w.Header().Set("X-Linked-Etag", `"`+sha256Of(content)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
		http.Redirect(w, r, h.storage.URL+"/"+name, http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+gitHash(content)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (h *fakeHub) store(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	h.note("storage %s %s %s", r.Method, name, r.Header.Get("Range"))
	if auth := r.Header.Get("Authorization"); auth != "" {
		h.mu.Lock()
		h.tokens = append(h.tokens, auth)
		h.mu.Unlock()
	}
	if h.changeStorage != nil && h.changeStorage(w, r, name) {
		return
	}
	w.Header().Set("ETag", `"of-the-storage"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.files[name]))
}

func sha256Of(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func gitHash(b []byte) string {
	s := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...))
	return hex.EncodeToString(s[:])
}

func big(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 7)
	}
	return b
}

func wants(names ...string) (list []Want) {
	for _, name := range names {
		list = append(list, Want{strings.Split(name, "|")})
	}
	return list
}

func (h *fakeHub) options(t *testing.T, names ...string) PullOptions {
	for _, v := range []string{"HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT"} {
		t.Setenv(v, "")
	}
	t.Setenv("HF_HOME", t.TempDir())
	return PullOptions{Endpoint: h.URL, CacheDir: t.TempDir(), Files: wants(names...), Backoff: time.Millisecond}
}

func pull(t *testing.T, ref string, o PullOptions) string {
	t.Helper()
	dir, err := Pull(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (h *fakeHub) check(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, h.files[name]) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(h.files[name]))
		}
	}
}

func TestPullLaysOutPythonsCache(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"config.json": []byte(`{}`), "m.safetensors": big(300_000)}, "m.safetensors")
	o := h.options(t, "config.json", "absent.safetensors|m.safetensors")
	var last [2]int64
	o.Progress = func(file string, done, total int64) {
		if file == "m.safetensors" {
			last = [2]int64{done, total}
		}
	}
	dir := pull(t, "me/mine", o)
	root := filepath.Join(o.CacheDir, "models--me--mine")
	if want := filepath.Join(root, "snapshots", commit); dir != want {
		t.Errorf("folder %s, want %s", dir, want)
	}
	h.check(t, dir, "config.json", "m.safetensors")
	link, err := os.Readlink(filepath.Join(dir, "m.safetensors"))
	if want := "../../blobs/" + sha256Of(h.files["m.safetensors"]); err != nil || link != want {
		t.Errorf("link %q, %v, want %q", link, err, want)
	}
	if ref, _ := os.ReadFile(filepath.Join(root, "refs", "main")); string(ref) != commit {
		t.Errorf("refs/main is %q", ref)
	}
	if last != [2]int64{300_000, 300_000} {
		t.Errorf("last progress %v", last)
	}
	blobs, _ := os.ReadDir(filepath.Join(root, "blobs"))
	if len(blobs) != 2 {
		t.Errorf("blobs %v", blobs)
	}
	// Everything after the first answer is asked for by commit: one snapshot, one version.
	if h.count("GET main/") != 0 || h.count("HEAD main/") != 1 {
		t.Errorf("requests %q", h.requests)
	}
}

func TestSecondPullDownloadsNothing(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"a.json": []byte(`1`), "m.safetensors": big(1000)}, "m.safetensors")
	o := h.options(t, "a.json", "m.safetensors")
	pull(t, "me/mine", o)
	gets := h.count("GET")
	pull(t, "me/mine", o)
	if h.count("GET") != gets {
		t.Errorf("requests %q", h.requests)
	}
	all := len(h.requests)
	o.PreferCache = true
	pull(t, "me/mine", o)
	pull(t, "me/mine@"+commit, o)
	if len(h.requests) != all {
		t.Errorf("the cache was preferred, but %q", h.requests[all:])
	}
	// A newer commit is found, the unchanged blob is not fetched again.
	o.PreferCache = false
	h.commit = strings.Repeat("ab", 20)
	h.files["a.json"] = []byte(`22`)
	dir := pull(t, "me/mine", o)
	h.check(t, dir, "a.json", "m.safetensors")
	if h.count("storage GET") != 1 {
		t.Errorf("requests %q", h.requests)
	}
}

func TestRevisions(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"a.json": []byte(`1`)})
	o := h.options(t, "a.json")
	pull(t, "me/mine@refs/pr/3", o)
	if h.count("HEAD refs%2Fpr%2F3/a.json") != 1 {
		t.Errorf("requests %q", h.requests)
	}
	if ref, _ := os.ReadFile(filepath.Join(o.CacheDir, "models--me--mine/refs/refs/pr/3")); string(ref) != commit {
		t.Errorf("ref %q", ref)
	}
}

func TestResumeAfterCutConnections(t *testing.T) {
	content := big(3_000_000)
	h := newFakeHub(t, map[string][]byte{"m.safetensors": content}, "m.safetensors")
	cuts := 0
	h.changeStorage = func(w http.ResponseWriter, r *http.Request, name string) bool {
		if cuts++; cuts > 3 {
			return false
		}
		from := 0
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(content[from : from+500_000])
		panic(http.ErrAbortHandler)
	}
	o := h.options(t, "m.safetensors")
	h.check(t, pull(t, "me/mine", o), "m.safetensors")
	if h.count("storage GET m.safetensors bytes=") < 1 {
		t.Errorf("nothing was resumed: %q", h.requests)
	}
}

// incomplete leaves what an earlier, killed download left.
func incomplete(t *testing.T, o PullOptions, etag string, content []byte) string {
	t.Helper()
	path := filepath.Join(o.CacheDir, "models--me--mine", "blobs", etag+".incomplete")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestResumeOfEarlierDownload(t *testing.T) {
	content := big(10_000)
	for name, c := range map[string]struct {
		left     []byte
		noRanges bool
		gets     int
	}{
		"half":                   {content[:5000], false, 1},
		"all":                    {content, false, 0},
		"too much":               {append(bytes.Clone(content), 1, 2, 3), false, 1},
		"of another file":        {bytes.Repeat([]byte{7}, 5000), false, 2},
		"server without ranges":  {content[:5000], true, 1},
		"other and without them": {bytes.Repeat([]byte{7}, 5000), true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t, map[string][]byte{"m.safetensors": content}, "m.safetensors")
			h.changeStorage = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
				if c.noRanges {
					_, _ = w.Write(content)
				}
				return c.noRanges
			}
			o := h.options(t, "m.safetensors")
			part := incomplete(t, o, sha256Of(content), c.left)
			h.check(t, pull(t, "me/mine", o), "m.safetensors")
			if got := h.count("storage GET"); got != c.gets {
				t.Errorf("%d downloads, want %d: %q", got, c.gets, h.requests)
			}
			if _, err := os.Stat(part); err == nil {
				t.Error("the incomplete file stayed")
			}
		})
	}
}

func TestWrongContentIsRefused(t *testing.T) {
	content := big(10_000)
	for name, send := range map[string][]byte{
		"wrong hash": append(bytes.Clone(content[:9_999]), content[9_999]^1),
		"too long":   append(bytes.Clone(content), 0),
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t, map[string][]byte{"m.safetensors": content}, "m.safetensors")
			h.changeStorage = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
				_, _ = w.Write(send)
				return true
			}
			o := h.options(t, "m.safetensors")
			_, err := Pull(t.Context(), "me/mine", o)
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("want ErrCorrupt, got %v", err)
			}
			if links, _ := filepath.Glob(filepath.Join(o.CacheDir, "models--me--mine/snapshots/*/*")); len(links) != 0 {
				t.Errorf("linked %v", links)
			}
			h.changeStorage = nil
			h.check(t, pull(t, "me/mine", o), "m.safetensors")
		})
	}
}

func TestSmallFilesAreVerifiedToo(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"a.json": []byte(`{"a":1}`)})
	h.change = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"a":2}`))
		}
		return r.Method == http.MethodGet
	}
	if _, err := Pull(t.Context(), "me/mine", h.options(t, "a.json")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("want ErrCorrupt, got %v", err)
	}
}

func TestTokenStaysWithItsHost(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"a.json": []byte(`1`), "m.safetensors": big(10)}, "m.safetensors")
	seen := 0
	h.change = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.Header.Get("Authorization") == "Bearer secret" {
			seen++
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	o := h.options(t, "a.json", "m.safetensors")
	t.Setenv("HF_TOKEN", "secret")
	pull(t, "me/mine", o)
	if seen != 4 || len(h.tokens) != 0 {
		t.Errorf("the hub saw the token %d times, the storage %q", seen, h.tokens)
	}
}

func TestTokenFile(t *testing.T) {
	h := newFakeHub(t, nil)
	h.options(t)
	home := os.Getenv("HF_HOME")
	if err := os.WriteFile(filepath.Join(home, "token"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := PullOptions{}
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	if o.Token != "from-file" || o.CacheDir != filepath.Join(home, "hub") || o.Endpoint != publicEndpoint {
		t.Errorf("%+v", o)
	}
	t.Setenv("HF_HUB_CACHE", "/elsewhere")
	t.Setenv("HF_ENDPOINT", "http://mirror:8080/")
	t.Setenv("HF_TOKEN", "from-variable")
	o = PullOptions{}
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	if o.Token != "from-variable" || o.CacheDir != "/elsewhere" || o.Endpoint != "http://mirror:8080" {
		t.Errorf("%+v", o)
	}
}

func TestRefusals(t *testing.T) {
	status := func(code int, header string) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			w.Header().Set("X-Error-Code", header)
			w.WriteHeader(code)
			return true
		}
	}
	headers := func(kv ...string) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			for i := 0; i < len(kv); i += 2 {
				w.Header().Set(kv[i], kv[i+1])
			}
			return true
		}
	}
	for _, c := range []struct {
		name   string
		change func(http.ResponseWriter, *http.Request, string) bool
		is     error
		want   string
	}{
		{"unauthorized", status(401, ""), ErrDenied, "set HF_TOKEN"},
		{"gated", status(403, "GatedRepo"), ErrDenied, "set HF_TOKEN"},
		{"no repository", status(404, "RepoNotFound"), ErrDenied, "no such repository"},
		{"no revision", status(404, "RevisionNotFound"), nil, `no revision "main"`},
		{"no file", status(404, "EntryNotFound"), ErrNoFile, "has no a.json"},
		{"plain 404", status(404, ""), ErrNoFile, "has no a.json"},
		{"broken hub", status(503, ""), nil, "503"},
		{"teapot", status(418, ""), nil, "418"},
		{"not a hub", headers("ETag", `"x"`), nil, "names no commit"},
		{"commit that climbs", headers("ETag", `"x"`, "X-Repo-Commit", "../../../../etc"), nil, "names no commit"},
		{"etag that climbs", headers("ETag", `"../../x"`, "X-Repo-Commit", commit), nil, "no usable ETag"},
		{"no size", headers("ETag", `"x"`, "X-Repo-Commit", commit, "X-Linked-Size", "many"), nil, "no size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFakeHub(t, nil)
			h.change = c.change
			_, err := Pull(t.Context(), "me/mine", h.options(t, "a.json"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("want %q, got %v", c.want, err)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("want %v, got %v", c.is, err)
			}
			if errors.Is(err, ErrNoNetwork) {
				t.Errorf("an answer is no lack of network: %v", err)
			}
		})
	}
}

func TestTransientErrorsAreRetried(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"a.json": []byte(`{}`)})
	n := 0
	h.change = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		if n++; n%3 != 0 {
			w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusBadGateway}[n%2])
			return true
		}
		return false
	}
	h.check(t, pull(t, "me/mine", h.options(t, "a.json")), "a.json")
	if n != 6 {
		t.Errorf("%d requests", n)
	}
}

func TestNoNetwork(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"a.json": []byte(`{}`)})
	o := h.options(t, "a.json")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	refused := o
	refused.Endpoint = "http://" + l.Addr().String()
	if _, err := Pull(t.Context(), "me/mine", refused); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("refused connection: %v", err)
	}

	// A host that accepts and never answers.
	silent := o
	release := make(chan struct{})
	mute := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer mute.Close()
	defer close(release)
	silent.Endpoint, silent.Contact = mute.URL, 20*time.Millisecond
	if _, err := Pull(t.Context(), "me/mine", silent); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("silent host: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Pull(ctx, "me/mine", silent); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoNetwork) {
		t.Errorf("a caller that gave up: %v", err)
	}

	// What the cache has is served without a network.
	want := pull(t, "me/mine", o)
	if dir, err := Pull(t.Context(), "me/mine", refused); err != nil || dir != want {
		t.Errorf("from the cache: %q, %v", dir, err)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	requests := len(h.requests)
	pull(t, "me/mine", o)
	o.Files = wants("b.json")
	if _, err := Pull(t.Context(), "me/mine", o); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("offline: %v", err)
	}
	if len(h.requests) != requests {
		t.Error("offline asked the hub")
	}
}

func TestContactIsThreeSeconds(t *testing.T) {
	h := newFakeHub(t, nil)
	o := h.options(t)
	if err := o.fill(); err != nil || o.Contact != 3*time.Second {
		t.Errorf("%v, %v", o.Contact, err)
	}
}

func TestConcurrentPullsDownloadOnce(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m.safetensors": big(1_000_000)}, "m.safetensors")
	o := h.options(t, "m.safetensors")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dir, err := Pull(t.Context(), "me/mine", o)
			if err != nil {
				t.Error(err)
				return
			}
			h.check(t, dir, "m.safetensors")
		})
	}
	wg.Wait()
	if n := h.count("storage GET"); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestLockHasADeadline(t *testing.T) {
	content := big(10)
	h := newFakeHub(t, map[string][]byte{"m.safetensors": content}, "m.safetensors")
	o := h.options(t, "m.safetensors")
	o.LockWait = time.Millisecond
	other := puller{PullOptions: o, cache: cache{o.CacheDir, "me/mine"}}
	release, err := other.acquire(t.Context(), other.cache.lock(sha256Of(content)), "m.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), "me/mine", o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	release()
	pull(t, "me/mine", o)
}

func TestReferencesRefused(t *testing.T) {
	h := newFakeHub(t, nil)
	for _, ref := range []string{"", "mine", "a/b/c", "../x", "me/..", "me/mine@", "me/mine@../x", "me/mine@a//b", "/etc/passwd", "me/a--b", "me/mi ne"} {
		if _, err := Pull(t.Context(), ref, h.options(t, "a.json")); err == nil {
			t.Errorf("%q was pulled", ref)
		}
	}
	for _, name := range []string{"../a", "a/b", "", ".hidden", `a\b`} {
		if _, err := Pull(t.Context(), "me/mine", h.options(t, name)); err == nil || len(h.requests) != 0 {
			t.Errorf("file %q was asked for: %v", name, err)
		}
	}
}
