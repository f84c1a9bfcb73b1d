package model

import "strings"

const openCLIPConfig = "open_clip_config.json"

// readOpenCLIP reads open_clip_config.json with open_clip's own defaults.
func readOpenCLIP(d configDir) (Config, error) {
	o, err := d.object(openCLIPConfig)
	if err != nil {
		return Config{}, err
	}
	o.need("model_cfg")
	m := o.sub("model_cfg")
	m.need("embed_dim", "vision_cfg")
	if m.has("multimodal_cfg") {
		m.refuse("multimodal_cfg", "a CoCa model")
	}
	c := Config{EmbedDim: m.int("embed_dim", 0)}
	if m.bool("quick_gelu", false) {
		c.Activation = QuickGELU
	}
	c.openCLIPVision(m.sub("vision_cfg"))
	c.openCLIPPreprocess(o.sub("preprocess_cfg"))
	if *o.err != nil {
		return Config{}, *o.err
	}
	return c.finish(o.file)
}

func (c *Config) openCLIPVision(v object) {
	refuseOtherTowers(v)
	if *v.err != nil {
		return
	}
	c.ImageSize = v.square("image_size", 224)
	c.PatchSize = v.square("patch_size", 16)
	c.Width = v.int("width", 768)
	c.Layers = v.int("layers", 12)
	c.MLP = int(float64(c.Width) * v.float("mlp_ratio", 4))
	headWidth := v.int("head_width", 64)
	if headWidth < 1 || c.Width%headWidth != 0 {
		v.fail("head_width", "%d does not divide width %d", headWidth, c.Width)
		return
	}
	c.Heads = c.Width / headWidth
	norm := v.sub("norm_kwargs")
	c.Epsilon = float32(norm.float("eps", 1e-5))
	norm.noneLeft()
	v.noneLeft()
}

// refuseOtherTowers names what is not the plain vision transformer, and marks as read what changes
// nothing at inference.
func refuseOtherTowers(v object) {
	if v.truthy("timm_model_name") {
		v.refuse("timm_model_name", "a timm image tower ("+v.str("timm_model_name", "")+")")
	}
	if v.has("layers") && strings.HasPrefix(string(v.values["layers"]), "[") {
		v.refuse("layers", "a ResNet image tower")
	}
	for key, what := range map[string]string{
		"attentional_pool": "attentional pooling", "no_ln_pre": "a tower without pre-LayerNorm",
		"ls_init_value": "layer scale", "act_kwargs": "an activation with arguments",
		"qk_norm": "attention with normalised queries and keys", "scaled_cosine_attn": "scaled cosine attention",
		"scale_heads": "scaled heads", "scale_attn_inner": "scaled attention", "scale_attn": "scaled attention",
		"scale_fc": "a scaled MLP",
	} {
		if v.truthy(key) {
			v.refuse(key, what)
		}
	}
	if p := v.str("pool_type", "tok"); p != "tok" {
		v.refuse("pool_type", "pooling "+p+" instead of a class token")
	}
	if b := v.str("block_type", "default"); b != "default" {
		v.refuse("block_type", "residual blocks of type "+b)
	}
	// Dropout is a matter of training; sine positions are stored like learnt ones; the final LayerNorm
	// after choosing the class token equals the one before it; the rest belongs to refused towers.
	for _, key := range []string{"patch_dropout", "pos_embed_type", "final_ln_after_pool", "output_tokens",
		"attn_pooler_queries", "attn_pooler_heads", "input_patchnorm", "global_average_pool"} {
		v.used[key] = true
	}
	for _, key := range []string{"input_patchnorm", "global_average_pool"} {
		if v.truthy(key) {
			v.refuse(key, strings.ReplaceAll(key, "_", " "))
		}
	}
	for key := range v.values {
		if strings.HasPrefix(key, "timm_") {
			v.used[key] = true
		}
	}
}

func (c *Config) openCLIPPreprocess(p object) {
	c.Mean = p.rgb("mean", openAIMean)
	c.Std = p.rgb("std", openAIStd)
	c.ResizeMode = p.str("resize_mode", "shortest")
	c.Interpolation = p.str("interpolation", "bicubic")
	if c.Interpolation == "random" { // a matter of training; open_clip takes bicubic at inference
		c.Interpolation = "bicubic"
	}
	if mode := p.str("mode", "RGB"); mode != "RGB" {
		p.refuse("mode", "images in mode "+mode)
	}
	if size := p.square("size", c.ImageSize); size != c.ImageSize {
		p.fail("size", "%d, but the model's image_size is %d", size, c.ImageSize)
	}
}
