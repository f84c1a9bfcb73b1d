package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/model/safetensors"
)

// tiny is a configuration small enough to vary.
func tiny() Config {
	c, _ := Preset("ViT-B-32")
	c.ImageSize, c.PatchSize, c.Width, c.Layers, c.Heads, c.MLP, c.EmbedDim = 32, 16, 48, 2, 3, 100, 24
	c.name()
	return c
}

func tinyModel(t *testing.T, c Config) *Model {
	t.Helper()
	m, err := Synthetic(c, SyntheticOptions{Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func exported(t *testing.T, m *Model) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "new")
	if err := Export(m, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExportReadsBackEqual(t *testing.T) {
	quick := tiny()
	quick.Activation, quick.Epsilon, quick.Interpolation, quick.ResizeMode = QuickGELU, 1e-6, "bilinear", "squash"
	for _, c := range []Config{tiny(), quick} {
		m := tinyModel(t, c)
		dir := exported(t, m)
		back := mustOpen(t, dir)
		if back.WeightsHash != m.WeightsHash {
			t.Errorf("hash %s, want %s", back.WeightsHash, m.WeightsHash)
		}
		if diff := cmp.Diff(m.Config, back.Config); diff != "" {
			t.Error(diff)
		}
		if !back.Source.Synthetic {
			t.Error("exported synthetic weights pass for real ones")
		}
		lone := mustOpen(t, filepath.Join(dir, weightFiles[0]))
		if lone.WeightsHash != m.WeightsHash {
			t.Error("the lone file reads differently")
		}
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(left) != 2 {
			t.Errorf("files %v", left)
		}
	}
	half := mustOpen(t, models+"/tiny-gelu")
	if back := mustOpen(t, exported(t, half)); back.WeightsHash != half.WeightsHash || back.Source.Synthetic {
		t.Errorf("bf16 weights changed by export: %+v", back.Source)
	}
}

func TestMLPRatioIsExact(t *testing.T) {
	for width := 1; width < 400; width += 3 {
		for mlp := 1; mlp < 1700; mlp += 7 {
			if got := int(float64(width) * mlpRatio(width, mlp)); got != mlp {
				t.Fatalf("width %d, MLP %d reads back as %d", width, mlp, got)
			}
		}
	}
}

func TestHashTellsModelsApart(t *testing.T) {
	base := tinyModel(t, tiny())
	seen := map[string]string{base.WeightsHash: "base"}
	for name, change := range map[string]func(*Model){
		"activation": func(m *Model) { m.Config.Activation = QuickGELU },
		"heads":      func(m *Model) { m.Config.Heads = 6 },
		"epsilon":    func(m *Model) { m.Config.Epsilon = 1e-6 },
		"one bit":    func(m *Model) { m.Weights.Proj.Data[17] ^= 1 },
		"exchange": func(m *Model) {
			w := &m.Weights.Blocks[0]
			w.LN1.Weight.Data, w.LN2.Weight.Data = w.LN2.Weight.Data, w.LN1.Weight.Data
		},
	} {
		m := tinyModel(t, tiny())
		change(m)
		h, err := m.hash()
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[h]; twice {
			t.Errorf("%s hashes like %s", name, other)
		}
		seen[h] = name
	}
	again := tinyModel(t, tiny())
	again.Config.Mean[0] = 0.5 // preprocessing is the plan's business
	if h, _ := again.hash(); h != base.WeightsHash {
		t.Error("the mean changed the weights' hash")
	}
}

// TestHashIsStable holds the hash's definition: vector files written today carry it.
func TestHashIsStable(t *testing.T) {
	const want = "sha256:813507c72dddde08755ff5642e083bb25ee12274e7e874d2974c396d7a7887f1"
	if got := tinyModel(t, tiny()).WeightsHash; got != want {
		t.Errorf("got %s, want %s: a changed hash makes every stored vector file foreign", got, want)
	}
}

func TestSpaceID(t *testing.T) {
	const want = "vsp1-99bafe2934961045"
	if got := SpaceID("plan", "sha256:00", "fp32"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	ids := []string{SpaceID("p", "w", "fp32"), SpaceID("p", "w", "bf16"), SpaceID("p", "v", "fp32"), SpaceID("q", "w", "fp32")}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 4 {
		t.Errorf("ids collide: %v", ids)
	}
}

func TestInspectViTB32(t *testing.T) {
	c, _ := Preset("ViT-B-32")
	// Shapes alone: no weights are needed to count them.
	m := &Model{Config: c}
	for _, p := range m.Weights.parameters(c) {
		*p.dst = Tensor{Name: p.name, Shape: p.shape}
	}
	info := Inspect(m)
	if info.Parameters != 87_849_216 { // open_clip's own count of ViT-B-32's visual tower
		t.Errorf("%d parameters", info.Parameters)
	}
	// Patches 49*3072*768, twelve blocks of 50*(12*768^2) + 2*50^2*768, projection 768*512.
	if want := int64(2 * (115_605_504 + 12*(353_894_400+3_840_000) + 393_216)); info.FLOPs != want {
		t.Errorf("%d FLOPs, want %d", info.FLOPs, want)
	}
	if len(info.Tensors) != 152 {
		t.Errorf("%d tensors", len(info.Tensors))
	}
}

// rewrite writes m's tensors, changed by edit, with its configuration, and returns the folder.
func rewrite(t *testing.T, m *Model, edit func([]safetensors.Tensor) []safetensors.Tensor) string {
	t.Helper()
	dir := exported(t, m)
	f, err := safetensors.Open(filepath.Join(dir, weightFiles[0]))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := errors.Join(safetensors.Write(&b, edit(slices.Clone(f.Tensors)), nil), f.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, dir, weightFiles[0], b.String())
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func renamed(from, to string) func([]safetensors.Tensor) []safetensors.Tensor {
	return func(list []safetensors.Tensor) []safetensors.Tensor {
		for i := range list {
			if rest, ok := strings.CutPrefix(list[i].Name, from); ok {
				list[i].Name = to + rest
			}
		}
		return list
	}
}

func with(extra ...string) func([]safetensors.Tensor) []safetensors.Tensor {
	return func(list []safetensors.Tensor) []safetensors.Tensor {
		for _, name := range extra {
			list = append(list, safetensors.Tensor{Name: name, DType: "I64", Shape: []int{1}, Data: make([]byte, 8)})
		}
		return list
	}
}

func TestMappingTolerates(t *testing.T) {
	m := tinyModel(t, tiny())
	for name, edit := range map[string]func([]safetensors.Tensor) []safetensors.Tensor{
		"image tower only": renamed("visual.", ""),
		"bare with scale": func(l []safetensors.Tensor) []safetensors.Tensor {
			return with("logit_scale")(renamed("visual.", "")(l))
		},
		"module":  renamed("", "module."),
		"model":   renamed("", "model."),
		"text":    with("transformer.resblocks.0.ln_1.weight", "text.positional_embedding", "logit_scale", "token_embedding.weight"),
		"buffers": with("visual.attn_mask"),
		"reordered": func(l []safetensors.Tensor) []safetensors.Tensor {
			slices.Reverse(l)
			return append([]safetensors.Tensor{{Name: "odd", DType: "U8", Shape: []int{3}, Data: []byte{1, 2, 3}}}, l...)
		},
	} {
		back := mustOpen(t, rewrite(t, m, edit))
		if back.WeightsHash != m.WeightsHash {
			t.Errorf("%s: another hash", name)
		}
	}
}

func TestMappingRefuses(t *testing.T) {
	m := tinyModel(t, tiny())
	drop := func(name string) func([]safetensors.Tensor) []safetensors.Tensor {
		return func(l []safetensors.Tensor) []safetensors.Tensor {
			return slices.DeleteFunc(l, func(t safetensors.Tensor) bool { return t.Name == name })
		}
	}
	retype := func(l []safetensors.Tensor) []safetensors.Tensor {
		l[0].DType = "I32"
		return l
	}
	reshape := func(l []safetensors.Tensor) []safetensors.Tensor {
		l[2].Shape = []int{48, 5}
		return l
	}
	for want, edit := range map[string]func([]safetensors.Tensor) []safetensors.Tensor{
		`tensor "visual.ln_post.bias" is missing`:       drop("visual.ln_post.bias"),
		`no CLIP image tower`:                           renamed("visual.", "elsewhere."),
		`tensor "visual.conv1.weight" is stored as I32`: retype,
		`tensor "visual.positional_embedding" has shape [48 5], the configuration asks for [5 48]`: reshape,
		`tensor "visual.transformer.resblocks.2.ln_1.weight" of the image tower has no place`:      with("visual.transformer.resblocks.2.ln_1.weight"),
		`tensor "visual.transformer.resblocks.0.ls_1.gamma" of the image tower has no place`:       with("visual.transformer.resblocks.0.ls_1.gamma"),
		`attentional pooling: unsupported architecture`:                                            with("visual.attn_pool.query"),
		`a timm image tower: unsupported architecture`:                                             func(l []safetensors.Tensor) []safetensors.Tensor { return renamed("visual.", "visual.trunk.")(l) },
		`tensor "module.visual.ln_pre.weight" is missing`: func(l []safetensors.Tensor) []safetensors.Tensor {
			return renamed("", "module.")(drop("visual.ln_pre.weight")(l))
		},
		`a ResNet image tower`: with("visual.layer1.0.conv1.weight"),
	} {
		_, err := Open(t.Context(), rewrite(t, m, edit), OpenOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestShardedWeights(t *testing.T) {
	m := tinyModel(t, tiny())
	dir := exported(t, m)
	path := filepath.Join(dir, weightFiles[0])
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	index := map[string]string{}
	for i, part := range [][]safetensors.Tensor{f.Tensors[:9], f.Tensors[9:]} {
		name := fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)
		var b bytes.Buffer
		if err := safetensors.Write(&b, part, nil); err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, b.String())
		for _, x := range part {
			index[x.Name] = name
		}
	}
	text, _ := json.Marshal(map[string]any{"weight_map": index})
	write(t, dir, weightIndex, string(text))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if back := mustOpen(t, dir); back.WeightsHash != m.WeightsHash {
		t.Error("another hash")
	}
	write(t, dir, weightIndex, `{"weight_map":{"a":"../model.safetensors"}}`)
	if _, err := Open(t.Context(), dir, OpenOptions{}); err == nil || !strings.Contains(err.Error(), "weight_map.a") {
		t.Errorf("an index that leaves its folder: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "m.bin", "pickle")
	withConfig := t.TempDir()
	write(t, withConfig, openCLIPConfig, `{"model_cfg":{"embed_dim":24,"vision_cfg":{}}}`)
	pickled := t.TempDir()
	write(t, pickled, openCLIPConfig, `{"model_cfg":{"embed_dim":24,"vision_cfg":{}}}`)
	write(t, pickled, "open_clip_pytorch_model.bin", "pickle")
	lying := exported(t, tinyModel(t, tiny()))
	if err := os.Truncate(filepath.Join(lying, weightFiles[0]), 5000); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		filepath.Join(dir, "absent"): "no such folder or file",
		dir:                          "neither open_clip_config.json nor config.json",
		filepath.Join(dir, "m.bin"):  "convert them with",
		withConfig:                   "no weights",
		pickled:                      "convert them with",
		lying:                        "truncated",
		"hub:../x":                   "not owner/name",
	} {
		if _, err := Open(t.Context(), ref, OpenOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", ref, want, err)
		}
	}
}

func TestKnownByPlaceInTheCache(t *testing.T) {
	for path, want := range map[string][2]string{
		"/c/models--timm--vit_base_patch32_clip_224.openai/snapshots/abc":             {"ViT-B-32", "openai"},
		"/c/models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K/snapshots/a/x.safetensors": {"ViT-B-32", "laion2b_s34b_b79k"},
		"/c/models--me--mine/snapshots/abc":                                           {"", ""},
		"/home/timm/vit":                                                              {"", ""},
	} {
		if name, tag := knownAs(path); name != want[0] || tag != want[1] {
			t.Errorf("%s: %q, %q", path, name, tag)
		}
	}
}
