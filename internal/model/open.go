package model

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/model/hub"
)

// Default is the model that is served where none is named: what open_clip's ViT-B-32 / openai
// resolves to.
const Default = hubPrefix + "timm/vit_base_patch32_clip_224.openai"

// SyntheticReference names synthetic weights of the default model's shape.
const SyntheticReference = "synthetic"

const hubPrefix = "hub:"

// ErrNoNetwork is a hub that cannot be reached, found out within three seconds. Whether something else
// is served instead is the caller's decision.
var ErrNoNetwork = hub.ErrNoNetwork

// OpenOptions say how Open gets a model.
type OpenOptions struct {
	Hub hub.PullOptions // for references to the hub; Files is set by Open
	// ModelName and Pretrained override what the model answers to; empty means what is known of it.
	ModelName, Pretrained string
	Preprocessing         Preprocessing // of an ONNX file
}

// Open loads the model that ref names:
//
//	a folder, or a .safetensors file with its configuration beside it
//	an .onnx file, or a folder that holds no weights but model.onnx
//	hub:owner/name[@revision]          from the local cache if it is there, else downloaded
//	synthetic                          synthetic weights of ViT-B-32/openai
//	synthetic:NAME[/openai][?seed=N&outliers=1]
//
// An empty ref is Default. The caller closes the model.
func Open(ctx context.Context, ref string, o OpenOptions) (*Model, error) {
	if ref == "" {
		ref = Default
	}
	m, err := open(ctx, ref, o)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", ref, err)
	}
	m.Source.Reference = ref
	if o.ModelName != "" {
		m.Source.ModelName = o.ModelName
	}
	if o.Pretrained != "" {
		m.Source.Pretrained = o.Pretrained
	}
	if o.Preprocessing.Given() {
		if err := o.Preprocessing.applyTo(m); err != nil {
			return nil, errors.Join(fmt.Errorf("model %s: %w", ref, err), m.Close())
		}
	}
	return m, nil
}

func open(ctx context.Context, ref string, o OpenOptions) (*Model, error) {
	if rest, ok := strings.CutPrefix(ref, SyntheticReference); ok && (rest == "" || rest[0] == ':' || rest[0] == '?') {
		return openSynthetic(rest)
	}
	if _, ok := strings.CutPrefix(ref, hubPrefix); ok {
		o.Hub.PreferCache = true
		dir, err := Pull(ctx, ref, o.Hub)
		if err != nil {
			return nil, err
		}
		return openLocal(dir, openFolder)
	}
	dir, err := isDir(ref)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no such folder or file; models of the hub are written hub:owner/name: %w", err)
	case err != nil:
		return nil, err
	case dir && onlyONNX(ref):
		return openONNX(filepath.Join(ref, onnxName), o.Preprocessing.ImageSize)
	case dir:
		return openLocal(ref, openFolder)
	case IsONNX(ref):
		return openONNX(ref, o.Preprocessing.ImageSize)
	}
	return openLocal(ref, openFile)
}

// openLocal opens and adds what the model answers to: by its place in a hub cache, else by its shape.
func openLocal(path string, open func(string) (*Model, error)) (*Model, error) {
	m, err := open(path)
	if err != nil {
		return nil, err
	}
	m.Source.ModelName, m.Source.Pretrained = knownAs(path)
	if _, preset := presets[m.Config.Architecture]; preset && m.Source.ModelName == "" {
		m.Source.ModelName = m.Config.Architecture
	}
	return m, nil
}

// known are the hub's models that have a name and a pretrained tag in open_clip.
var known = map[string][2]string{
	"timm/vit_base_patch32_clip_224.openai":        {"ViT-B-32", "openai"},
	"timm/vit_base_patch16_clip_224.openai":        {"ViT-B-16", "openai"},
	"timm/vit_large_patch14_clip_224.openai":       {"ViT-L-14", "openai"},
	"timm/vit_large_patch14_clip_336.openai":       {"ViT-L-14-336", "openai"},
	"openai/clip-vit-base-patch32":                 {"ViT-B-32", "openai"},
	"openai/clip-vit-base-patch16":                 {"ViT-B-16", "openai"},
	"openai/clip-vit-large-patch14":                {"ViT-L-14", "openai"},
	"openai/clip-vit-large-patch14-336":            {"ViT-L-14-336", "openai"},
	"timm/vit_base_patch32_clip_224.laion400m_e31": {"ViT-B-32", "laion400m_e31"},
	"timm/vit_base_patch32_clip_224.laion400m_e32": {"ViT-B-32", "laion400m_e32"},
	"laion/CLIP-ViT-B-32-laion2B-s34B-b79K":        {"ViT-B-32", "laion2b_s34b_b79k"},
	"laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K":    {"ViT-B-32", "datacomp_xl_s13b_b90k"},
	"laion/CLIP-ViT-B-16-laion2B-s34B-b88K":        {"ViT-B-16", "laion2b_s34b_b88k"},
	"laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K":    {"ViT-B-16", "datacomp_xl_s13b_b90k"},
	"laion/CLIP-ViT-L-14-laion2B-s32B-b82K":        {"ViT-L-14", "laion2b_s32b_b82k"},
	"laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K":    {"ViT-L-14", "datacomp_xl_s13b_b90k"},
}

// cachePlace is a folder or file inside a hub cache: models--owner--name/snapshots/<commit>.
var cachePlace = regexp.MustCompile(`models--([^/]+?)--([^/]+)/snapshots/[^/]+(?:/[^/]+)?$`)

// knownAs returns open_clip's name and tag of a model by its place in a hub cache.
func knownAs(path string) (name, pretrained string) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", ""
	}
	place := cachePlace.FindStringSubmatch(filepath.ToSlash(abs))
	if place == nil {
		return "", ""
	}
	names := known[place[1]+"/"+place[2]]
	return names[0], names[1]
}

// openSynthetic makes synthetic weights; spec is what follows "synthetic".
func openSynthetic(spec string) (*Model, error) {
	r, err := parseSynthetic(spec)
	if err != nil {
		return nil, err
	}
	m, err := Synthetic(r.config, r.options)
	if err != nil {
		return nil, err
	}
	m.Source.ModelName, m.Source.Pretrained = r.name, r.tag
	return m, nil
}

// syntheticRef is a parsed reference to synthetic weights.
type syntheticRef struct {
	config    Config
	options   SyntheticOptions
	name, tag string // what the model answers to
}

func parseSynthetic(spec string) (r syntheticRef, err error) {
	spec, query, _ := strings.Cut(spec, "?")
	name := strings.TrimPrefix(spec, ":")
	if name == "" {
		name = "ViT-B-32/openai"
	}
	var tagged, ok bool
	r.name, r.tag, tagged = strings.Cut(name, "/")
	if tagged && r.tag != "openai" {
		return r, fmt.Errorf("pretrained tag %q: synthetic weights answer to openai or to none", r.tag)
	}
	preset := r.name
	if tagged && !strings.HasSuffix(preset, quickGELUSuffix) {
		preset += quickGELUSuffix // OpenAI's weights were trained with it
	}
	if r.config, ok = Preset(preset); !ok {
		return r, fmt.Errorf("no architecture %q; there are %s", r.name, strings.Join(Presets(), ", "))
	}
	r.options, err = syntheticOptions(query)
	return r, err
}

func syntheticOptions(query string) (o SyntheticOptions, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return o, err
	}
	for key := range values {
		switch value := values.Get(key); key {
		case "seed":
			o.Seed, err = strconv.ParseUint(value, 10, 64)
		case "outliers":
			o.Outliers, err = strconv.ParseBool(value)
		default:
			err = errors.New("want seed or outliers")
		}
		if err != nil {
			return o, fmt.Errorf("option %q: %w", key, err)
		}
	}
	return o, nil
}
