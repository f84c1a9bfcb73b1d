#!/usr/bin/env python3
"""Writes golden.json: embeddings that open_clip's VisionTransformer computes in float64.

Needs numpy, torch and open_clip_torch. Weights and pixels are not stored: formula() makes those of the
small models here and in formula_test.go; synthetic() makes those of ViT-B/32 as
docs/synthetic-weights.md defines them (internal/model.Synthetic).

    python3 golden.py > golden.json
"""

import hashlib
import json
import sys

import numpy as np
import open_clip
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def counted(key, n):
    with np.errstate(over="ignore"):
        return mix(np.uint64(key) + np.arange(1, n + 1, dtype=np.uint64) * GOLDEN)


def formula(index, name, shape):
    """Tensor number index: values in [-1/8, 1/8); LayerNorm's weights 1 + 2f."""
    f = (counted(index << 40, int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    f *= np.float32(0.125)
    if ".ln_" in "." + name and name.endswith("weight"):
        f = np.float32(1) + np.float32(2) * f
    return f.reshape(shape)


def synthetic(name, shape, layers):
    """docs/synthetic-weights.md, seed 0, for width 768, patch 32, MLP 3072."""
    key = int.from_bytes(hashlib.sha256(f"vitrine synthetic 1/0/visual.{name}".encode()).digest()[:8], "little")
    width, depth, mean = 768.0, 2.0 * layers, 0.0
    if name == "conv1.weight":
        sigma = 1 / np.sqrt(3.0 * 32 * 32)
    elif ".ln_" in "." + name and name.endswith("weight"):
        mean, sigma = 1.0, 0.125
    elif name.endswith("bias"):
        sigma = 0.0625
    elif name.endswith("attn.out_proj.weight"):
        sigma = 2 / np.sqrt(width * depth)
    elif name.endswith("mlp.c_proj.weight"):
        sigma = 2 / np.sqrt(3072.0 * depth)
    else:
        sigma = 1 / np.sqrt(width)
    z = counted(key, int(np.prod(shape)))
    total = sum(((z >> np.uint64(s)) & np.uint64(0xFFFF)).astype(np.int64) for s in (0, 16, 32, 48)) - 131070
    scale = np.float32(sigma * (np.sqrt(3.0) / 65536))
    return (total.astype(np.float32) * scale + np.float32(mean)).reshape(shape)


def pixels(number, size):
    """Image number: [size, size, 3] bytes, each image darker than the one before."""
    return ((counted((1000 + number) << 40, size * size * 3) >> np.uint64(56)) >> np.uint64(number)).astype(np.uint8).reshape(size, size, 3)


def names(layers):
    """The tensors in the order in which formula numbers them."""
    yield from ("conv1.weight", "class_embedding", "positional_embedding", "ln_pre.weight", "ln_pre.bias")
    for i in range(layers):
        for part in (
            "ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias",
            "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
        ):
            yield f"transformer.resblocks.{i}.{part}"
    yield from ("ln_post.weight", "ln_post.bias", "proj")


def embed(case):
    quick = case["activation"] == "quick_gelu"
    model = VisionTransformer(
        image_size=case["image"], patch_size=case["patch"], width=case["width"], layers=case["layers"], heads=case["heads"],
        mlp_ratio=case["mlp"] / case["width"], output_dim=case["embed"], act_layer=QuickGELU if quick else torch.nn.GELU,
    ).double().eval()
    state = model.state_dict()
    assert set(state) == set(names(case["layers"])), set(state) ^ set(names(case["layers"]))
    for index, name in enumerate(names(case["layers"])):
        shape = tuple(state[name].shape)
        w = formula(index, name, shape) if case["weights"] == "formula" else synthetic(name, shape, case["layers"])
        state[name].copy_(torch.from_numpy(w).double())
    images = np.stack([pixels(i, case["image"]) for i in range(case["images"])])
    x = (images.astype(np.float32) / np.float32(255) - MEAN) / STD
    with torch.no_grad():
        return model(torch.from_numpy(x).permute(0, 3, 1, 2).double()).numpy()


def main():
    small = dict(weights="formula", image=64, patch=16, width=64, layers=2, heads=4, mlp=128, embed=32, images=3)
    odd = dict(weights="formula", image=40, patch=8, width=60, layers=3, heads=3, mlp=100, embed=20, images=2)
    large = dict(weights="synthetic", image=224, patch=32, width=768, layers=12, heads=12, mlp=3072, embed=512, images=3)
    cases = []
    for name, shape in (("small", small), ("odd", odd), ("ViT-B-32", large)):
        for activation in ("gelu", "quick_gelu"):
            case = dict(name=f"{name}/{activation}", activation=activation, **shape)
            case["embeddings"] = [[float(f"{v:.8g}") for v in row] for row in embed(case)]
            cases.append(case)
    json.dump({"oracle": f"open_clip {open_clip.__version__}, torch {torch.__version__}, float64", "cases": cases}, sys.stdout)
    print()


main()
