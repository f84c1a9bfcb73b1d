package model

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/vitrine-project/vitrine/internal/model/hub"
)

// Pull makes the files of an image tower that ref ("hub:owner/name[@revision]", the prefix may be left
// out) names present in the hub cache, and returns the folder that holds them: the configuration, and
// the first of the published forms of the weights. o.Files is set by Pull.
func Pull(ctx context.Context, ref string, o hub.PullOptions) (dir string, err error) {
	ref = strings.TrimPrefix(ref, hubPrefix)
	weights := hub.Want{Names: append(append([]string{}, weightFiles...), weightIndex)}
	o.Files = []hub.Want{{Names: []string{openCLIPConfig}}, weights}
	dir, err = hub.Pull(ctx, ref, o)
	if errors.Is(err, hub.ErrNoFile) {
		weights.Names = []string{"model.safetensors", weightIndex}
		o.Files = []hub.Want{{Names: []string{hfConfig}}, {Names: []string{hfPreprocessor, hfProcessor}}, weights}
		dir, err = hub.Pull(ctx, ref, o)
	}
	if err != nil {
		return "", err
	}
	return dir, pullShards(ctx, ref, dir, o)
}

// pullShards fetches the files that an index names, from the index's own commit.
func pullShards(ctx context.Context, ref, dir string, o hub.PullOptions) error {
	for _, name := range weightFiles {
		if hasFile(dir, name) {
			return nil
		}
	}
	names, err := readIndex(dir)
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
