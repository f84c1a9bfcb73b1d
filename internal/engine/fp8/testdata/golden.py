#!/usr/bin/env python3
"""Writes golden.json: what PyTorch computes of a small synthetic tower in float64, and with the products that fp8 may
have rounded by torch.float8_e4m3fn as the package's comment states.

Needs numpy and torch. Weights are those of testdata/synthetic.py at the root; pixels() is repeated in tower_test.go.

    python3 golden.py > golden.json
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[4] / "testdata"))
import synthetic  # noqa: E402

IMAGE, PATCH, WIDTH, LAYERS, HEADS, MLP, EMBED = 64, 16, 128, 3, 2, 256, 64
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pixels(number):
    y, x, c = np.meshgrid(np.arange(IMAGE), np.arange(IMAGE), np.arange(3), indexing="ij")
    return ((x * (3 + number) + y * (5 + c) + (x * y) // (7 + c) + 40 * number) % 256).astype(np.uint8)


def e4m3(x, scale):
    """float64 of scale * E4M3(x / scale), the quotient taken in float32 as the kernels and the emulation do."""
    q = (x.float() * np.float32(1 / np.float32(scale))).clamp(-448, 448)
    return q.to(torch.float8_e4m3fn).double() * float(scale)


def e4m3_rows(w):
    w = w.float()
    scale = w.abs().amax(1, keepdim=True) / 448
    return ((w / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale).double()


def norm(t, name, x):
    return F.layer_norm(x, (WIDTH,), t[name + ".weight"], t[name + ".bias"], 1e-5)


def folded(t, ln, weight, bias, x, scale):
    """A product in fp8 with the LayerNorm before it folded in."""
    w, b = t[weight], t[bias]
    rstd = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
    standard = (e4m3(x, scale) - x.mean(-1, keepdim=True)) * rstd
    return standard @ e4m3_rows(w * t[ln + ".weight"]).T + (b + w @ t[ln + ".bias"])


def forward(t, x, quick, scales, seen):
    """scales is None for float64; seen collects the largest magnitudes."""
    act = (lambda v: v * torch.sigmoid(1.702 * v)) if quick else F.gelu
    n = x.shape[0]
    p = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5).reshape(n, -1, 3 * PATCH * PATCH)
    p = p @ t["conv1.weight"].reshape(WIDTH, -1).T
    x = torch.cat([t["class_embedding"].expand(n, 1, WIDTH), p], 1) + t["positional_embedding"]
    x = norm(t, "ln_pre", x)
    for i in range(LAYERS):
        b = f"transformer.resblocks.{i}."
        s = scales[i] if scales else {}
        see = lambda name, v: seen[i].__setitem__(name, float(v.abs().max()))  # noqa: E731
        see("qkv", x)
        if s.get("qkv"):
            qkv = folded(t, b + "ln_1", b + "attn.in_proj_weight", b + "attn.in_proj_bias", x, s["qkv"])
        else:
            qkv = norm(t, b + "ln_1", x) @ t[b + "attn.in_proj_weight"].T + t[b + "attn.in_proj_bias"]
        q, k, v = (z.reshape(n, -1, HEADS, WIDTH // HEADS).transpose(1, 2) for z in qkv.chunk(3, -1))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1, WIDTH)
        x = x + h @ t[b + "attn.out_proj.weight"].T + t[b + "attn.out_proj.bias"]
        see("fc1", x)
        if s.get("fc1"):
            m = act(folded(t, b + "ln_2", b + "mlp.c_fc.weight", b + "mlp.c_fc.bias", x, s["fc1"]))
        else:
            m = act(norm(t, b + "ln_2", x) @ t[b + "mlp.c_fc.weight"].T + t[b + "mlp.c_fc.bias"])
        see("fc2", m)
        w = t[b + "mlp.c_proj.weight"]
        if s.get("fc2"):
            m, w = e4m3(m, s["fc2"]), e4m3_rows(w)
        x = x + m @ w.T + t[b + "mlp.c_proj.bias"]
    return norm(t, "ln_post", x[:, 0]) @ t["proj"]


def main():
    cases = []
    images = np.stack([pixels(i) for i in range(3)])
    x = torch.from_numpy((images.astype(np.float32) / np.float32(255) - MEAN) / STD).permute(0, 3, 1, 2).double()
    for outliers in (False, True):
        weights = synthetic.tower(IMAGE, PATCH, WIDTH, LAYERS, MLP, EMBED, outliers=outliers)
        t = {k.removeprefix("visual."): torch.from_numpy(np.ascontiguousarray(w)).double() for k, w in weights.items()}
        for quick in (False, True):
            seen = [{} for _ in range(LAYERS)]
            plain = forward(t, x, quick, None, seen)
            scales = [{k: float(np.float32(2 * v / 448)) for k, v in s.items()} for s in seen]
            scales[0]["qkv"] = 0.0
            scales[-1]["fc1"] = scales[-1]["fc2"] = 0.0
            eight = forward(t, x, quick, scales, [{} for _ in range(LAYERS)])
            cases.append(dict(outliers=outliers, quick=quick, seen=seen, scales=scales,
                              plain=[[float(f"{v:.8g}") for v in r] for r in plain],
                              fp8=[[float(f"{v:.8g}") for v in r] for r in eight]))
    json.dump(dict(torch=torch.__version__.split("+")[0], cases=cases), sys.stdout)
    print()


main()
