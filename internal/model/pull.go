package model

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/vitrine-project/vitrine/internal/model/hub"
)

// published are the forms in which an image tower is published: the files of each, best first.
func published() [][]hub.Want {
	split := []string{"model.safetensors", weightIndex}
	return [][]hub.Want{
		{{Names: []string{openCLIPConfig}}, {Names: append(weightFiles[:2:2], split...)}},
		{{Names: []string{hfConfig}}, {Names: []string{hfPreprocessor, hfProcessor}}, {Names: split}},
	}
}

// Pull makes the files of an image tower that ref ("hub:owner/name[@revision]", the prefix may be left
// out) names present in the hub cache, and returns the folder that holds them: the configuration, and
// the first of the published forms of the weights. o.Files is set by Pull.
func Pull(ctx context.Context, ref string, o hub.PullOptions) (dir string, err error) {
	ref = strings.TrimPrefix(ref, hubPrefix)
	if dir, ok := cached(ref, o); ok && o.PreferCache {
		return dir, pullShards(ctx, ref, dir, o)
	}
	for _, o.Files = range published() {
		if dir, err = hub.Pull(ctx, ref, o); !errors.Is(err, hub.ErrNoFile) {
			break
		}
	}
	if errors.Is(err, ErrNoNetwork) {
		if old, ok := cached(ref, o); ok {
			dir, err = old, nil
		}
	}
	if err != nil {
		return "", err
	}
	return dir, pullShards(ctx, ref, dir, o)
}

// cached finds any of the published forms in the cache.
func cached(ref string, o hub.PullOptions) (dir string, ok bool) {
	for _, o.Files = range published() {
		if dir, ok = hub.Cached(ref, o); ok {
			return dir, true
		}
	}
	return "", false
}

// pullShards fetches the files that an index names, from the index's own commit.
func pullShards(ctx context.Context, ref, dir string, o hub.PullOptions) error {
	for _, name := range weightFiles {
		if hasFile(dir, name) {
			return nil
		}
	}
	names, err := readIndex(inFolder(dir))
	if err != nil {
		return err
	}
	o.Files = nil
	for _, name := range names {
		o.Files = append(o.Files, hub.Want{Names: []string{name}})
	}
	repo, _, _ := strings.Cut(ref, "@")
	_, err = hub.Pull(ctx, repo+"@"+filepath.Base(dir), o)
	return err
}
