#!/usr/bin/env python3
"""Write graphs as other exporters make them, and what they give.

    python internal/engine/onnxruntime/testdata/graphs.py

Needs onnx and numpy (versions are written to graphs.json). Each graph takes images and gives embeddings:
a convolution, a mean over the places, a matrix product. What it gives is computed by numpy in float64 from
images of which byte k of image i is (7 k + 31 i) % 251, normalised as the graph's sidecar says.
"""
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
SIDE, CHANNELS, DIM = 32, 8, 16

GRAPHS = {
    "plain.onnx": dict(names=("pixel_values", "image_embeds"), batch="N"),
    "last.onnx": dict(names=("x", "y"), batch="N", last=True),
    "half.onnx": dict(names=("input", "output"), batch="N", half=True),
    "fixed.onnx": dict(names=("input", "output"), batch=2),
    "several.onnx": dict(names=("pixel_values", "image_embeds"), batch=None, several=True),
}


def weights(seed):
    rng = np.random.default_rng(seed)
    conv = rng.standard_normal((CHANNELS, 3, 8, 8)) / 14
    matrix = rng.standard_normal((CHANNELS, DIM))
    return conv.astype(np.float16).astype(np.float64), matrix.astype(np.float16).astype(np.float64)


def graph(o, conv, matrix):
    kind = np.float16 if o.get("half") else np.float32
    elem = TensorProto.FLOAT16 if o.get("half") else TensorProto.FLOAT
    name_in, name_out = o["names"]
    nodes, x = [], name_in
    if o.get("last"):
        nodes.append(helper.make_node("Transpose", [x], ["planes"], perm=[0, 3, 1, 2]))
        x = "planes"
    nodes += [
        helper.make_node("Conv", [x, "conv"], ["c"], strides=[8, 8]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "matrix"], [name_out]),
    ]
    shape = [o["batch"], SIDE, SIDE, 3] if o.get("last") else [o["batch"], 3, SIDE, SIDE]
    outputs = [helper.make_tensor_value_info(name_out, elem, [o["batch"], DIM])]
    if o.get("several"):
        outputs.insert(0, helper.make_tensor_value_info("r", elem, [o["batch"], CHANNELS, SIDE // 8, SIDE // 8]))
    g = helper.make_graph(nodes, "small", [helper.make_tensor_value_info(name_in, elem, shape)], outputs,
                          [numpy_helper.from_array(conv.astype(kind), "conv"), numpy_helper.from_array(matrix.astype(kind), "matrix")])
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(m, full_check=True)
    return m


def embed(conv, matrix, n):
    out = []
    for i in range(n):
        pixels = (np.arange(3 * SIDE * SIDE) * 7 + i * 31) % 251
        x = ((pixels.reshape(SIDE, SIDE, 3) / 255 - MEAN) / STD).transpose(2, 0, 1)
        patches = x.reshape(3, SIDE // 8, 8, SIDE // 8, 8)
        c = np.einsum("caxby,ocxy->oab", patches, conv)
        out.append((np.maximum(c, 0).mean((1, 2)) @ matrix).tolist())
    return out


def main():
    files = []
    for seed, (name, o) in enumerate(GRAPHS.items()):
        conv, matrix = weights(seed)
        onnx.save(graph(o, conv, matrix), HERE / name)
        n = o["batch"] if isinstance(o["batch"], int) else 3
        files.append({"file": name, "side": SIDE, "images": n, "embeddings": embed(conv, matrix, n)})
    with open(HERE / "graphs.json", "w") as f:
        json.dump({"made_with": {"onnx": onnx.__version__, "numpy": np.__version__}, "files": files}, f, indent=1)
        f.write("\n")


main()
