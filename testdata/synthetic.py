"""Synthetic weights in NumPy, bit for bit those of `vitrine --model synthetic`; see docs/synthetic-weights.md.

    python testdata/synthetic.py > internal/model/testdata/synthetic.json
"""
import hashlib
import json
import math

import numpy as np


def key(name, seed=0):
    return int.from_bytes(hashlib.sha256(f"vitrine synthetic 1/{seed}/{name}".encode()).digest()[:8], "little")


def raw(k, n):
    z = np.uint64(k) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def numbers(name, shape, sigma, mean=0.0, seed=0):
    z = raw(key(name, seed), math.prod(shape))
    s = sum((z >> np.uint64(16 * i) & np.uint64(0xFFFF)).astype(np.int32) for i in range(4)) - 131070
    return (s.astype(np.float32) * np.float32(sigma * (math.sqrt(3) / 65536)) + np.float32(mean)).reshape(shape)


def tower(image, patch, width, layers, mlp, embed, seed=0, outliers=False):
    """The image tower's tensors by open_clip's name."""
    t = {}

    def put(name, shape, sigma, mean=0.0):
        t["visual." + name] = numbers("visual." + name, shape, sigma, mean, seed)

    def norm(name):
        put(name + ".weight", (width,), 0.125, 1.0)
        put(name + ".bias", (width,), 0.0625)

    base = 1 / math.sqrt(width)
    put("conv1.weight", (width, 3, patch, patch), 1 / math.sqrt(3 * patch * patch))
    put("class_embedding", (width,), base)
    put("positional_embedding", ((image // patch) ** 2 + 1, width), base)
    norm("ln_pre")
    for i in range(layers):
        b = f"transformer.resblocks.{i}."
        norm(b + "ln_1")
        put(b + "attn.in_proj_weight", (3 * width, width), base)
        put(b + "attn.in_proj_bias", (3 * width,), 0.0625)
        put(b + "attn.out_proj.weight", (width, width), 2 / math.sqrt(width * 2 * layers))
        put(b + "attn.out_proj.bias", (width,), 0.0625)
        norm(b + "ln_2")
        put(b + "mlp.c_fc.weight", (mlp, width), base)
        put(b + "mlp.c_fc.bias", (mlp,), 0.0625)
        put(b + "mlp.c_proj.weight", (width, mlp), 2 / math.sqrt(mlp * 2 * layers))
        put(b + "mlp.c_proj.bias", (width,), 0.0625)
    norm("ln_post")
    put("proj", (width, embed), base)
    if outliers:
        plant(t, width, layers, seed)
    return t


def channels(width, seed):
    chosen = []
    for number in raw(key("outliers", seed), max(1, width // 192)):
        c = int(number % np.uint64(width))
        while c in chosen:
            c = (c + 1) % width
        chosen.append(c)
    return chosen


def plant(t, width, layers, seed):
    writer = f"visual.transformer.resblocks.{min(1, layers - 1)}.mlp.c_proj."
    for k, c in enumerate(channels(width, seed)):
        t["visual.ln_pre.weight"][c] *= 4
        t[writer + "weight"][c] *= 8
        t[writer + "bias"][c] = -32 if k % 2 else 32
        for i in range(layers):
            b = f"visual.transformer.resblocks.{i}."
            t[b + "ln_1.weight"][c] *= 2
            t[b + "ln_2.weight"][c] *= 2
            t[b + "attn.in_proj_weight"][:, c] /= 32
            t[b + "mlp.c_fc.weight"][:, c] /= 32
        t["visual.ln_post.weight"][c] /= 32


def digest(t):
    """SHA-256 over the tensors' bytes in the order in which tower makes them."""
    h = hashlib.sha256()
    for a in t.values():
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


if __name__ == "__main__":
    tiny = dict(image=64, patch=16, width=96, layers=3, mlp=160, embed=40)
    wide = dict(image=32, patch=16, width=768, layers=1, mlp=64, embed=8)
    b32 = dict(image=224, patch=32, width=768, layers=12, mlp=3072, embed=512)
    cases = []
    for dims, seed, outliers in ((tiny, 0, False), (tiny, 7, True), (wide, 2**64 - 1, True), (b32, 0, False)):
        t = tower(**dims, seed=seed, outliers=outliers)
        first = {n: [float(x) for x in a.ravel()[:3]] for n, a in t.items() if "resblocks" not in n}
        cases.append(dict(dims=dims, seed=seed, outliers=outliers, sha256=digest(t), first=first,
                          channels=channels(dims["width"], seed)))
    print(json.dumps(cases, indent=1))
