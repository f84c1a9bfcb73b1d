package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/oip/disk"
	"github.com/vitrine-project/vitrine/internal/oip/images"
)

// exportRepository writes a model as a repository that `serve --model-repository` serves: its folder
// with the weights as version 1, and two that share its queue, for pixels and for image files.
func exportRepository(m *model.Model, root string, maxBatch int) error {
	name, c := protocolName(m), m.Config
	if _, err := os.Stat(filepath.Join(root, name)); err == nil {
		return cli.Usage{Err: fmt.Errorf("%s is there already: remove it, or export as a further version with --format safetensors --output %s",
			filepath.Join(root, name), filepath.Join(root, name, "2"))}
	}
	if err := model.Export(m, filepath.Join(root, name, "1")); err != nil {
		return err
	}
	var own strings.Builder
	own.WriteString("dynamic_batching { }\ninstance_group [ { count: 1 kind: KIND_CPU } ]\n")
	for _, p := range [][2]string{{disk.ModelName, m.Source.ModelName}, {disk.Pretrained, m.Source.Pretrained}} {
		if p[1] != "" {
			fmt.Fprintf(&own, "parameters { key: %q value { string_value: %q } }\n", p[0], p[1])
		}
	}
	shared := fmt.Sprintf("parameters { key: \"queue_of\" value { string_value: %q } } # weights, queue and versions are that model's\n", name)
	for _, v := range []struct{ suffix, dataType, dims, rest string }{
		{"", "TYPE_FP32", fmt.Sprintf("3, %d, %d", c.ImageSize, c.ImageSize), own.String()},
		{"_u8", "TYPE_UINT8", "-1, -1, 3", shared},
		{"_jpeg", "TYPE_STRING", "1", shared},
	} {
		text := fmt.Sprintf("name: %q\nbackend: %q\nmax_batch_size: %d\n"+
			"input [ { name: %q data_type: %s dims: [ %s ] } ]\noutput [ { name: %q data_type: TYPE_FP32 dims: [ %d ] } ]\n%s",
			name+v.suffix, disk.Backend, maxBatch, images.Input, v.dataType, v.dims, images.Output, c.EmbedDim, v.rest)
		if err := writeConfig(filepath.Join(root, name+v.suffix), text); err != nil {
			return err
		}
	}
	return nil
}

func writeConfig(dir, text string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.pbtxt"), []byte(text), 0o644)
}
