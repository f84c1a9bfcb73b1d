#!/usr/bin/env python3
"""Make the tiny models, the photographs and the embeddings that open_clip computes from them.

    python testdata/models/make.py

Needs torch, open_clip_torch, transformers, safetensors, scikit-image, Pillow (versions are written to
expected.json). The models are open_clip's own VisionTransformer with random weights, stored as fp16 or
bf16; the expected embeddings are computed by open_clip in float32 from the stored weights, with
open_clip's own preprocessing. tiny-quickgelu-hf holds the same weights as tiny-quickgelu under Hugging
Face's names, written by transformers, which computes the same embeddings (checked here).
"""
import json
import math
import pathlib
import sys

import numpy as np
import open_clip
import PIL
import skimage
import torch
import transformers
from open_clip.transform import image_transform
from PIL import Image
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
PHOTOS = HERE.parent / "photos"
sys.path.insert(0, str(HERE.parent))
from synthetic import numbers  # noqa: E402

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
MODELS = {
    "tiny-quickgelu": dict(quick_gelu=True, dtype=torch.float16, seed=1,
                           vision_cfg=dict(image_size=224, patch_size=16, width=64, layers=2, head_width=32, mlp_ratio=2.0)),
    "tiny-gelu": dict(quick_gelu=False, dtype=torch.bfloat16, seed=2,
                      vision_cfg=dict(image_size=224, patch_size=14, width=64, layers=2, head_width=64, mlp_ratio=2.0)),
}
EMBED = 32


def photos():
    PHOTOS.mkdir(exist_ok=True)
    d = skimage.data
    def save(name, pixels, **kw):
        Image.fromarray(pixels).save(PHOTOS / name, **kw)
    save("astronaut.jpg", d.astronaut(), quality=85)                              # 512x512, 4:2:0
    save("coffee.jpg", d.coffee()[:, :500], quality=80, progressive=True)         # 500x400, progressive
    save("chelsea.png", d.chelsea()[40:240, 60:210])                              # 150x200: enlarged
    save("rocket.webp", d.rocket(), quality=70)                                   # 640x427, lossy
    Image.fromarray(d.chelsea()).convert("L").save(PHOTOS / "grey.jpg", quality=75)
    Image.fromarray(d.coffee()).resize((300, 200)).quantize(64).save(PHOTOS / "palette.png")
    rgba = np.dstack([d.astronaut(), np.linspace(0, 255, 512, dtype=np.uint8)[None].repeat(512, 0)])[::3, ::3]
    save("alpha.png", np.ascontiguousarray(rgba))
    return sorted(p.name for p in PHOTOS.iterdir() if p.suffix in (".jpg", ".png", ".webp"))


def tower(spec, inputs):
    torch.manual_seed(spec["seed"])
    visual = open_clip.model._build_vision_tower(EMBED, dict(spec["vision_cfg"]), quick_gelu=spec["quick_gelu"])
    with torch.no_grad():
        for name, p in visual.named_parameters():
            # Every parameter differs from every other, so that a mix-up shows; matrices are larger than
            # at the start of training, so that attention and MLP matter.
            p.copy_(torch.randn_like(p) * (1.5 / math.sqrt(p.shape[-1]) if p.dim() == 2 else 0.2) if p.dim() < 4 else 4 * p)
            if "ln_" in name and name.endswith("weight"):
                p.add_(1.0)
            # Inputs of the activation where QuickGELU and GELU differ most, and an MLP that outweighs
            # the residual: a mix-up of the two must show in the embedding.
            if name.endswith("c_fc.weight"):
                p.mul_(0.6)
            if name.endswith("c_proj.weight"):
                p.mul_(5.0)
        # Take what all photographs have in common out of the embedding, so that they differ in it.
        seen = []
        hook = visual.ln_post.register_forward_hook(lambda _, x, y: seen.append(y[:, 0]))
        visual.eval()(torch.cat(list(inputs.values())))
        hook.remove()
        visual.ln_post.bias.sub_(seen[0].mean(0) * 0.4)
    return visual.to(spec["dtype"])


def pattern():
    """Pixels by formula, already normalised: what tests without an image decoder feed in."""
    return torch.from_numpy(numbers("pattern", (1, 3, 224, 224), 1.0))


@torch.no_grad()
def embed(visual, x):
    y = visual(x)
    return (y / y.norm(dim=-1, keepdim=True))[0].tolist()


def save_open_clip(name, spec, state):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    save_file({"visual." + k: v.contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors", {"format": "pt"})
    cfg = dict(embed_dim=EMBED, vision_cfg=spec["vision_cfg"], text_cfg={})
    if spec["quick_gelu"]:
        cfg["quick_gelu"] = True
    pre = dict(mean=MEAN, std=STD, interpolation="bicubic", resize_mode="shortest")
    (folder / "open_clip_config.json").write_text(json.dumps(dict(model_cfg=cfg, preprocess_cfg=pre), indent=2) + "\n")


def save_hugging_face(name, spec, visual):
    v = spec["vision_cfg"]
    config = transformers.CLIPVisionConfig(
        hidden_size=v["width"], intermediate_size=int(v["width"] * v["mlp_ratio"]), num_hidden_layers=v["layers"],
        num_attention_heads=v["width"] // v["head_width"], image_size=v["image_size"], patch_size=v["patch_size"],
        projection_dim=EMBED, hidden_act="quick_gelu" if spec["quick_gelu"] else "gelu")
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    s, out = visual.state_dict(), {}
    out["vision_model.embeddings.patch_embedding.weight"] = s["conv1.weight"]
    out["vision_model.embeddings.class_embedding"] = s["class_embedding"]
    out["vision_model.embeddings.position_embedding.weight"] = s["positional_embedding"]
    out["visual_projection.weight"] = s["proj"].T.contiguous()
    for ours, theirs in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")):
        for kind in ("weight", "bias"):
            out[f"vision_model.{theirs}.{kind}"] = s[f"{ours}.{kind}"]
    for i in range(v["layers"]):
        a, b = f"transformer.resblocks.{i}.", f"vision_model.encoder.layers.{i}."
        for kind in ("weight", "bias"):
            for part, value in zip("qkv", s[f"{a}attn.in_proj_{kind}"].chunk(3)):
                out[f"{b}self_attn.{part}_proj.{kind}"] = value.clone()
            for ours, theirs in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
                                 ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                out[f"{b}{theirs}.{kind}"] = s[f"{a}{ours}.{kind}"]
    missing, unexpected = model.load_state_dict(out, strict=False)
    assert not unexpected and all("position_ids" in m for m in missing), (missing, unexpected)
    folder = HERE / name
    model.to(spec["dtype"]).save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    return model.float()


def main():
    files = photos()
    expected = dict(made_with={m.__name__: m.__version__ for m in (torch, open_clip, transformers, PIL, skimage, np)},
                    pattern='numbers("pattern", (1, 3, 224, 224), 1.0) of testdata/synthetic.py', models={})
    preprocess = image_transform(224, is_train=False, mean=MEAN, std=STD)
    inputs = {f: preprocess(Image.open(PHOTOS / f)).unsqueeze(0) for f in files}
    for name, spec in MODELS.items():
        visual = tower(spec, inputs)
        save_open_clip(name, spec, visual.state_dict())
        visual = visual.float()
        entry = dict(pattern=embed(visual, pattern()), photos={f: embed(visual, x) for f, x in inputs.items()})
        expected["models"][name] = entry
        if spec["quick_gelu"]:
            hf = save_hugging_face(name + "-hf", spec, visual)
            for key, x in [("pattern", pattern())]:
                y = hf(pixel_values=x).image_embeds
                cos = torch.nn.functional.cosine_similarity(y, torch.tensor([entry[key]])).item()
                assert cos > 0.999999, cos
            expected["models"][name + "-hf"] = entry
        e = np.array(list(entry["photos"].values()))
        print(name, "cosine between photographs:", np.round(np.sort((e @ e.T)[np.triu_indices(len(e), 1)]), 3))
    text = json.dumps(expected, indent=1)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
