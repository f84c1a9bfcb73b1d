package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// folderHub is a hub, named by HF_ENDPOINT, with one private repository, me/mine, and a cache of its own.
type folderHub struct {
	folder string
	served atomic.Int64 // answers that carried a file's bytes
	lie    atomic.Bool  // answers carry other bytes than their checksum says
}

const hubToken = "hf_secret"

// hubCommit is what v1 names.
var hubCommit = strings.Repeat("ab", 20)

func startFolderHub(t *testing.T, folder string) *folderHub {
	t.Helper()
	h := &folderHub{folder: folder}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	for name, value := range map[string]string{
		"HF_ENDPOINT": s.URL, "HF_TOKEN": hubToken, "HF_HUB_OFFLINE": "", "HF_HOME": t.TempDir(),
		"HF_HUB_CACHE": filepath.Join(t.TempDir(), "hub"),
	} {
		t.Setenv(name, value)
	}
	return h
}

func (h *folderHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ours := strings.CutPrefix(r.URL.Path, "/me/mine/resolve/")
	revision, name, _ := strings.Cut(path, "/")
	if !ours || revision != "v1" && revision != hubCommit || r.Header.Get("Authorization") != "Bearer "+hubToken {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	text, err := os.ReadFile(filepath.Join(h.folder, filepath.Base(name)))
	if err != nil {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", hubCommit)
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(text)))
	if r.Method == http.MethodGet {
		h.served.Add(1)
		if h.lie.Load() {
			text = bytes.ToUpper(text)
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}

func TestModelPull(t *testing.T) {
	tiny := filepath.Join(models, "tiny-gelu")
	h := startFolderHub(t, tiny)
	const ref = "hub:me/mine@v1"

	r := call(t, "model", "pull", ref)
	r.want(t, exitOK, "")
	dir := strings.TrimSpace(r.out)
	if want := filepath.Join("models--me--mine", "snapshots", hubCommit); !strings.HasSuffix(dir, want) {
		t.Errorf("printed %q, want a folder that ends in %s", r.out, want)
	}
	for _, name := range []string{"open_clip_config.json", "open_clip_model.safetensors"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(tiny, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from the hub's", name)
		}
	}

	before := h.served.Load()
	if again := call(t, "model", "pull", ref); again.code != exitOK || again.out != r.out || h.served.Load() != before {
		t.Errorf("the second pull: %+v, %d files downloaded", again, h.served.Load()-before)
	}

	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	pulled, local := call(t, "model", "inspect", ref, "--json"), call(t, "model", "inspect", tiny, "--json")
	pulled.want(t, exitOK, "")
	local.want(t, exitOK, "")
	hash := func(text string) string {
		_, rest, _ := strings.Cut(text, `"weights_hash": "`)
		hash, _, _ := strings.Cut(rest, `"`)
		return hash
	}
	if a, b := hash(pulled.out), hash(local.out); a == "" || a != b {
		t.Errorf("weights from the cache hash to %q, want %q", a, b)
	}
}

func TestModelPullRefusals(t *testing.T) {
	h := startFolderHub(t, filepath.Join(models, "tiny-gelu"))
	call(t, "model", "pull", "hub:me/other@v1").want(t, exitFailure, "me/other")
	call(t, "model", "pull", "synthetic").want(t, exitUsage, "made, not downloaded")
	call(t, "model", "pull", t.TempDir()).want(t, exitUsage, "a folder on this machine already")

	h.lie.Store(true)
	r := call(t, "model", "pull", "hub:me/mine@v1")
	r.want(t, exitFailure, "corrupt download")
	if r.out != "" {
		t.Errorf("a folder was printed: %q", r.out)
	}
	h.lie.Store(false)
	call(t, "model", "pull", "hub:me/mine@v1").want(t, exitOK, "")

	t.Setenv("HF_TOKEN", "hf_wrong")
	t.Setenv("HF_HUB_CACHE", filepath.Join(t.TempDir(), "another"))
	r = call(t, "model", "pull", "hub:me/mine@v1")
	r.want(t, exitFailure, "me/mine")
	if strings.Contains(r.err, "hf_wrong") {
		t.Errorf("the token is in the message: %s", r.err)
	}
}
