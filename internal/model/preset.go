package model

import "strings"

// presets are the dimensions of the architectures that have a name in open_clip.
var presets = map[string]dimensions{
	"ViT-B-32":     {224, 32, 768, 12, 12, 3072, 512},
	"ViT-B-16":     {224, 16, 768, 12, 12, 3072, 512},
	"ViT-L-14":     {224, 14, 1024, 24, 16, 4096, 768},
	"ViT-L-14-336": {336, 14, 1024, 24, 16, 4096, 768},
}

const quickGELUSuffix = "-quickgelu"

// Presets lists the names that Preset knows, without the "-quickgelu" variants.
func Presets() []string { return []string{"ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336"} }

// Preset returns the configuration that open_clip has under that name: GELU, or QuickGELU for a name
// that ends in "-quickgelu" (OpenAI's weights need it).
func Preset(name string) (Config, bool) {
	base, quick := strings.CutSuffix(name, quickGELUSuffix)
	d, ok := presets[base]
	if !ok {
		return Config{}, false
	}
	c := Config{
		Architecture: base,
		ImageSize:    d.image, PatchSize: d.patch, Width: d.width, Layers: d.layers,
		Heads: d.heads, MLP: d.mlp, EmbedDim: d.embed, Epsilon: 1e-5,
		Mean: openAIMean, Std: openAIStd, Interpolation: "bicubic", ResizeMode: "shortest",
	}
	if quick {
		c.Activation = QuickGELU
	}
	return c, true
}
