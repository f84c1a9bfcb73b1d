#!/usr/bin/env python3
"""Checks beside.py as far as no card is needed: the model from pixels against the model from tensors (ONNX Runtime, on the
processor), and a record's table against figures that were worked out by hand.

    baselines/tensorrt/check.py --vitrine bin/vitrine      # needs numpy, onnx, onnxruntime
"""
import argparse
import json
import os
import tempfile

import beside


def check_pixels(vitrine, folder):
    import numpy as np
    import onnxruntime as ort

    plain = beside.export(vitrine, folder)
    behind = beside.from_pixels(plain)
    pixels = np.random.default_rng(1).integers(0, 256, (2, beside.SIZE, beside.SIZE, 3), dtype=np.uint8)
    want = ort.InferenceSession(plain, providers=["CPUExecutionProvider"]).run(None, {"image": beside.normalised(pixels).astype(np.float32)})[0]
    got = ort.InferenceSession(behind, providers=["CPUExecutionProvider"]).run(None, {"pixels": pixels})[0]
    assert got.shape == want.shape == (2, beside.DIM), (got.shape, want.shape)
    c = beside.cosine_min(got, want)  # the tensors were rounded to float16
    assert c > 0.99999, c
    print(f"from pixels and from tensors: cosine {c:.7f}")


def check_table(folder):
    path = os.path.join(folder, "record.jsonl")
    entries = [{"kind": "manifest", "card": "H", "driver": "1", "tensorrt": "10.6", "rounds": 5, "cosine_min": 0.9999},
               {"kind": "times", "way": "device", "batch": 8, "engine": "vitrine", "us": [400, 410, 390, 400, 400]},
               {"kind": "times", "way": "device", "batch": 8, "engine": "tensorrt", "us": [800, 820, 780, 800, 800]},
               {"kind": "times", "way": "host", "batch": 8, "engine": "vitrine", "us": [500] * 5},
               {"kind": "times", "way": "host", "batch": 8, "engine": "tensorrt", "us": [400] * 5},
               {"kind": "times", "way": "host", "batch": 8, "engine": "tensorrt-u8", "us": [300, 300, 300, 600, 600]},
               {"kind": "times", "way": "host", "batch": 32, "engine": "vitrine", "us": [1000] * 5}]
    with open(path, "w") as out:
        out.writelines(json.dumps(e) + "\n" for e in entries)
    text = beside.table(*beside.read_record(path))
    for want in ["| 8 | 400.0 | 20,000 | 800.0 | 10,000 | 2.00 (2.00-2.00) |", "| 8 | 500.0 | 16,000 | 400.0 | 20,000 | 0.80 (0.80-0.80) | 300.0 | 26,667 | 0.60 (0.60-1.20) |",
                 "| 32 | 1,000.0 | 32,000 | - | - | - | - | - | - |"]:
        assert want in text, f"no {want!r} in\n{text}"
    print("the table is right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vitrine", default="vitrine")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        check_table(scratch)
        check_pixels(os.path.abspath(arguments.vitrine) if os.path.exists(arguments.vitrine) else arguments.vitrine, scratch)
