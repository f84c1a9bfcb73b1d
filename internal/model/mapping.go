package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/model/safetensors"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// bag is the tensors of a model's files by name.
type bag map[string]safetensors.Tensor

// wrappers are what training frameworks leave before every name.
var wrappers = []string{"", "model.", "module.", "module.model.", "_orig_mod."}

// scheme is how a file names the image tower.
type scheme struct {
	prefix      string // before every name: a wrapper, and "visual." where the file has it
	huggingFace bool
}

// findScheme recognises the naming by the patch embedding, which every tower has.
func (b bag) findScheme() (scheme, error) {
	for _, w := range wrappers {
		for _, s := range []scheme{{w + towerPrefix, false}, {w, true}, {w, false}} {
			if _, ok := b[s.prefix+s.names("conv1.weight")[0]]; ok {
				return s, b.refuseOthers(s.prefix)
			}
		}
	}
	return scheme{}, b.unknown()
}

// telltales are name parts that only other architectures have.
var telltales = []struct{ part, what string }{
	{"visual.trunk.", "a timm image tower"}, {"visual.layer1.", "a ResNet image tower"},
	{"visual.attn_pool.", "attentional pooling"}, {"vision_model.head.", "a SigLIP image tower"},
	{"patch_embed.proj.weight", "a timm model"},
}

func (b bag) refuseOthers(prefix string) error {
	for _, t := range telltales {
		for name := range b {
			if strings.Contains(name, t.part) {
				return fmt.Errorf("tensor %q: %s: %w", name, t.what, ErrUnsupported)
			}
		}
	}
	if _, ok := b[prefix+"attnpool.positional_embedding"]; ok {
		return fmt.Errorf("tensor %q: a ResNet image tower: %w", prefix+"attnpool.positional_embedding", ErrUnsupported)
	}
	return nil
}

func (b bag) unknown() error {
	if err := b.refuseOthers(""); err != nil {
		return err
	}
	names := make([]string, 0, len(b))
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("no CLIP image tower: neither visual.conv1.weight (open_clip) nor vision_model.embeddings.patch_embedding.weight (Hugging Face) among %d tensors %.3q", len(b), names)
}

var hfTop = map[string]string{
	"conv1.weight":         "vision_model.embeddings.patch_embedding.weight",
	"class_embedding":      "vision_model.embeddings.class_embedding",
	"positional_embedding": "vision_model.embeddings.position_embedding.weight",
	"ln_pre.weight":        "vision_model.pre_layrnorm.weight", // the library's own spelling
	"ln_pre.bias":          "vision_model.pre_layrnorm.bias",
	"ln_post.weight":       "vision_model.post_layernorm.weight",
	"ln_post.bias":         "vision_model.post_layernorm.bias",
	"proj":                 "visual_projection.weight",
}

var hfBlock = strings.NewReplacer(
	"transformer.resblocks.", "vision_model.encoder.layers.",
	".ln_1.", ".layer_norm1.", ".ln_2.", ".layer_norm2.",
	".attn.out_proj.", ".self_attn.out_proj.",
	".mlp.c_fc.", ".mlp.fc1.", ".mlp.c_proj.", ".mlp.fc2.",
	".attn.in_proj_weight", ".self_attn.%s_proj.weight", ".attn.in_proj_bias", ".self_attn.%s_proj.bias",
)

// names are the file's tensors that make up the canonical one: itself, or q, k and v.
func (s scheme) names(canonical string) []string {
	if !s.huggingFace {
		return []string{canonical}
	}
	if name, ok := hfTop[canonical]; ok {
		return []string{name}
	}
	name := hfBlock.Replace(canonical)
	if !strings.Contains(name, "%s") {
		return []string{name}
	}
	return []string{fmt.Sprintf(name, "q"), fmt.Sprintf(name, "k"), fmt.Sprintf(name, "v")}
}

// ignored are tensors inside the tower that are no parameters, and text parameters of a bare one.
var ignored = []string{"vision_model.embeddings.position_ids", "attn_mask", "logit_scale", "logit_bias"}

// weights maps the tensors to Weights, checking every shape against c.
func (b bag) weights(c Config) (Weights, error) {
	s, err := b.findScheme()
	if err != nil {
		return Weights{}, err
	}
	var w Weights
	used := map[string]bool{}
	for _, p := range w.parameters(c) {
		parts, err := b.parts(s, p, used)
		if err != nil {
			return Weights{}, err
		}
		*p.dst, err = join(s, p, parts)
		if err != nil {
			return Weights{}, err
		}
	}
	return w, b.noneLeft(s, c, used)
}

func (b bag) parts(s scheme, p parameter, used map[string]bool) ([]safetensors.Tensor, error) {
	names := s.names(p.name)
	shape := slices.Clone(p.shape)
	shape[0] /= len(names)
	if s.huggingFace && p.name == "proj" {
		slices.Reverse(shape)
	}
	parts := make([]safetensors.Tensor, len(names))
	for i, name := range names {
		t, ok := b[s.prefix+name]
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing", s.prefix+name)
		}
		if !slices.Equal(t.Shape, shape) {
			return nil, fmt.Errorf("tensor %q has shape %v, the configuration asks for %v", t.Name, t.Shape, shape)
		}
		used[t.Name] = true
		parts[i] = t
	}
	return parts, nil
}

var dtypes = map[safetensors.DType]tensor.DType{
	safetensors.F32: tensor.FP32, safetensors.F16: tensor.FP16, safetensors.BF16: tensor.BF16,
}

// join makes the canonical tensor: a view of the only part where it can be, else new memory.
func join(s scheme, p parameter, parts []safetensors.Tensor) (Tensor, error) {
	t := Tensor{Name: towerPrefix + p.name, Shape: p.shape, Data: parts[0].Data}
	for _, part := range parts {
		d, ok := dtypes[part.DType]
		if !ok {
			return t, fmt.Errorf("tensor %q is stored as %s; F32, F16 and BF16 can be read", part.Name, part.DType)
		}
		if part.DType != parts[0].DType {
			return t, fmt.Errorf("tensor %q is stored as %s, but %q as %s: one attention needs one type",
				part.Name, part.DType, parts[0].Name, parts[0].DType)
		}
		t.DType = d
	}
	switch {
	case len(parts) > 1:
		t.Data = slices.Concat(parts[0].Data, parts[1].Data, parts[2].Data)
	case s.huggingFace && p.name == "proj":
		t.Data = transpose(t.Data, p.shape[1], p.shape[0], t.DType.Size())
	}
	return t, nil
}

// transpose turns a [rows, cols] matrix of size-byte elements into [cols, rows].
func transpose(src []byte, rows, cols, size int) []byte {
	dst := make([]byte, len(src))
	for r := range rows {
		for c := range cols {
			from, to := (r*cols+c)*size, (c*rows+r)*size
			copy(dst[to:to+size], src[from:from+size])
		}
	}
	return dst
}

// noneLeft refuses tensors of the image tower that c has no place for: a deeper tower than configured,
// layer scales, a second norm. Text tensors are none of its business.
func (b bag) noneLeft(s scheme, c Config, used map[string]bool) error {
	own := s.prefix
	if s.huggingFace {
		own += "vision_model."
	}
	for name := range b {
		rest, ours := strings.CutPrefix(name, own)
		if !ours || used[name] || slices.Contains(ignored, rest) || slices.Contains(ignored, strings.TrimPrefix(name, s.prefix)) {
			continue
		}
		return fmt.Errorf("tensor %q of the image tower has no place in the configured %s of %d layers: %w", name, c.Architecture, c.Layers, ErrUnsupported)
	}
	return nil
}
