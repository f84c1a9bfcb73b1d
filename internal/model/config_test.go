package model

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const hfProcessorText = `{"image_processor_type":"CLIPImageProcessor","size":224,"crop_size":224,"resample":3,
	"image_mean":[0.48145466,0.4578275,0.40821073],"image_std":[0.26862954,0.26130258,0.27577711]}`

func TestReadConfig(t *testing.T) {
	b32, _ := Preset("ViT-B-32")
	quick, _ := Preset("ViT-B-32-quickgelu")
	l14, _ := Preset("ViT-L-14-336-quickgelu")
	clipa := b32
	clipa.Epsilon, clipa.Interpolation, clipa.ResizeMode, clipa.Mean = 1e-6, "bilinear", "squash", [3]float32{0.5, 0.5, 0.5}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  Config
	}{
		{"open_clip ViT-B-32", map[string]string{openCLIPConfig: `{"model_cfg":{"embed_dim":512,
			"vision_cfg":{"image_size":224,"layers":12,"width":768,"patch_size":32},"text_cfg":{"layers":12}},
			"preprocess_cfg":{"mean":[0.48145466,0.4578275,0.40821073],"std":[0.26862954,0.26130258,0.27577711]}}`}, b32},
		{"open_clip openai", map[string]string{openCLIPConfig: `{"model_cfg":{"embed_dim":512,"quick_gelu":true,
			"vision_cfg":{"image_size":[224,224],"patch_size":32,"timm_model_name":null,"patch_dropout":0.5,"ls_init_value":null}},
			"preprocess_cfg":{"size":[224,224],"mode":"RGB","fill_color":0}}`}, quick},
		{"open_clip with options", map[string]string{openCLIPConfig: `{"model_cfg":{"embed_dim":512,
			"vision_cfg":{"patch_size":32,"head_width":64,"mlp_ratio":4.0,"norm_kwargs":{"eps":1e-6},"pos_embed_type":"sin_cos_2d"}},
			"preprocess_cfg":{"mean":[0.5,0.5,0.5],"interpolation":"bilinear","resize_mode":"squash"}}`}, clipa},
		{"open_clip wins", map[string]string{openCLIPConfig: `{"model_cfg":{"embed_dim":512,"vision_cfg":{"patch_size":32}}}`,
			hfConfig: `{"model_type":"clip"}`}, b32},
		{"CLIPModel, sparse", map[string]string{hfConfig: `{"model_type":"clip","projection_dim":512,"vision_config":{}}`, hfPreprocessor: hfProcessorText}, quick},
		{"CLIPModel, gelu", map[string]string{hfConfig: `{"model_type":"clip","vision_config":{"hidden_act":"gelu"},"vision_config_dict":null}`, hfPreprocessor: hfProcessorText}, b32},
		{"CLIPModel, old spelling", map[string]string{hfConfig: `{"model_type":"clip","vision_config":{"hidden_act":"quick_gelu"},"vision_config_dict":{"hidden_act":"gelu"}}`, hfPreprocessor: hfProcessorText}, b32},
		{"CLIPVisionModelWithProjection", map[string]string{hfConfig: `{"model_type":"clip_vision_model","projection_dim":768,
			"hidden_size":1024,"intermediate_size":4096,"num_hidden_layers":24,"num_attention_heads":16,"patch_size":14,"image_size":336}`,
			hfPreprocessor: `{"size":{"shortest_edge":336},"crop_size":{"height":336,"width":336}}`}, l14},
		{"processor_config.json", map[string]string{hfConfig: `{"model_type":"clip"}`, hfProcessor: `{"image_processor":` + hfProcessorText + `}`}, quick},
		{"squash", map[string]string{hfConfig: `{"model_type":"clip","vision_config":{"hidden_act":"gelu","layer_norm_eps":1e-6}}`,
			hfPreprocessor: `{"size":{"height":224,"width":224},"do_center_crop":false,"resample":2,"image_mean":[0.5,0.5,0.5]}`}, clipa},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				write(t, dir, name, text)
			}
			got, err := readConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadConfigRefuses(t *testing.T) {
	vision := func(text string) string { return `{"model_cfg":{"embed_dim":512,"vision_cfg":{` + text + `}}}` }
	for _, c := range []struct {
		file, text, want string
		unsupported      bool
	}{
		{openCLIPConfig, `[]`, "not a JSON object", false},
		{openCLIPConfig, strings.Repeat("[", 100000), "not a JSON object", false},
		{openCLIPConfig, strings.Repeat(" ", maxConfigFile+1), "larger than 1 MiB", false},
		{openCLIPConfig, `{}`, "model_cfg: missing", false},
		{openCLIPConfig, `{"model_cfg":{"vision_cfg":{}}}`, "model_cfg.embed_dim: missing", false},
		{openCLIPConfig, vision(`"width":"wide"`), `model_cfg.vision_cfg.width: want an integer, got "wide"`, false},
		{openCLIPConfig, vision(`"width":768.5`), `model_cfg.vision_cfg.width: want an integer`, false},
		{openCLIPConfig, vision(`"width":16448`), "width 16448 is not between", false},
		{openCLIPConfig, vision(`"layers":-1`), "layers -1 is not between", false},
		{openCLIPConfig, vision(`"head_width":0`), "head_width: 0 does not divide", false},
		{openCLIPConfig, vision(`"patch_size":30`), "image size 224 is no multiple of patch size 30", false},
		{openCLIPConfig, vision(`"timm_model_name":"vit_base"`), "timm_model_name: a timm image tower (vit_base)", true},
		{openCLIPConfig, vision(`"layers":[3,4,6,3]`), "a ResNet image tower", true},
		{openCLIPConfig, vision(`"attentional_pool":true`), "attentional pooling", true},
		{openCLIPConfig, vision(`"pool_type":"avg"`), "instead of a class token", true},
		{openCLIPConfig, vision(`"ls_init_value":0.1`), "layer scale", true},
		{openCLIPConfig, vision(`"no_ln_pre":true`), "without pre-LayerNorm", true},
		{openCLIPConfig, vision(`"act_kwargs":{"approximate":"tanh"}`), "an activation with arguments", true},
		{openCLIPConfig, vision(`"norm_kwargs":{"elementwise_affine":false}`), "norm_kwargs.elementwise_affine", true},
		{openCLIPConfig, vision(`"new_idea":1`), "new_idea", true},
		{openCLIPConfig, vision(`"image_size":[224,112]`), "not square", true},
		{openCLIPConfig, `{"model_cfg":{"embed_dim":512,"vision_cfg":{},"multimodal_cfg":{}}}`, "a CoCa model", true},
		{openCLIPConfig, `{"model_cfg":{"embed_dim":512,"vision_cfg":{}},"preprocess_cfg":{"mean":[1,2]}}`, "preprocess_cfg.mean: want three numbers", false},
		{openCLIPConfig, `{"model_cfg":{"embed_dim":512,"vision_cfg":{}},"preprocess_cfg":{"std":[1,0,1]}}`, "do not normalise", false},
		{openCLIPConfig, `{"model_cfg":{"embed_dim":512,"vision_cfg":{}},"preprocess_cfg":{"size":256}}`, "preprocess_cfg.size: 256, but", false},
		{openCLIPConfig, `{"model_cfg":{"embed_dim":512,"vision_cfg":{}},"preprocess_cfg":{"interpolation":"lanczos"}}`, `interpolation "lanczos"`, false},
		{hfConfig, `{"model_type":"siglip"}`, "a siglip model", true},
		{hfConfig, `{"architecture":"vit_base_patch32_clip_224"}`, "a timm model (vit_base_patch32_clip_224)", true},
		{hfConfig, `{}`, "model_type: missing", false},
		{hfConfig, `{"model_type":"clip","vision_config":{"hidden_act":"gelu_new"}}`, "vision_config.hidden_act: activation gelu_new", true},
		{hfConfig, `{"model_type":"clip","vision_config":{"num_channels":1}}`, "not RGB", true},
		{hfConfig, `{"model_type":"clip","vision_config":{"image_size":336,"patch_size":14}}`, "size: shortest_edge is 224, but the model's image_size is 336", false},
		{hfPreprocessor, `{"size":{"shortest_edge":256}}`, "shortest_edge is 256", false},
		{hfPreprocessor, `{"crop_size":{"height":224,"width":200}}`, "crop_size: width is 200", false},
		{hfPreprocessor, `{"do_resize":false}`, "do_resize: preprocessing without this step", true},
		{hfPreprocessor, `{"do_center_crop":false}`, "keeps its shape", true},
		{hfPreprocessor, `{"rescale_factor":1}`, "not scaled by 1/255", true},
		{hfPreprocessor, `{"resample":1}`, "resample", true},
		{hfPreprocessor, `{"image_processor_type":"SiglipImageProcessor"}`, "SiglipImageProcessor", true},
		{hfPreprocessor, `{"size":{"longest_edge":224}}`, "size: height is 0", false},
	} {
		t.Run(c.file+c.want, func(t *testing.T) {
			dir := t.TempDir()
			if c.file != openCLIPConfig {
				write(t, dir, hfConfig, `{"model_type":"clip"}`)
				write(t, dir, hfPreprocessor, hfProcessorText)
			}
			write(t, dir, c.file, c.text)
			_, err := readConfig(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("want the file and %q, got %v", c.want, err)
			}
			if errors.Is(err, ErrUnsupported) != c.unsupported {
				t.Errorf("ErrUnsupported is %v: %v", !c.unsupported, err)
			}
		})
	}
}

func TestConfigWithoutPreprocessorIsRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, hfConfig, `{"model_type":"clip"}`)
	if _, err := readConfig(dir); err == nil || !strings.Contains(err.Error(), hfPreprocessor) {
		t.Errorf("got %v", err)
	}
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(`{"model_cfg":{"embed_dim":512,"quick_gelu":true,"vision_cfg":{"image_size":[224,224],"norm_kwargs":{"eps":1e-6}}},"preprocess_cfg":{"mean":[1,2,3],"size":224}}`), []byte(`{}`))
	f.Add([]byte(`{"model_type":"clip","vision_config":{"hidden_act":"gelu","image_size":64}}`), []byte(hfProcessorText))
	f.Add([]byte(`{"weight_map":{"a":"b.safetensors"}}`), []byte(`{"size":{"shortest_edge":64},"crop_size":64}`))
	f.Fuzz(func(t *testing.T, config, processor []byte) {
		dir := configDir{read: func(name string) ([]byte, error) {
			if name == hfPreprocessor {
				return processor, nil
			}
			return config, nil
		}}
		for _, read := range []func(configDir) (Config, error){readOpenCLIP, readHuggingFace} {
			if c, err := read(dir); err == nil && (c.validate() != nil || c.Tokens() < 2 || c.FLOPs() <= 0) {
				t.Fatalf("accepted %+v", c)
			}
		}
		names, err := readIndex(dir)
		for _, name := range names {
			if err == nil && strings.ContainsAny(name, `/\`) {
				t.Fatalf("accepted a path %q", name)
			}
		}
	})
}
