"""Load a folder that Vitrine exported with open_clip, and compare synthetic weights with NumPy's.

    python testdata/check_export.py FOLDER [--seed N] [--outliers] [PHOTO...]
"""
import argparse
import json
import pathlib

import numpy as np
import open_clip
import torch
from open_clip.transform import image_transform
from PIL import Image
from safetensors import safe_open

from synthetic import tower

ap = argparse.ArgumentParser()
ap.add_argument("folder", type=pathlib.Path)
ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--outliers", action="store_true")
ap.add_argument("photos", nargs="*")
a = ap.parse_intermixed_args()

cfg = json.loads((a.folder / "open_clip_config.json").read_text())
path = a.folder / "open_clip_model.safetensors"
with safe_open(path, "pt") as f:
    metadata, tensors = f.metadata(), {k: f.get_tensor(k) for k in f.keys()}
print("metadata:", metadata)

# open_clip's own loader, into a whole model: the text tower is not part of the file.
model_cfg = dict(cfg["model_cfg"], text_cfg=dict(layers=1, width=64, heads=1))
model = open_clip.CLIP(**model_cfg).eval()
missing = open_clip.load_checkpoint(model, str(path), strict=False)
assert not missing.unexpected_keys, missing
assert not [k for k in missing.missing_keys if k.startswith("visual.")], missing
print("open_clip loads it:", sum(p.numel() for p in model.visual.parameters()), "parameters")

if metadata.get("vitrine.synthetic"):
    v = cfg["model_cfg"]["vision_cfg"]
    want = tower(v["image_size"], v["patch_size"], v["width"], v["layers"], int(v["width"] * v["mlp_ratio"]),
                 cfg["model_cfg"]["embed_dim"], a.seed, a.outliers)
    assert set(want) == set(tensors)
    for name, w in want.items():
        assert np.array_equal(w, tensors[name].numpy()), name
    print("all", len(want), "tensors equal NumPy's")

if a.photos:
    p = cfg["preprocess_cfg"]
    pre = image_transform(cfg["model_cfg"]["vision_cfg"]["image_size"], is_train=False, **p)
    acts = []
    for i, block in enumerate(model.visual.transformer.resblocks):
        block.ln_2.register_forward_hook(lambda _, x, y, i=i: acts.append((i, y.abs().amax().item(), y.abs().median().item())))
    with torch.no_grad():
        e = model.encode_image(torch.stack([pre(Image.open(f)) for f in a.photos]), normalize=True).numpy()
    print("block, largest and median magnitude of the MLP's input:", [(i, round(m, 1), round(d, 2)) for i, m, d in acts])
    print("cosine between photographs:", np.round((e @ e.T)[np.triu_indices(len(e), 1)], 3))
