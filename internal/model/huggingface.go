package model

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
)

const (
	hfConfig       = "config.json"
	hfPreprocessor = "preprocessor_config.json"
	hfProcessor    = "processor_config.json" // where newer releases put the same, under "image_processor"
)

// readHuggingFace reads config.json of a CLIPModel or a CLIPVisionModelWithProjection and the image
// processor's configuration beside it, with the defaults of the transformers library.
func readHuggingFace(d configDir) (Config, error) {
	o, err := d.object(hfConfig)
	if err != nil {
		return Config{}, err
	}
	c := Config{EmbedDim: o.int("projection_dim", 512)}
	c.hfVision(hfTower(o))
	if *o.err != nil {
		return Config{}, *o.err
	}
	p, err := readProcessor(d)
	if err != nil {
		return Config{}, err
	}
	c.hfPreprocess(p)
	if *p.err != nil {
		return Config{}, *p.err
	}
	return c.finish(o.file)
}

// hfTower finds the image tower's object and refuses other models by name.
func hfTower(o object) object {
	kind := o.str("model_type", "")
	switch {
	case kind == "clip":
		// An old spelling, which wins where it is given.
		if o.has("vision_config_dict") {
			return o.sub("vision_config_dict")
		}
		return o.sub("vision_config")
	case kind == "clip_vision_model":
		return o
	case kind != "":
		o.refuse("model_type", "a "+kind+" model")
	case o.has("architecture"):
		o.refuse("architecture", "a timm model ("+o.str("architecture", "")+")")
	default:
		o.need("model_type")
	}
	return o
}

func (c *Config) hfVision(v object) {
	c.ImageSize = v.square("image_size", 224)
	c.PatchSize = v.square("patch_size", 32)
	c.Width = v.int("hidden_size", 768)
	c.Layers = v.int("num_hidden_layers", 12)
	c.Heads = v.int("num_attention_heads", 12)
	c.MLP = v.int("intermediate_size", 3072)
	c.Epsilon = float32(v.float("layer_norm_eps", 1e-5))
	if n := v.int("num_channels", 3); n != 3 {
		v.refuse("num_channels", "input that is not RGB")
	}
	switch act := v.str("hidden_act", "quick_gelu"); act {
	case "quick_gelu":
		c.Activation = QuickGELU
	case "gelu":
		c.Activation = GELU
	default:
		v.refuse("hidden_act", "activation "+act)
	}
}

func readProcessor(d configDir) (object, error) {
	p, err := d.object(hfPreprocessor)
	if !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	whole, err2 := d.object(hfProcessor)
	if err2 != nil {
		return object{}, errors.Join(err, err2)
	}
	whole.need("image_processor")
	return whole.sub("image_processor"), *whole.err
}

// hfPreprocess reads a CLIPImageProcessor: resize of the short side and centre crop, or a resize to
// both sides without a crop.
func (c *Config) hfPreprocess(p object) {
	if kind := p.str("image_processor_type", p.str("feature_extractor_type", "CLIP")); !strings.HasPrefix(kind, "CLIP") {
		p.refuse("image_processor_type", kind)
	}
	for _, key := range []string{"do_resize", "do_normalize", "do_rescale"} {
		if !p.bool(key, true) {
			p.refuse(key, "preprocessing without this step")
		}
	}
	if f := p.float("rescale_factor", 1.0/255); math.Abs(f*255-1) > 1e-6 {
		p.refuse("rescale_factor", "pixels that are not scaled by 1/255")
	}
	c.Mean = p.rgb("image_mean", openAIMean)
	c.Std = p.rgb("image_std", openAIStd)
	c.Interpolation = hfResample(p)
	c.ResizeMode = "shortest"
	if p.side("size", "shortest_edge") == 0 {
		c.ResizeMode = "squash"
	} else {
		p.wantSide("size", c.ImageSize, "shortest_edge")
	}
	if p.bool("do_center_crop", true) {
		p.wantSide("crop_size", c.ImageSize, "height", "width")
	} else if c.ResizeMode == "shortest" {
		p.refuse("do_center_crop", "an image that keeps its shape")
	}
	if c.ResizeMode == "squash" {
		p.wantSide("size", c.ImageSize, "height", "width")
	}
}

func hfResample(p object) string {
	switch n := p.int("resample", 3); n { // Pillow's numbers
	case 2:
		return "bilinear"
	case 3:
		return "bicubic"
	default:
		p.refuse("resample", "a resize filter other than 2 (bilinear) and 3 (bicubic)")
		return ""
	}
}

// side reads a length that is a number or an object with that key; 0 if the object lacks it. An absent
// length is the default 224.
func (o object) side(key, inner string) int {
	if !o.has(key) {
		return 224
	}
	if json.Unmarshal(o.values[key], new(map[string]json.RawMessage)) != nil {
		return o.int(key, 0)
	}
	return o.sub(key).int(inner, 0)
}

func (o object) wantSide(key string, want int, inner ...string) {
	for _, k := range inner {
		if got := o.side(key, k); got != want {
			o.fail(key, "%s is %d, but the model's image_size is %d", k, got, want)
		}
	}
}

// hasFile tells whether dir holds a file of that name.
func hasFile(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
