package model

import (
	"errors"
	"fmt"
)

// Limits of a configuration that is believed. The largest published CLIP towers have a width of 1664,
// 56 layers and 448 pixels; beyond these bounds a file is broken or hostile.
const (
	maxWidth     = 16384
	maxLayers    = 256
	maxImageSize = 4096
	maxEmbedDim  = 65536
)

// Preprocessing constants of OpenAI's CLIP, which open_clip takes where a configuration is silent.
var (
	openAIMean = [3]float32{0.48145466, 0.4578275, 0.40821073}
	openAIStd  = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

// validate tells what makes c no image tower that an engine could compute.
func (c Config) validate() error {
	for _, d := range []struct {
		name       string
		value, max int
	}{
		{"image size", c.ImageSize, maxImageSize}, {"patch size", c.PatchSize, c.ImageSize},
		{"width", c.Width, maxWidth}, {"layers", c.Layers, maxLayers}, {"heads", c.Heads, c.Width},
		{"MLP size", c.MLP, 16 * maxWidth}, {"embedding size", c.EmbedDim, maxEmbedDim},
	} {
		if d.value < 1 || d.value > d.max {
			return fmt.Errorf("%s %d is not between 1 and %d", d.name, d.value, d.max)
		}
	}
	if c.ImageSize%c.PatchSize != 0 {
		return fmt.Errorf("image size %d is no multiple of patch size %d", c.ImageSize, c.PatchSize)
	}
	if c.Width%c.Heads != 0 {
		return fmt.Errorf("width %d is no multiple of %d heads", c.Width, c.Heads)
	}
	if !(c.Epsilon > 0 && c.Epsilon < 1) {
		return fmt.Errorf("LayerNorm epsilon %g is not between 0 and 1", c.Epsilon)
	}
	return c.validatePreprocessing()
}

func (c Config) validatePreprocessing() error {
	for i := range c.Std {
		if !(c.Std[i] > 0 && c.Std[i] < 1e6) || !(c.Mean[i] > -1e6 && c.Mean[i] < 1e6) {
			return fmt.Errorf("mean %v and deviation %v do not normalise", c.Mean, c.Std)
		}
	}
	switch c.Interpolation {
	case "bicubic", "bilinear":
	default:
		return fmt.Errorf("interpolation %q: want bicubic or bilinear", c.Interpolation)
	}
	switch c.ResizeMode {
	case "shortest", "squash", "longest":
		return nil
	}
	return fmt.Errorf("resize mode %q: want shortest, squash or longest", c.ResizeMode)
}

// dimensions are what makes an architecture, apart from activation and preprocessing.
type dimensions struct{ image, patch, width, layers, heads, mlp, embed int }

func (c Config) dimensions() dimensions {
	return dimensions{c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Heads, c.MLP, c.EmbedDim}
}

// name sets Architecture: open_clip's name if the dimensions are those of a preset.
func (c *Config) name() {
	for name, d := range presets {
		if d == c.dimensions() {
			c.Architecture = name
			return
		}
	}
	c.Architecture = fmt.Sprintf("ViT-%dx%d-p%d-%d", c.Width, c.Layers, c.PatchSize, c.ImageSize)
}

// finish validates a configuration that was read from path and names it.
func (c Config) finish(path string) (Config, error) {
	if err := c.validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.name()
	return c, nil
}

// ErrUnsupported is a model that is not a CLIP vision transformer with a class token; the error that
// wraps it names what it is.
var ErrUnsupported = errors.New("unsupported architecture")
