#!/usr/bin/env python3
"""Writes e4m3.json: what torch.float8_e4m3fn makes of float32 numbers, as bits, and the values of all codes.

Needs torch. PyTorch turns what is too large into NaN; numbers are clamped to 448 first, as everybody does who
stores activations in that type and as the GPU's saturating conversion does.

    python3 e4m3.py > e4m3.json
"""

import json

import numpy as np
import torch

codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()

rng = np.random.default_rng(7)
numbers = [rng.standard_normal(1000), rng.standard_normal(500) * 100, rng.standard_normal(500) * 1e-2, rng.standard_normal(200) * 1e-3]
values = np.sort(codes[np.isfinite(codes)].astype(np.float64))
middles = (values[1:] + values[:-1]) / 2  # ties
numbers += [values, middles, np.nextafter(middles.astype(np.float32), np.float32(np.inf)), np.nextafter(middles.astype(np.float32), np.float32(-np.inf))]
numbers += [[448.1, 463.9, 464, 480, 1e9, -500, np.inf, -np.inf, 1e-30, -1e-40, 0.0, -0.0]]
f = np.concatenate([np.asarray(n, np.float32) for n in numbers])
to = torch.from_numpy(f).clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8).numpy()

print(json.dumps({
    "torch": torch.__version__.split("+")[0],
    "codes": codes.view(np.uint32).tolist(),
    "from": f.view(np.uint32).tolist(),
    "to": to.tolist(),
}, separators=(",", ":")))
