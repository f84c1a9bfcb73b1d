package model

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/model/hub"
)

// serveFolder is a hub whose repositories are folders: owner/name is served from its folder.
func serveFolder(t *testing.T, repos map[string]string) (hub.PullOptions, *[]string) {
	t.Helper()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/")
		_, name, _ := strings.Cut(rest, "/")
		asked = append(asked, r.Method+" "+name)
		text, err := os.ReadFile(filepath.Join(repos[repo], name))
		if err != nil {
			http.Error(w, "", http.StatusNotFound)
			return
		}
		w.Header().Set("X-Repo-Commit", strings.Repeat("c0", 20))
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(text)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}))
	t.Cleanup(s.Close)
	t.Setenv("HF_HUB_OFFLINE", "")
	t.Setenv("HF_TOKEN", "")
	return hub.PullOptions{Endpoint: s.URL, CacheDir: t.TempDir(), Backoff: time.Millisecond}, &asked
}

func TestOpenFromHub(t *testing.T) {
	o, asked := serveFolder(t, map[string]string{
		"timm/vit_base_patch32_clip_224.openai": models + "/tiny-quickgelu",
		"openai/clip-vit-base-patch32":          models + "/tiny-quickgelu-hf",
		"me/nothing":                            t.TempDir(),
	})
	var hashes []string
	for _, ref := range []string{Default, "hub:openai/clip-vit-base-patch32@main"} {
		m, err := Open(t.Context(), ref, OpenOptions{Hub: o})
		if err != nil {
			t.Fatal(err)
		}
		if m.Source.ModelName != "ViT-B-32" || m.Source.Pretrained != "openai" || m.Source.Reference != ref || m.Source.Synthetic {
			t.Errorf("%+v", m.Source)
		}
		hashes = append(hashes, m.WeightsHash)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if hashes[0] != hashes[1] {
		t.Error("the two forms hash differently")
	}
	n := len(*asked)
	m, err := Open(t.Context(), "", OpenOptions{Hub: o, Pretrained: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(*asked) != n {
		t.Errorf("a cached model asked the hub: %q", (*asked)[n:])
	}
	if m.Source.Pretrained != "mine" {
		t.Errorf("%+v", m.Source)
	}
	dead := o
	dead.Endpoint = "http://127.0.0.1:1"
	for _, ref := range []string{"", "hub:openai/clip-vit-base-patch32"} {
		old, err := Open(t.Context(), ref, OpenOptions{Hub: dead})
		if err != nil {
			t.Fatalf("cached, without a network: %v", err)
		}
		if dir, err := Pull(t.Context(), old.Source.Reference, dead); err != nil || dir != filepath.Dir(old.Source.Path) {
			t.Errorf("pull without a network: %q, %v", dir, err)
		}
		if err := old.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err = Open(t.Context(), "hub:me/nothing", OpenOptions{Hub: o})
	if !errors.Is(err, hub.ErrNoFile) {
		t.Errorf("got %v", err)
	}
}

func TestOpenWithoutNetwork(t *testing.T) {
	o, _ := serveFolder(t, nil)
	o.Endpoint = "http://127.0.0.1:1"
	if _, err := Open(t.Context(), "", OpenOptions{Hub: o}); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("got %v", err)
	}
}

func TestPullShards(t *testing.T) {
	// An index over one file is enough to see that the files it names are fetched.
	dir := t.TempDir()
	for _, name := range []string{"config.json", "preprocessor_config.json", "model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(models, "tiny-quickgelu-hf", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "model.safetensors" {
			name = "model-00001-of-00001.safetensors"
		}
		write(t, dir, name, string(text))
	}
	write(t, dir, weightIndex, `{"weight_map":{"visual_projection.weight":"model-00001-of-00001.safetensors"}}`)
	o, _ := serveFolder(t, map[string]string{"me/sharded": dir})
	for range 2 { // from the hub, then from the cache
		m, err := Open(t.Context(), "hub:me/sharded", OpenOptions{Hub: o})
		if err != nil {
			t.Fatal(err)
		}
		if want := mustOpen(t, models+"/tiny-quickgelu-hf"); m.WeightsHash != want.WeightsHash {
			t.Error("another hash")
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
